"""Where and how precisely to compute: device, number format, CPU threads. Asks the machine, never the environment."""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, Literal, NamedTuple, TypeVar

import torch

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.modeling.cpu_allowance import count_usable_cpus, share_cpus

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]

_LEAST_BF16_WIDTH = 256
"""Narrower models stay in fp32 on a CPU. Measured on an avx512_bf16 core: a training step of width 768 is 3.0 times as
fast in bf16, one of width 32 takes 1.4 times as long; and the demo's model, from scratch with width 96, is done in 0.75
of the time, but with one seed of three it ends at 0.88 instead of 0.96."""


Value = TypeVar("Value")


class Choice(NamedTuple, Generic[Value]):
    """What was chosen, and why."""

    value: Value
    reason: str


class Placement(NamedTuple):
    """Device and precision of all computing of a job. Weights and optimizer stay in fp32 whatever the precision."""

    device: torch.device
    precision: Precision

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass: bf16 for matrix products where `precision` says so."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def full_precision(self) -> AbstractContextManager[object]:
        """The context of what is computed in fp32 whatever `precision` says, inside another's autocast too."""
        return torch.autocast(self.device.type, enabled=False)


def choose_device(device: Device) -> torch.device:
    """The GPU when there is one and nobody forbids it.

    Raises:
        SettingsError: a GPU is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise SettingsError("training.device", "`cuda` is asked for and torch finds no GPU", "Use `auto` or `cpu`.")
    return torch.device("cuda" if available and device != "cpu" else "cpu")


def describe_device(device: torch.device) -> str:
    """What a device is and how much memory it has, such as `NVIDIA H200, 140 GiB`."""
    if device.type == "cpu":
        return f"CPU ({platform.machine()})"
    told = torch.cuda.get_device_properties(device)
    return f"{told.name}, {told.total_memory / 2**30:.0f} GiB"


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the host on a device; a GPU fetches it while the host goes on."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def choose_precision(
    precision: Literal["auto", "fp32", "bf16"], device: torch.device, width: int, has_bf16: bool | None = None
) -> Choice[Precision]:
    """bf16 where the hardware multiplies it and the model is wide enough to gain by it, else fp32.

    Args:
        precision: What is asked for.
        device: Where the model computes.
        width: The model's hidden size.
        has_bf16: Whether the device multiplies bf16; None: it is asked.
    """
    if precision != "auto":
        return Choice(precision, "asked for")
    if not (multiplies_bf16(device) if has_bf16 is None else has_bf16):
        return Choice("fp32", f"this {_NAMES[device.type]} does not multiply bf16")
    if device.type == "cpu" and width < _LEAST_BF16_WIDTH:
        return Choice("fp32", f"a model of width {width} gains little by bf16 on a CPU, and may learn less")
    return Choice("bf16", f"this {_NAMES[device.type]} multiplies bf16")


_NAMES = {"cpu": "CPU", "cuda": "GPU"}


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for products of bf16; emulated ones, slower than fp32, do not count.

    torch's own answer for CPUs is yes for every avx512, of which only some multiply bf16.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001 - there is no public way to ask
        return False
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return True
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())  # noqa: SLF001


def choose_placement(device: Device, precision: Literal["auto", "fp32", "bf16"], width: int) -> Placement:
    """Device and precision for a model of a width (its hidden size).

    Raises:
        SettingsError: a GPU is asked for and there is none.
    """
    chosen = choose_device(device)
    return Placement(chosen, choose_precision(precision, chosen, width).value)


def choose_threads(threads: int, processes: int = 1) -> Choice[int]:
    """So many CPU threads, 0 meaning this process's share of all CPUs that may be used."""
    if threads:
        return Choice(threads, "asked for")
    usable = count_usable_cpus()
    shared = f", shared by {processes} processes" if processes > 1 else ""
    crowd = ", which are too many and get into each other's way" if processes > usable else ""
    return Choice(share_cpus(processes), f"of {usable} CPUs that may be used{shared}{crowd}")


def use_threads(threads: int, processes: int = 1) -> int:
    """Let torch use as many CPU threads as `choose_threads` says; returns their number."""
    chosen = choose_threads(threads, processes).value
    torch.set_num_threads(chosen)
    return chosen
