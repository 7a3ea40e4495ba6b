from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.modeling.batches import Positions
from vqa_pipeline.modeling.read_ahead import ReadAhead

PLAN = [np.arange(start, start + 4) for start in range(0, 24, 4)]


class Shelf:
    """Reads the positions themselves, and remembers when."""

    def __init__(self) -> None:
        self.read: list[list[int]] = []
        self.threads: set[int] = set()
        self.arrived = threading.Semaphore(0)

    def __call__(self, positions: Positions) -> list[int]:
        self.threads.add(threading.get_ident())
        self.read.append(positions.tolist())
        self.arrived.release()
        return positions.tolist()


def whole(batch: Positions) -> Iterable[Positions]:
    return [batch]


@given(st.integers(0, 4), st.integers(1, 5), st.lists(st.integers(1, 5), min_size=6, max_size=6))
def test_whatever_is_expected_everybody_gets_what_they_ask_for(depth: int, expected: int, asked: list[int]) -> None:
    """Batches are expected in parts of one size and asked for in parts of others."""
    ahead = ReadAhead(Shelf())

    def cut(batch: Positions, size: int) -> list[Positions]:
        return [batch[start : start + size] for start in range(0, len(batch), size)]

    got = []
    for batch, size in zip(ahead.follow(PLAN, lambda batch: cut(batch, expected), depth), asked, strict=True):
        got += [ahead(part) for part in cut(batch, size)]
    assert got == [part.tolist() for batch, size in zip(PLAN, asked, strict=True) for part in cut(batch, size)]


def test_the_next_batches_are_read_while_one_is_worked_on() -> None:
    shelf = Shelf()
    ahead = ReadAhead(shelf)
    follow = ahead.follow(PLAN, whole, 2)
    first = next(follow)
    for _ in range(3):
        assert shelf.arrived.acquire(timeout=10)
    assert shelf.read == [batch.tolist() for batch in PLAN[:3]]
    assert ahead(first) == [0, 1, 2, 3]
    assert threading.get_ident() not in shelf.threads
    assert len(shelf.read) == 3


def test_nothing_is_read_twice_and_all_of_it_in_order() -> None:
    shelf = Shelf()
    ahead = ReadAhead(shelf)
    for batch in ahead.follow(PLAN, whole, 3):
        ahead(batch)
    assert shelf.read == [batch.tolist() for batch in PLAN]


def test_with_nothing_to_be_read_ahead_no_thread_is_used() -> None:
    shelf = Shelf()
    ahead = ReadAhead(shelf)
    for batch in ahead.follow(PLAN, lambda batch: [], 0):
        ahead(batch)
    assert shelf.threads == {threading.get_ident()}


def test_what_was_expected_and_not_asked_for_is_forgotten() -> None:
    ahead = ReadAhead(Shelf())
    for batch in ahead.follow(PLAN, whole, 2):
        if batch[0] == 12:
            break
    assert ahead._expected == {}


def test_an_error_is_raised_where_its_batch_is_asked_for() -> None:
    def read(positions: Positions) -> int:
        if positions[0] == 8:
            raise OSError(5, "the disk is gone")
        return int(positions[0])

    ahead, got = ReadAhead(read), []
    with pytest.raises(OSError, match="the disk is gone"):
        for batch in ahead.follow(PLAN, whole, 3):
            got.append(ahead(batch))  # noqa: PERF401 - what came before the error is looked at
    assert got == [0, 4]


def test_only_waiting_is_counted() -> None:
    now, read_one = [0.0], threading.Semaphore(0)

    def read(positions: Positions) -> int:
        now[0] += 5
        read_one.release()
        return 0

    ahead = ReadAhead(read, clock=lambda: now[0])
    ahead(PLAN[0])
    assert ahead.waited_seconds == 5
    follow = ahead.follow(PLAN[:1], whole, 1)
    batch = next(follow)
    for _ in range(2):
        assert read_one.acquire(timeout=10)
    ahead(batch)
    assert ahead.waited_seconds == 5
