"""Where and how precisely to compute: device, number format, CPU threads. Asks the machine, never the environment."""

from __future__ import annotations

import math
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from vqa_pipeline.errors import SettingsError

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class Placement(NamedTuple):
    """Device and precision of all computing of a job. Weights and optimizer stay in fp32 whatever the precision."""

    device: torch.device
    precision: Literal["fp32", "bf16"]

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass: bf16 for matrix products where `precision` says so."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def full_precision(self) -> AbstractContextManager[object]:
        """The context of what is computed in fp32 whatever `precision` says, inside another's autocast too."""
        return torch.autocast(self.device.type, enabled=False)


def choose_placement(device: Literal["auto", "cpu", "cuda"], precision: Literal["auto", "fp32", "bf16"]) -> Placement:
    """The GPU when there is one and nobody forbids it; bf16 there, fp32 on a CPU.

    Raises:
        SettingsError: a GPU is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise SettingsError("training.device", "`cuda` is asked for and torch finds no GPU", "Use `auto` or `cpu`.")
    chosen = torch.device("cuda" if available and device != "cpu" else "cpu")
    if precision == "auto":
        precision = "bf16" if chosen.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return Placement(chosen, precision)


def count_usable_cpus(quota_file: Path = _CPU_QUOTA) -> int:
    """CPUs that this process may use: its affinity, and the container's quota (cgroup v2) rounded up."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if quota_file.is_file():
        quota, _, period = quota_file.read_text(encoding="ascii").strip().partition(" ")
        if quota.isdecimal() and period.isdecimal():
            usable = min(usable, math.ceil(int(quota) / int(period)))
    return max(1, usable)


def use_threads(threads: int) -> int:
    """Let torch use so many CPU threads, 0 meaning all that may be used; returns the number chosen."""
    chosen = threads or count_usable_cpus()
    torch.set_num_threads(chosen)
    return chosen
