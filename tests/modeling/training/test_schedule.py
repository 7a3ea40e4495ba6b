from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.modeling.training.schedule import compute_rate_factor


def test_the_rate_rises_then_falls() -> None:
    factors = [compute_rate_factor(step, 10, 0.2) for step in range(1, 11)]
    assert factors == [1 / 2, 1, 8 / 8, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]


def test_without_warmup_it_falls_from_the_first_step() -> None:
    assert [compute_rate_factor(step, 4, 0.0) for step in range(1, 5)] == [1, 3 / 4, 2 / 4, 1 / 4]


@given(st.integers(1, 200), st.floats(0, 0.99))
def test_no_step_is_wasted(num_steps: int, warmup_fraction: float) -> None:
    factors = [compute_rate_factor(step, num_steps, warmup_fraction) for step in range(1, num_steps + 1)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1
    peak = factors.index(1)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


def test_one_step_is_taken_at_the_full_rate() -> None:
    assert compute_rate_factor(1, 1, 0.1) == pytest.approx(1)
