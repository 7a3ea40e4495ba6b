from __future__ import annotations

import pytest
import torch

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.modeling.cpu_allowance import count_usable_cpus
from vqa_pipeline.modeling.devices import (
    choose_device,
    choose_placement,
    choose_precision,
    choose_threads,
    multiplies_bf16,
    use_threads,
)

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
CPU, GPU = torch.device("cpu"), torch.device("cuda")
BASE, TINY = 768, 96
"""Widths of ViLT-B/32 and of the demo's model."""


@pytest.mark.parametrize(
    ("device", "width", "has_bf16", "precision", "reason"),
    [
        (CPU, BASE, True, "bf16", "this CPU multiplies bf16"),
        (CPU, BASE, False, "fp32", "this CPU does not multiply bf16"),
        (CPU, TINY, True, "fp32", "a model of width 96 gains little by bf16 on a CPU, and may learn less"),
        (GPU, BASE, True, "bf16", "this GPU multiplies bf16"),
        (GPU, TINY, True, "bf16", "this GPU multiplies bf16"),
        (GPU, BASE, False, "fp32", "this GPU does not multiply bf16"),
    ],
)
def test_bf16_is_chosen_where_the_hardware_has_it_and_the_model_gains(
    device: torch.device, width: int, has_bf16: bool, precision: str, reason: str
) -> None:
    assert choose_precision("auto", device, width, has_bf16) == (precision, reason)


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
@pytest.mark.parametrize("has_bf16", [True, False])
def test_a_precision_asked_for_is_taken_on_any_hardware(wanted, has_bf16: bool) -> None:
    assert choose_precision(wanted, CPU, TINY, has_bf16) == (wanted, "asked for")


def test_a_cpu_without_instructions_for_bf16_is_not_taken_for_one_that_has_them() -> None:
    """torch itself says yes for every CPU with avx512."""
    has_instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if torch.cpu._is_avx512_supported() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        assert multiplies_bf16(CPU) == has_instructions


def test_precision_can_be_chosen() -> None:
    placement = choose_placement("cpu", "bf16", TINY)
    with placement.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
        with placement.full_precision():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@NO_GPU
def test_auto_is_the_cpu_where_there_is_no_gpu() -> None:
    assert choose_device("auto") == CPU
    assert choose_placement("auto", "auto", TINY) == (CPU, "fp32")


@NO_GPU
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match=r"`training.device`: `cuda` is asked for and torch finds no GPU"):
        choose_device("cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_computes_in_bf16() -> None:
    assert choose_placement("auto", "auto", TINY) == (GPU, "bf16")


def test_threads_can_be_chosen() -> None:
    before = torch.get_num_threads()
    try:
        assert use_threads(1) == torch.get_num_threads() == 1
        assert use_threads(0) == torch.get_num_threads() == count_usable_cpus()
    finally:
        torch.set_num_threads(before)


def test_processes_share_the_cpus_and_each_has_one_at_least() -> None:
    usable = count_usable_cpus()
    assert choose_threads(0) == (usable, f"of {usable} CPUs that may be used")
    crowd = f", shared by {usable + 1} processes, which are too many and get into each other's way"
    assert choose_threads(0, processes=usable + 1) == (1, f"of {usable} CPUs that may be used{crowd}")
    assert choose_threads(3, processes=2) == (3, "asked for")
