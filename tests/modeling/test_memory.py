from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.errors import OutOfMemory
from vqa_pipeline.modeling.memory import MicroBatch, is_out_of_memory


class Memory:
    """Room for so many questions at once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.tried: list[int] = []

    def work(self, size: int) -> str:
        self.tried.append(size)
        if size > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore words.")
        return f"done by {size}"


def test_what_fits_is_done_once_and_nothing_is_told() -> None:
    memory, told = Memory(8), []
    assert MicroBatch(8, told.append).fit(memory.work, lambda: "a question") == "done by 8"
    assert (memory.tried, told) == ([8], [])


def test_what_does_not_fit_is_halved_until_it_does_and_stays_so() -> None:
    memory, told = Memory(3), []
    micro_batch = MicroBatch(13, told.append)
    assert micro_batch.fit(memory.work, lambda: "a question") == "done by 2"
    assert memory.tried == [13, 7, 4, 2]
    assert micro_batch.fit(memory.work, lambda: "a question") == "done by 2"
    assert (memory.tried[4:], micro_batch.size, len(told)) == ([2], 2, 3)
    assert "from now on 2 questions are computed at once" in told[-1]


def test_one_question_that_does_not_fit_is_an_error_that_says_what_it_was() -> None:
    with pytest.raises(OutOfMemory) as caught:
        MicroBatch(4, lambda message: None).fit(Memory(0).work, lambda: "384 x 608 pixels, 12 tokens")
    assert caught.value.shape == "384 x 608 pixels, 12 tokens"
    assert caught.value.reason == "CUDA out of memory. Tried to allocate 2.00 GiB"


def test_when_one_question_does_not_fit_relief_is_asked_for_and_all_is_tried_anew() -> None:
    memory, told = Memory(0), []

    def relieve() -> str | None:
        if memory.limit:
            return None
        memory.limit = 4
        return "half is kept"

    assert MicroBatch(13, told.append, relieve).fit(memory.work, lambda: "a question") == "done by 4"
    assert memory.tried == [13, 7, 4, 2, 1, 13, 7, 4]
    assert told[4] == "Out of memory: half is kept; results stay the same."


def test_relief_that_does_not_help_is_not_asked_for_for_ever() -> None:
    ways = ["one way", "another"]
    with pytest.raises(OutOfMemory):
        MicroBatch(2, lambda message: None, lambda: ways.pop() if ways else None).fit(Memory(0).work, lambda: "")
    assert ways == []


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_rows_are_computed_in_parts_that_fit_and_keep_their_order(size: int) -> None:
    seen: list[int] = []

    def double(positions: np.ndarray) -> torch.Tensor:
        seen.append(len(positions))
        if len(positions) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return torch.from_numpy(positions * 2)

    computed = MicroBatch(size, lambda message: None).compute(np.array([7, 1, 5, 2, 9]), double, lambda: "a question")
    assert computed.tolist() == [14, 2, 10, 4, 18]
    assert {1: [1] * 5, 2: [2, 2, 1], 3: [3, 2], 5: [5, 3, 2], 8: [5, 4, 2, 2, 1]}[size] == seen


@given(st.integers(1, 200), st.integers(1, 200))
def test_the_size_found_fits_and_is_at_least_half_of_what_would(size: int, limit: int) -> None:
    micro_batch = MicroBatch(size, lambda message: None)
    micro_batch.fit(Memory(limit).work, lambda: "a question")
    assert min(size, limit) / 2 <= micro_batch.size <= min(size, limit)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("anything"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_of_memory_are_known_by_type_or_words(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_cpu_says_what_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_positions_are_cut_into_parts_of_what_is_computed_at_once() -> None:
    parts = MicroBatch(2, lambda message: None).cut(np.array([7, 1, 5, 2, 9]))
    assert [part.tolist() for part in parts] == [[7, 1], [5, 2], [9]]
