"""Work that must fit into memory: as many questions at once as fit, found by trying.

What is asked for is a piece of work that can be redone whole. When memory runs out, it is redone with half as many
questions at once, and so is all work after it. When not even one fits, the work may have a way to need less memory.
"""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable
from typing import TypeVar

import torch

from vqa_pipeline.errors import OutOfMemory
from vqa_pipeline.modeling.batches import Positions

Result = TypeVar("Result")
Relieve = Callable[[], str | None]
"""Makes work need less memory from now on; says what it did, or None where there is nothing more to do."""

_SAID_OF_MEMORY = ("out of memory", "can't allocate memory", "defaultcpuallocator")
"""What errors of memory say that are plain `RuntimeError`s: those of the CPU, of cuBLAS and of cuDNN."""


class MicroBatch:
    """How many questions are computed at once."""

    def __init__(self, size: int, tell: Callable[[str], None], relieve: Relieve = lambda: None) -> None:
        """`tell` hears of it when the size changes; `relieve` is the way when not even one question fits."""
        self.size = self._largest = size
        self._tell, self._relieve = tell, relieve

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
                done = self._relieve() if self.size == 1 else None
                if self.size == 1 and done is None:
                    raise OutOfMemory(describe(), str(error).partition("\n")[0].rstrip(".")) from error
            self._make_room(done)  # here, because the exception keeps alive what the work had allocated

    def compute(
        self, positions: Positions, compute: Callable[[Positions], torch.Tensor], describe: Callable[[], str]
    ) -> torch.Tensor:
        """What `compute` gives for these positions, rows in their order, as many at once as fit.

        Raises:
            OutOfMemory: even one question at a time is too much.
        """
        return self.fit(lambda _size: torch.cat([compute(part) for part in self.cut(positions)]), describe)

    def cut(self, positions: Positions) -> list[Positions]:
        """Parts that are computed at once, unless memory runs out."""
        return [positions[start : start + self.size] for start in range(0, len(positions), self.size)]

    def _make_room(self, done: str | None) -> None:
        """Halve the size, or begin again with the largest where something else was done."""
        self.size = self._largest if done else -(-self.size // 2)
        if torch.cuda.is_available():
            gc.collect()
            torch.cuda.empty_cache()
        and_so = done or f"from now on {self.size} questions are computed at once"
        self._tell(f"Out of memory: {and_so}; results stay the same.")


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
