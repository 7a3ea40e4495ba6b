from __future__ import annotations

import io
from pathlib import Path

import pytest
from modeling_world import Events
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vqa_pipeline.modeling.events import Reporter, StepsShown, TensorBoard, log

STARTED = {"event": "started", "num_steps": 4, "resumed_from_step": None}
EPOCH = {"event": "epoch", "epoch": 1, "step": 2, "loss": 0.5, "val_accuracy": 0.75, "best": True}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def step(number: int, loss: float = 0.5) -> dict[str, object]:
    return {
        "event": "step",
        "step": number,
        "epoch": 1,
        "loss": loss,
        "learning_rate": 1e-3,
        "questions_per_second": 120.0,
        "eta_seconds": 7.0,
    }


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_there_is_a_line_every_ten_seconds_and_one_per_epoch() -> None:
    stream, clock = io.StringIO(), Clock()
    shown = StepsShown(stream, clock)
    shown(STARTED)
    for number in range(1, 4):
        clock.now = 5.0 * number
        shown(step(number))
    shown(EPOCH)
    shown.close()
    assert stream.getvalue().splitlines() == [
        "training: 2 of 4 steps, 0.2/s, 10 s to go; loss 0.500, lr 1.00e-03, 120 questions/s",
        "epoch 1: loss 0.500, val 0.7500 (best)",
    ]


def test_on_a_terminal_there_is_a_bar_with_loss_and_rate_that_begins_where_the_training_went_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    stream, clock = Terminal(), Clock()
    shown = StepsShown(stream, clock)
    shown(STARTED | {"resumed_from_step": 1})
    for clock.now, number in ((10.0, 2), (20.0, 3)):
        shown(step(number))
    told = stream.getvalue()
    assert "3 of 4 steps, 0.1/s, 10 s to go; loss 0.500" in told
    shown(EPOCH)
    shown.close()
    assert stream.getvalue().endswith("\repoch 1: loss 0.500, val 0.7500 (best)\n")


def test_steps_are_reported_at_most_once_a_second_and_everything_else_always() -> None:
    events, heard = Events(), Events()
    heard.close = lambda: None
    reporter = Reporter(events, (heard,))
    for event in (STARTED, step(1), step(2), step(3), EPOCH):
        reporter(event)
    log(reporter, "Hello.")
    assert [event["event"] for event in events.all] == ["started", "step", "epoch", "log"]
    assert len(heard.named("step")) == 3


def read_curve(folder: Path) -> dict[int, float]:
    accumulator = EventAccumulator(str(folder)).Reload()
    return {scalar.step: scalar.value for scalar in accumulator.Scalars("train/loss")}


def test_a_resumed_curve_overwrites_what_came_after(tmp_path: Path) -> None:
    first = TensorBoard(tmp_path)
    for event in (STARTED, step(1, 4.0), step(2, 3.0), step(3, 2.5), EPOCH):
        first(event)
    first.close()
    assert read_curve(tmp_path) == {1: 4.0, 2: 3.0, 3: 2.5}
    second = TensorBoard(tmp_path)
    for event in (STARTED | {"resumed_from_step": 1}, step(2, 0.5)):
        second(event)
    second.close()
    assert read_curve(tmp_path) == {1: 4.0, 2: 0.5}


def test_nothing_is_written_before_a_training_starts(tmp_path: Path) -> None:
    TensorBoard(tmp_path).close()
    assert list(tmp_path.iterdir()) == []
