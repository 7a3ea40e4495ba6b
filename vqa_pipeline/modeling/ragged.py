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
        self.values: _Array = np.fromiter(flat, np.int64, count=int(self._starts[-1]))
        """All values, row after row."""

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> _Array:
        return self.values[self._starts[row] : self._starts[row + 1]]

    def locate(self, rows: _Array) -> tuple[_Array, _Array]:
        """Where values of rows go and where they are kept, value by value: line among `rows`, place in flat arrays."""
        lengths = self.lengths[rows]
        lines = np.repeat(np.arange(len(rows)), lengths)
        first = np.cumsum(lengths) - lengths
        return lines, np.arange(len(lines)) + (self._starts[rows] - first)[lines]

    def pad(self, rows: _Array, fill: int, width: int) -> tuple[_Array, _Array]:
        """The rows, filled up to `width` values each: int64 (len(rows), width); and which of them are not filled: bool.

        None may be longer than `width`.
        """
        kept = np.arange(width) < self.lengths[rows][:, None]
        padded = np.full(kept.shape, fill, np.int64)
        padded[kept] = self.values[self.locate(rows)[1]]
        return padded, kept


class Credits:
    """For each row, credits in [0, 1] by answer index; answers without credit are not stored."""

    def __init__(self, rows: Iterable[Mapping[int, float]], num_answers: int) -> None:
        listed = [dict(row) for row in rows]
        self.num_answers = num_answers
        self._indexes = Ragged([list(row) for row in listed])
        values = (credit for row in listed for credit in row.values())
        self._credits = np.fromiter(values, np.float32)

    def __len__(self) -> int:
        return len(self._indexes)

    def fill(self, rows: _Array) -> torch.Tensor:
        """Credits of rows for every answer: fp32 (len(rows), num_answers)."""
        dense = np.zeros((len(rows), self.num_answers), np.float32)
        lines, places = self._indexes.locate(rows)
        dense[lines, self._indexes.values[places]] = self._credits[places]
        return torch.from_numpy(dense)
