"""The processes that train together: what each computes of a batch, and how their results become one.

A batch is cut into one share per process; gradients and losses of the shares are summed before the update, so that the
update is that of the whole batch, however many share the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch

from vqa_pipeline.modeling.batches import Positions


class Processes(Protocol):
    """What the loop asks of whoever trains with it."""

    @property
    def count(self) -> int:
        """How many train together."""
        ...

    @property
    def is_main(self) -> bool:
        """Whether this process writes and reports."""
        ...

    def share(self, num_questions: int) -> range:
        """Which of a batch's questions this process computes; the shares of all make the batch."""
        ...

    def sum(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by the sum over processes, in place."""
        ...

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process; all get the same answer."""
        ...

    def spread(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every process the main one's values, in place."""
        ...

    def main_first(self) -> AbstractContextManager[None]:
        """The main process does what is inside before the others do, who wait for it."""
        ...

    def leave(self) -> None:
        """There is nothing more to do together."""
        ...


def take_share(batch: Positions, processes: Processes) -> Positions:
    """What this process computes of a batch."""
    own = processes.share(len(batch))
    return batch[own.start : own.stop]


class Alone:
    """One process that does everything."""

    count = 1
    is_main = True

    def share(self, num_questions: int) -> range:
        """The whole batch."""
        return range(num_questions)

    def sum(self, tensors: Sequence[torch.Tensor]) -> None:
        """A sum of one."""

    def any(self, flag: bool) -> bool:
        """The flag itself."""
        return flag

    def spread(self, tensors: Iterable[torch.Tensor]) -> None:
        """There is nobody to give them to."""

    def main_first(self) -> AbstractContextManager[None]:
        """There is nobody to wait for."""
        return nullcontext()

    def leave(self) -> None:
        """There is nobody to leave."""


def join_processes(device: torch.device, count: int) -> Processes:
    """Those that train on this kind of device together, `count` in all; this process is one of them.

    Raises:
        SettingsError: this process was not started as one of `count`, or there are fewer GPUs.
    """
    if count == 1:
        return Alone()
    from vqa_pipeline.modeling.training.ranks import Ranks  # with accelerate, which one process does without

    return Ranks(device, count)
