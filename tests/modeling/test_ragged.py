from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.modeling.ragged import Credits, Ragged


def test_rows_are_padded_to_the_longest_of_them() -> None:
    rows = Ragged([[5, 6, 7], [], [8], [1, 2, 3, 4]])
    padded, mask = rows.pad(np.array([2, 0]), fill=9)
    assert padded.tolist() == [[8, 9, 9], [5, 6, 7]]
    assert mask.tolist() == [[1, 0, 0], [1, 1, 1]]
    assert padded.dtype == mask.dtype == torch.int64


@given(st.lists(st.lists(st.integers(-5, 10**6), max_size=6), max_size=8))
def test_rows_come_back_as_they_were(rows: list[list[int]]) -> None:
    ragged = Ragged(rows)
    assert [ragged[number].tolist() for number in range(len(ragged))] == rows


def test_credits_are_spread_over_all_answers() -> None:
    made = Credits([{2: 0.3, 0: 1.0}, {}, {1: 0.6}], num_answers=4)
    assert len(made) == 3
    filled = made.fill(np.array([2, 1, 0]))
    assert filled.tolist() == [[0, np.float32(0.6), 0, 0], [0, 0, 0, 0], [1, 0, np.float32(0.3), 0]]
    assert filled.dtype == torch.float32
