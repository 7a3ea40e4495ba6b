"""Progress: a bar where there is a terminal, a line now and then where there is none, nothing for what is quick."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.progress import ProgressBar, ProgressLines, Throttle, count_items, count_one, follow, show_on, silent


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """What a terminal shows: a carriage return goes back to the start of the line, and new text covers old."""

    def isatty(self) -> bool:
        return True

    def show(self) -> list[str]:
        lines = []
        for line in self.getvalue().split("\n"):
            cells: list[str] = []
            for part in line.split("\r"):
                cells[: len(part)] = part
            lines.append("".join(cells).rstrip())
        return lines


def tell(progress, clock, task, total, unit, *moments) -> None:
    for clock.now, done in moments:
        progress(task, done, total, unit)


def test_a_throttle_opens_at_once_and_then_now_and_then():
    clock = Clock()
    due = Throttle(10, clock)
    opened = []
    for clock.now in (0, 1, 9.9, 10, 15, 30):
        opened.append(due())
    assert opened == [True, False, False, True, False, True]


# ---------------------------------------------------------------------------------------------------------------- lines


def test_without_a_terminal_there_is_a_line_every_ten_seconds_and_one_at_the_end():
    lines, clock = [], Clock()
    moments = [(0, 0), (5, 500), (10, 1000), (15, 1500), (20, 2000), (40, 4000)]
    tell(ProgressLines(lines.append, clock), clock, "checking images", 4000, "images", *moments)
    assert lines == [
        "checking images: 1,000 of 4,000 images, 100/s, 30 s to go",
        "checking images: 2,000 of 4,000 images, 100/s, 20 s to go",
        "checking images: 4,000 images in 40 s, 100/s",
    ]


def test_what_takes_less_than_ten_seconds_makes_no_line():
    lines, clock = [], Clock()
    progress = ProgressLines(lines.append, clock)
    tell(progress, clock, "checking images", 40, "images", (0, 0), (5, 20), (9.9, 40))
    tell(progress, clock, "writing questions", 4, "buckets", (10, 1), (15, 2), (19, 4))
    tell(progress, clock, "packing images", 1, "images", (30, 1))
    assert lines == []


def test_the_same_task_may_be_done_again():
    lines, clock = [], Clock()
    progress = ProgressLines(lines.append, clock)
    tell(progress, clock, "reading clinic", 100, "bytes", (0, 0), (50, 50), (60, 100))
    tell(progress, clock, "reading clinic", 100, "bytes", (61, 0), (65, 50), (66, 100))
    assert lines == ["reading clinic: 50 B of 100 B, 1 B/s, 50 s to go", "reading clinic: 100 B in 1 min 00 s, 2 B/s"]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_note_stands_at_the_end(monkeypatch, terminal):
    monkeypatch.setenv("COLUMNS", "120")
    stream, clock = Terminal() if terminal else io.StringIO(), Clock()
    shown = show_on(stream, clock)
    for clock.now, done in ((0, 0), (10, 1)):
        shown("training", done, 4, "steps", "loss 0.5")
    assert stream.getvalue().endswith("1 of 4 steps, 0.1/s, 30 s to go; loss 0.5" + ("" if terminal else "\n"))
    shown.close()


# ------------------------------------------------------------------------------------------------------------------ bar


def test_on_a_terminal_there_is_a_bar_with_rate_and_remaining_time_which_goes_when_the_task_is_done(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    terminal, clock = Terminal(), Clock()
    bar = ProgressBar(terminal, clock)
    tell(bar, clock, "reading clinic", 2_400_000_000, "bytes", (0, 0), (4, 600_000_000))
    assert terminal.show() == ["reading clinic  ██████░░░░░░░░░░░░░░░░░░  25%  600 MB of 2.4 GB, 150 MB/s, 12 s to go"]
    tell(bar, clock, "reading clinic", 2_400_000_000, "bytes", (16, 2_400_000_000))
    assert terminal.show() == [""]


def test_a_terminal_that_knows_no_blocks_gets_a_bar_of_its_own_characters():
    file, clock = io.BytesIO(), Clock()
    bar = ProgressBar(io.TextIOWrapper(file, "ascii"), clock)
    tell(bar, clock, "checking images", 4000, "images", (0, 0), (4, 1000))
    assert b"checking images  ######------------------  25%" in file.getvalue()


def test_a_shorter_text_covers_a_longer_one(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    terminal, clock = Terminal(), Clock()
    bar = ProgressBar(terminal, clock)
    tell(bar, clock, "checking images", 4000, "images", (0, 0), (1, 1), (1000, 3999))
    assert terminal.show() == [
        "checking images  ███████████████████████░ 100%  3,999 of 4,000 images, 4.0/s, 0 s to go"
    ]


def test_a_quick_task_does_not_flicker_and_the_bar_is_not_drawn_more_than_ten_times_a_second():
    terminal, clock = Terminal(), Clock()
    bar = ProgressBar(terminal, clock)
    tell(bar, clock, "checking images", 100, "images", (0, 0), (0.2, 50), (0.4, 100))
    assert terminal.getvalue() == ""
    tell(bar, clock, "packing images", 100, "images", (1, 0), *[(2 + number / 100, number) for number in range(50)])
    assert terminal.getvalue().count("packing images") == 5


def test_a_bar_fits_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    terminal, clock = Terminal(), Clock()
    tell(ProgressBar(terminal, clock), clock, "checking images", 4000, "images", (0, 0), (4, 1000))
    assert terminal.show() == ["checking images  ██████░░░░░░"]


def test_a_line_that_stays_is_written_above_the_bar(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    terminal, clock = Terminal(), Clock()
    bar = ProgressBar(terminal, clock)
    tell(bar, clock, "checking images", 4000, "images", (0, 0), (4, 1000))
    bar.write("a word")
    tell(bar, clock, "checking images", 4000, "images", (5, 1250))
    first, second = terminal.show()
    assert first == "a word"
    assert second.startswith("checking images  ███████░")


@pytest.mark.parametrize(
    ("now", "done", "unit", "told"),
    [
        (10, 15, "images", "15 of 100,000 images, 1.5/s, 18 h 30 min to go"),
        (10, 100, "images", "100 of 100,000 images, 10/s, 2 h 46 min to go"),
        (10, 10_000, "images", "10,000 of 100,000 images, 1,000/s, 1 min 30 s to go"),
        (10, 10_000, "bytes", "10 kB of 100 kB, 1.0 kB/s, 1 min 30 s to go"),
    ],
)
def test_amounts_and_times_are_written_as_people_write_them(now, done, unit, told):
    lines, clock = [], Clock()
    progress = ProgressLines(lines.append, clock)
    clock.now = 0
    progress("work", 0, 100_000, unit)
    tell(progress, clock, "work", 100_000, unit, (now, done))
    assert lines == [f"work: {told}"]


# --------------------------------------------------------------------------------------------------------------- follow


def test_things_are_passed_on_as_they_come_and_counted_when_they_are_done_with():
    told = []
    things = follow(iter(["ab", "c"]), lambda *words: told.append(words), "work", 3, "letters", count_items)
    assert next(things) == "ab"
    assert told == [("work", 0, 3, "letters")]
    assert next(things) == "c"
    assert told[1:] == [("work", 2, 3, "letters")]
    assert list(things) == []
    assert told[2:] == [("work", 3, 3, "letters")]
    assert list(follow(["x", "y"], silent, "work", 2, "letters", count_one)) == ["x", "y"]


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 120), st.floats(0, 30)), max_size=30),
    st.sampled_from(["bytes", "images"]),
)
def test_whatever_is_told_nothing_breaks_and_the_lines_stay_few(moments, unit):
    lines, clock, terminal = [], Clock(), Terminal()
    written, bar = ProgressLines(lines.append, clock), ProgressBar(terminal, clock)
    for task, done, seconds in moments:
        clock.now += seconds
        for progress in (written, bar, silent):
            progress(task, done, 100, unit)
    assert len(lines) <= 2 * clock.now / 10
