"""How far a long piece of work is: told by whoever does it, shown by whoever started it.

Rooms that may not print are given a `Progress` and call it as often as they like; it decides what is worth showing. A
terminal gets a bar, everything else a line now and then. Nothing here knows what the work is.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Protocol, TextIO, TypeVar

Thing = TypeVar("Thing")
Clock = Callable[[], float]

_LINE_SECONDS = 10.0
_REDRAW_SECONDS = 0.1
_PATIENCE_SECONDS = 0.5
"""A task that is done sooner is not shown on a terminal: it would only flicker."""

_BAR_CELLS = 24
_BLOCKS = ("█", "░")
_KILO = 1000


class Progress(Protocol):
    """Somebody who is told how far a task is."""

    def __call__(self, task: str, done: int, total: int, unit: str, note: str = "") -> None:
        """Be told.

        Args:
            task: What is done, such as `reading clinic`; another name is another task.
            done: Units done, 0 to `total`; `total` ends the task.
            total: Units in all; an estimate may turn out wrong, as long as the end is told.
            unit: What is counted, in the plural, such as `images`; `bytes` are shown in kB, MB and GB.
            note: What else is worth knowing at this moment.
        """


class Display(Progress, Protocol):
    """A `Progress` that people see, with lines that stay beside it."""

    def write(self, line: str) -> None:
        """Write a line that stays."""

    def close(self) -> None:
        """Leave the place of display in order; there may be more to tell later."""


def silent(task: str, done: int, total: int, unit: str, note: str = "") -> None:
    """Nobody listens."""


def follow(
    things: Iterable[Thing], progress: Progress, task: str, total: int, unit: str, size: Callable[[Thing], int]
) -> Iterator[Thing]:
    """Pass things on, results as they come or items as they are worked on; tell each when the next is asked for.

    Args:
        things: What to pass on.
        progress: Who is told.
        task: As `Progress` is told it.
        total: The sizes of all things together.
        unit: What sizes are counted in.
        size: How many units a thing is.
    """
    done = 0
    progress(task, done, total, unit)
    for thing in things:
        yield thing
        done += size(thing)
        progress(task, min(done, total), total, unit)


def count_one(_: object) -> int:
    """The size of a thing that is one unit."""
    return 1


def count_items(thing: Sized) -> int:
    """The size of a thing that is as many units as it has items."""
    return len(thing)


class Throttle:
    """True at most once per so many seconds, and the first time."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._next = clock()

    def __call__(self) -> bool:
        """Whether it is time."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


class ProgressLines:
    """A line every ten seconds, and one at the end of a task that had any; none for a task that takes less."""

    def __init__(self, write: Callable[[str], None], clock: Clock = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._pace = _Pace("", 0, 0.0)
        self._due = Throttle(_LINE_SECONDS, clock)
        self._wrote = False

    def __call__(self, task: str, done: int, total: int, unit: str, note: str = "") -> None:
        """Be told, as `Progress`."""
        if task != self._pace.task:
            self._pace = _Pace(task, done, self._clock())
            self._due = Throttle(_LINE_SECONDS, self._clock)
            self._due()  # the first ten seconds are quiet
            self._wrote = False
        if done >= total:
            if self._wrote:
                self._write(f"{task}: {self._pace.sum_up(done, unit, self._clock())}")
            self._pace = _Pace("", 0, 0.0)
        elif self._due():
            self._write(_join(f"{task}: {self._pace.describe(done, total, unit, self._clock())}", note))
            self._wrote = True

    def write(self, line: str) -> None:
        """Write a line of its own."""
        self._write(line)

    def close(self) -> None:
        """There is nothing to put in order."""


class ProgressBar:
    """A line of a terminal that is drawn again and again, and erased when the task is done."""

    def __init__(self, terminal: TextIO, clock: Clock = time.monotonic) -> None:
        self._terminal, self._clock = terminal, clock
        self._pace = _Pace("", 0, 0.0)
        self._due = Throttle(_REDRAW_SECONDS, clock)
        self._full, self._empty = _BLOCKS if _can_show(terminal, "".join(_BLOCKS)) else ("#", "-")
        self._length = 0

    def __call__(self, task: str, done: int, total: int, unit: str, note: str = "") -> None:
        """Be told, as `Progress`."""
        now = self._clock()
        if task != self._pace.task:
            self.close()
            self._pace = _Pace(task, done, now)
        if done >= total:
            self.close()
            self._pace = _Pace("", 0, 0.0)
        elif now - self._pace.begin >= _PATIENCE_SECONDS and self._due():
            filled = _BAR_CELLS * done // total
            bar = self._full * filled + self._empty * (_BAR_CELLS - filled)
            told = f"{task}  {bar} {done / total:4.0%}  {self._pace.describe(done, total, unit, now)}"
            self._draw(_join(told, note))

    def _draw(self, text: str) -> None:
        text = text[: shutil.get_terminal_size().columns - 1]
        self._terminal.write("\r" + text.ljust(self._length))
        self._terminal.flush()
        self._length = len(text)

    def write(self, line: str) -> None:
        """Write a line that stays, above the bar."""
        self.close()
        self._terminal.write(f"{line}\n")
        self._terminal.flush()

    def close(self) -> None:
        """Leave the terminal as it was; the bar is drawn again when there is more to tell."""
        if self._length:
            self._terminal.write("\r" + " " * self._length + "\r")
            self._terminal.flush()
            self._length = 0


def show_on(stream: TextIO, clock: Clock = time.monotonic) -> Display:
    """A bar where a stream is a terminal, lines where it is none."""
    if stream.isatty():
        return ProgressBar(stream, clock)
    return ProgressLines(lambda line: print(line, file=stream, flush=True), clock)


def _can_show(terminal: TextIO, text: str) -> bool:
    try:
        text.encode(terminal.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _join(told: str, note: str) -> str:
    return f"{told}; {note}" if note else told


class _Pace:
    """How fast a task goes, from its beginning on."""

    def __init__(self, task: str, first: int, begin: float) -> None:
        self.task, self.first, self.begin = task, first, begin

    def describe(self, done: int, total: int, unit: str, now: float) -> str:
        """Such as `1,024 of 4,000 images, 85/s, 35 s to go`."""
        rate = self._measure(done, now)
        so_far = f"{_format(done, unit)} of {_format(total, unit)}" + ("" if unit == "bytes" else f" {unit}")
        if not rate:
            return so_far
        return f"{so_far}, {_format(rate, unit)}/s, {format_seconds((total - done) / rate)} to go"

    def sum_up(self, done: int, unit: str, now: float) -> str:
        """Such as `4,000 images in 47 s, 85/s`."""
        amount = _format(done, unit) + ("" if unit == "bytes" else f" {unit}")
        return f"{amount} in {format_seconds(now - self.begin)}, {_format(self._measure(done, now), unit)}/s"

    def _measure(self, done: int, now: float) -> float:
        return (done - self.first) / (now - self.begin) if now > self.begin else 0.0


def _format(amount: float, unit: str) -> str:
    if unit != "bytes":
        return f"{amount:,.0f}" if isinstance(amount, int) or amount >= _KILO / 100 else f"{amount:.1f}"
    if amount < _KILO:
        return f"{amount:.0f} B"
    for prefix in ("k", "M", "G"):
        amount /= _KILO
        if amount < _KILO or prefix == "G":
            break
    return f"{amount:.1f} {prefix}B" if amount < _KILO / 100 else f"{amount:.0f} {prefix}B"


def format_bytes(amount: float) -> str:
    """Such as `1.2 GB`."""
    return _format(amount, "bytes")


def format_seconds(seconds: float) -> str:
    """Such as `2 h 05 min`, `4 min 10 s` or `35 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
