"""Rows of different lengths in flat arrays: tokens of questions, credits of answers. Made once, read per batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

_Array = np.ndarray[Any, np.dtype[Any]]


class Ragged:
    """Rows of integers."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.lengths: _Array = np.fromiter(map(len, rows), np.int64, count=len(rows))
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        flat = (value for row in rows for value in row)
        self._values = np.fromiter(flat, np.int64, count=int(self._starts[-1]))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> _Array:
        return self._values[self._starts[row] : self._starts[row + 1]]

    def pad(self, rows: _Array, fill: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows, filled to the longest of them, and a mask that is 1 where they are not filled: both int64."""
        longest = int(self.lengths[rows].max())
        padded = np.full((len(rows), longest), fill, np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for line, row in enumerate(rows):
            values = self[row]
            padded[line, : len(values)] = values
            mask[line, : len(values)] = 1
        return torch.from_numpy(padded), torch.from_numpy(mask)


class Credits:
    """For each row, credits in [0, 1] by answer index; answers without credit are not stored."""

    def __init__(self, rows: Iterable[Mapping[int, float]], num_answers: int) -> None:
        listed = [dict(row) for row in rows]
        self.num_answers = num_answers
        self._indexes = Ragged([list(row) for row in listed])
        values = (credit for row in listed for credit in row.values())
        self._credits = np.fromiter(values, np.float32)
        self._starts = np.concatenate([[0], np.cumsum(self._indexes.lengths)])

    def __len__(self) -> int:
        return len(self._indexes)

    def fill(self, rows: _Array) -> torch.Tensor:
        """Credits of rows for every answer: fp32 (len(rows), num_answers)."""
        dense = np.zeros((len(rows), self.num_answers), np.float32)
        for line, row in enumerate(rows):
            dense[line, self._indexes[row]] = self._credits[self._starts[row] : self._starts[row + 1]]
        return torch.from_numpy(dense)
