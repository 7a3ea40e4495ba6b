from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.modeling.ragged import Credits, Ragged


def test_rows_are_padded_to_the_width_asked() -> None:
    rows = Ragged([[5, 6, 7], [], [8], [1, 2, 3, 4]])
    padded, kept = rows.pad(np.array([2, 0, 1]), fill=9, width=4)
    assert padded.tolist() == [[8, 9, 9, 9], [5, 6, 7, 9], [9, 9, 9, 9]]
    assert kept.tolist() == [[True, False, False, False], [True, True, True, False], [False] * 4]
    assert padded.dtype == np.int64


_ROWS = st.lists(st.lists(st.integers(-5, 10**6), max_size=6), min_size=1, max_size=8)


@given(_ROWS, st.data())
def test_any_rows_padded_are_those_rows(rows: list[list[int]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    padded, kept = Ragged(rows).pad(np.array(chosen, np.int64), fill=-9, width=7)
    assert [line[mask].tolist() for line, mask in zip(padded, kept, strict=True)] == [rows[row] for row in chosen]
    assert (np.sort(~kept, axis=1) == ~kept).all()
    assert (padded[~kept] == -9).all()


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


@given(st.lists(st.dictionaries(st.integers(0, 6), st.floats(0.125, 1, width=32)), min_size=1, max_size=6), st.data())
def test_any_credits_filled_are_those_of_their_rows(rows: list[dict[int, float]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    filled = Credits(rows, num_answers=7).fill(np.array(chosen, np.int64))
    assert filled.tolist() == [[rows[row].get(answer, 0.0) for answer in range(7)] for row in chosen]
