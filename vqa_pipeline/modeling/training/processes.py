"""The processes that train together: what each computes of a batch, and how their results become one.

A batch is cut into one share per process; gradients and losses of the shares are summed before the update, so that the
update is that of the whole batch, however many share the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch


class Processes(Protocol):
    """What the loop asks of whoever trains with it."""

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


class Alone:
    """One process that does everything."""

    is_main = True

    def share(self, num_questions: int) -> range:
        """The whole batch."""
        return range(num_questions)

    def sum(self, tensors: Sequence[torch.Tensor]) -> None:
        """A sum of one."""

    def any(self, flag: bool) -> bool:
        """The flag itself."""
        return flag
