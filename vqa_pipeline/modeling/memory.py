"""Work that must fit into memory: as many questions at once as fit, found by trying.

What is asked for is a piece of work that can be redone whole. When memory runs out, it is redone with half as many
questions at once, and so is all work after it.
"""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable
from typing import TypeVar

import torch

from vqa_pipeline.errors import OutOfMemory

Result = TypeVar("Result")

_SAID_OF_MEMORY = ("out of memory", "can't allocate memory", "defaultcpuallocator")
"""What errors of memory say that are plain `RuntimeError`s: those of the CPU, of cuBLAS and of cuDNN."""


class MicroBatch:
    """How many questions are computed at once."""

    def __init__(self, size: int, tell: Callable[[str], None]) -> None:
        """`tell` hears of it when the size changes."""
        self.size = size
        self._tell = tell

    def fit(self, work: Callable[[int], Result], describe: Callable[[], str]) -> Result:
        """The result of `work(size)`, at the size in use or, where that is too much, at the first half that fits.

        Args:
            work: Does something whole, `size` questions at a time; may be called again after it ran out of memory.
            describe: Says what one question of this work is, for the error.

        Raises:
            OutOfMemory: even one question at a time is too much.
        """
        while True:
            try:
                return work(self.size)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self.size == 1:
                    raise OutOfMemory(describe(), str(error).partition("\n")[0].rstrip(".")) from error
            self._halve()  # here, because the exception keeps alive what the work had allocated

    def _halve(self) -> None:
        self.size = -(-self.size // 2)
        if torch.cuda.is_available():
            gc.collect()
            torch.cuda.empty_cache()
        self._tell(f"Out of memory: from now on {self.size} questions are computed at once; results stay the same.")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the GPU or of the host, was not enough."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _SAID_OF_MEMORY)


def measure_memory(device: torch.device) -> dict[str, int | None]:
    """The most that this process has had so far, in bytes: resident on the host, allocated on its GPU if it has one."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2) differs between systems
    return {
        "host_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "gpu_memory_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }
