"""Losses of recent steps, on the device until somebody reads them: telling costs no step a wait for the device.

What is read does not depend on when it is read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from vqa_pipeline.modeling.batches import Positions

Losses = np.ndarray[Any, np.dtype[np.float32]]

_NORM, _SKIPPED, _LOSSES = 0, 1, 2
"""Columns; losses from the third on."""


class Row(NamedTuple):
    """Where a step leaves its numbers; all of them on the device."""

    losses: torch.Tensor
    """Of each question (batch,), in nats."""
    norm: torch.Tensor
    """Of the gradient, before clipping: a scalar."""
    skipped: torch.Tensor
    """1 where nothing was updated, else 0: a scalar."""


class StepTold(NamedTuple):
    """What is known of a step once it is read."""

    step: int
    positions: Positions
    losses: Losses
    gradient_norm: float
    skipped: bool

    @property
    def loss(self) -> float:
        """Mean over the questions, in nats."""
        return float(self.losses.mean(dtype=np.float64))


class Tally:
    """The numbers of at most so many steps that were not read yet."""

    def __init__(self, num_steps: int, batch_size: int, device: torch.device) -> None:
        self._table = torch.zeros(num_steps, _LOSSES + batch_size, device=device)
        self._unread: list[tuple[int, Positions]] = []

    def open(self, num_questions: int) -> Row:
        """The next row, all zeros; until it is closed, it is the next one again."""
        row = self._table[len(self._unread)].zero_()
        return Row(row[_LOSSES : _LOSSES + num_questions], row[_NORM], row[_SKIPPED])

    def close(self, step: int, positions: Positions) -> None:
        """Keep what was written into the row that is open."""
        self._unread.append((step, positions))

    def read(self) -> list[StepTold]:
        """What was not read yet, oldest first. Waits for the device."""
        table = self._table[: len(self._unread)].cpu().numpy().copy()
        told = [
            StepTold(step, positions, row[_LOSSES : _LOSSES + len(positions)], float(row[_NORM]), bool(row[_SKIPPED]))
            for (step, positions), row in zip(self._unread, table, strict=True)
        ]
        self._unread.clear()
        return told
