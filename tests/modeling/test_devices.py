from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.modeling.devices import choose_placement, count_usable_cpus, use_threads

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")


def test_a_cpu_computes_in_fp32() -> None:
    assert choose_placement("cpu", "auto") == (torch.device("cpu"), "fp32")


def test_precision_can_be_chosen() -> None:
    placement = choose_placement("cpu", "bf16")
    with placement.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


@NO_GPU
def test_auto_is_the_cpu_where_there_is_no_gpu() -> None:
    assert choose_placement("auto", "auto").device.type == "cpu"


@NO_GPU
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match=r"`training.device`: `cuda` is asked for and torch finds no GPU"):
        choose_placement("cuda", "auto")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_computes_in_bf16() -> None:
    assert choose_placement("auto", "auto") == (torch.device("cuda"), "bf16")


def test_cpus_are_limited_by_the_container(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    available = len(os.sched_getaffinity(0))
    quota.write_text("max 100000\n")
    assert count_usable_cpus(quota) == available
    quota.write_text("50000 100000\n")
    assert count_usable_cpus(quota) == 1
    assert count_usable_cpus(tmp_path / "no such file") == available


def test_threads_can_be_chosen() -> None:
    before = torch.get_num_threads()
    try:
        assert use_threads(1) == torch.get_num_threads() == 1
        assert use_threads(0) == torch.get_num_threads() == count_usable_cpus()
    finally:
        torch.set_num_threads(before)
