"""When to save and to tell, by the clock. What a training becomes never depends on it."""

from __future__ import annotations

import time
from collections.abc import Callable

SAVE_SECONDS = 10.0
"""A kill costs about so much, unless saving is slow."""

MAX_SAVING_SHARE = 0.05
"""Saving takes at most this share of the time."""

Clock = Callable[[], float]


class Stopwatch:
    """Training time: what earlier runs took, and this one."""

    def __init__(self, before: float, clock: Clock = time.monotonic) -> None:
        self._before, self._clock, self._started = before, clock, clock()

    def elapsed(self) -> float:
        """Seconds of this run."""
        return self._clock() - self._started

    def total(self) -> float:
        """Seconds of all runs."""
        return self._before + self.elapsed()


class SavePace:
    """Saves as often as costs little."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock, self._saved, self._pause = clock, clock(), 0.0

    def is_due(self) -> bool:
        """Whether progress has been at risk for long enough."""
        return self._clock() - self._saved >= max(SAVE_SECONDS, self._pause / MAX_SAVING_SHARE)

    def save(self, save: Callable[[], None]) -> None:
        """Save, and learn how long that takes."""
        started = self._clock()
        save()
        self._saved = self._clock()
        self._pause = self._saved - started
