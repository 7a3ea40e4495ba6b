from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from modeling_world import World
from trunk_world import make_trunk_world

from vqa_pipeline.modeling.fast_vilt import Hidden
from vqa_pipeline.modeling.hidden_rows import DeviceRows, stack_rows

CPU = torch.device("cpu")
FLOATS = st.lists(
    st.integers(1, 5).flatmap(lambda tokens: st.lists(st.integers(-9, 9), min_size=2 * tokens, max_size=2 * tokens)),
    min_size=1,
    max_size=6,
)


def to_rows(numbers: list[list[int]], dtype: torch.dtype) -> list[np.ndarray]:
    """Rows of tokens of two numbers each."""
    return [torch.tensor(row, dtype=dtype).view(-1, 2).view(torch.uint8).numpy() for row in numbers]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_shorter_rows_are_filled_up_at_their_end(dtype: torch.dtype) -> None:
    hidden = stack_rows(to_rows([[1, 2], [3, 4, 5, 6]], dtype), dtype, CPU)
    assert hidden.states.tolist() == [[[1, 2], [0, 0]], [[3, 4], [5, 6]]]
    assert hidden.states.dtype == torch.float32
    assert hidden.mask is not None
    assert hidden.mask.tolist() == [[True, False], [True, True]]


def test_rows_of_one_length_need_no_mask() -> None:
    assert stack_rows(to_rows([[1, 2], [3, 4]], torch.float32), torch.float32, CPU).mask is None


@given(FLOATS, st.data())
def test_on_the_device_the_same_comes_out(numbers: list[list[int]], data: st.DataObject) -> None:
    rows = to_rows(numbers, torch.float16)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=8))
    expected = stack_rows([rows[number] for number in chosen], torch.float16, CPU)
    got = DeviceRows(rows, torch.float16, CPU).stack(np.array(chosen, np.int64))
    assert torch.equal(got.states, expected.states)
    assert (got.mask is None) == (expected.mask is None)
    assert got.mask is None or expected.mask is None or torch.equal(got.mask, expected.mask)


def test_a_row_that_is_not_finite_does_not_reach_its_neighbours() -> None:
    rows = [*to_rows([[1, 2], [3, 4, 5, 6]], torch.float32), np.frombuffer(b"\xff" * 16, np.uint8).reshape(2, 8)]
    assert torch.isfinite(DeviceRows(rows, torch.float32, CPU).stack(np.array([0, 1])).states).all()


def test_padding_at_the_end_does_not_change_an_answer(world: World) -> None:
    model = make_trunk_world(world).model
    states = torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        alone = model.answer(Hidden(states, None), 1)
        padded = torch.cat([states, torch.full((1, 3, 32), 5.0)], dim=1)
        beside = model.answer(Hidden(padded, torch.arange(10)[None] < 7), 1)
    torch.testing.assert_close(beside, alone, rtol=1e-5, atol=1e-6)
