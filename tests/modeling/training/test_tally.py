from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vqa_pipeline.modeling.training.tally import Tally


def leave(tally: Tally, step: int, losses: list[float], norm: float = 1.0, skipped: bool = False) -> None:
    row = tally.open(len(losses))
    row.losses.copy_(torch.tensor(losses))
    row.norm.fill_(norm)
    row.skipped.fill_(skipped)
    tally.close(step, np.arange(len(losses)) + 10 * step)


def test_what_steps_left_is_read_once_in_their_order() -> None:
    tally = Tally(4, 3, torch.device("cpu"))
    leave(tally, 5, [1.0, 2.0, 6.0], norm=0.5)
    leave(tally, 6, [4.0, math.nan], norm=math.inf, skipped=True)
    first, second = tally.read()
    assert (first.step, first.loss, first.gradient_norm, first.skipped) == (5, 3.0, 0.5, False)
    assert first.positions.tolist() == [50, 51, 52]
    assert (second.step, second.gradient_norm, second.skipped) == (6, math.inf, True)
    assert np.array_equal(second.losses, np.array([4.0, np.nan], np.float32), equal_nan=True)
    assert tally.read() == []
    leave(tally, 7, [2.0])
    assert [(told.step, told.loss, told.skipped) for told in tally.read()] == [(7, 2.0, False)]


def test_what_was_read_does_not_change_afterwards() -> None:
    tally = Tally(1, 1, torch.device("cpu"))
    leave(tally, 1, [1.0])
    told = tally.read()
    leave(tally, 2, [9.0])
    assert told[0].loss == 1.0


def test_a_row_that_was_not_closed_is_forgotten() -> None:
    tally = Tally(2, 2, torch.device("cpu"))
    tally.open(2).losses.fill_(math.nan)
    assert tally.read() == []
    leave(tally, 1, [3.0])
    assert tally.read()[0].loss == 3.0


def test_it_takes_as_many_steps_as_it_has_rows() -> None:
    tally = Tally(1, 1, torch.device("cpu"))
    leave(tally, 1, [1.0])
    with pytest.raises(IndexError):
        tally.open(1)
