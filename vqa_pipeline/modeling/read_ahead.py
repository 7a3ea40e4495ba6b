"""Reading what is computed next while the device is busy with what is computed now. Changes no value and no order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import numpy as np

Read = TypeVar("Read")
_Positions = np.ndarray[Any, np.dtype[np.int64]]

Cut = Callable[[_Positions], Iterable[_Positions]]
"""The parts of a batch, in the order in which they will be asked for."""


class ReadAhead(Generic[Read]):
    """A function of positions, computed in a thread for those that are expected soon."""

    def __init__(self, read: Callable[[_Positions], Read], clock: Callable[[], float] = time.perf_counter) -> None:
        self._read, self._clock, self._thread = read, clock, ThreadPoolExecutor(1, "read-ahead")
        self._expected: dict[bytes, Future[Read]] = {}
        self.waited_seconds = 0.0
        """How long callers had to wait so far."""

    def __call__(self, positions: _Positions) -> Read:
        """What the function gives, or raises; expected or not, it is the same."""
        started = self._clock()
        try:
            expected = self._expected.pop(positions.tobytes(), None)
            return self._read(positions) if expected is None else expected.result()
        finally:
            self.waited_seconds += self._clock() - started

    def follow(self, plan: Iterable[_Positions], cut: Cut, num_batches: int) -> Iterator[_Positions]:
        """Pass a plan's batches on, while the parts of the next `num_batches` are read.

        Parts that nobody asks for, because batches are cut otherwise than expected, are forgotten with their batch.
        """
        ahead: deque[tuple[_Positions, list[bytes]]] = deque()
        try:
            for batch in plan:
                ahead.append((batch, [self._expect(part) for part in cut(batch)]))
                if len(ahead) > num_batches:
                    yield from self._pass_on(*ahead.popleft())
            while ahead:
                yield from self._pass_on(*ahead.popleft())
        finally:
            self._forget([part for _, parts in ahead for part in parts])

    def _expect(self, part: _Positions) -> bytes:
        name = part.tobytes()
        self._expected[name] = self._thread.submit(self._read, part)
        return name

    def _pass_on(self, batch: _Positions, parts: list[bytes]) -> Iterator[_Positions]:
        try:
            yield batch
        finally:
            self._forget(parts)

    def _forget(self, parts: Iterable[bytes]) -> None:
        for part in parts:
            expected = self._expected.pop(part, None)
            if expected is not None:
                expected.cancel()
