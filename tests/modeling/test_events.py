from __future__ import annotations

import io

import pytest
from modeling_world import Events

from vqa_pipeline.modeling.events import Reporter, Shown, log, put_into_words, tell_progress
from vqa_pipeline.progress import show_on

STARTED = {
    "event": "started",
    "num_parameters": 100,
    "num_learnable": 25,
    "device": "cpu",
    "precision": "fp32",
    "num_steps": 4,
    "resumed_from_step": None,
}
EPOCH = {
    "event": "epoch",
    "epoch": 1,
    "step": 2,
    "loss": 0.5,
    "val_accuracy": 0.75,
    "val_by_answer_type": {"number": 0.5, "yes/no": 1.0},
    "best": True,
}
STARTED_TOLD = "25 of 100 parameters learn (25%) on cpu in fp32, 4 steps"
EPOCH_TOLD = "epoch 1 done: loss 0.500, val accuracy 0.750 (number 0.500, yes/no 1.000), the best so far"


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
    shown = Shown(show_on(stream, clock))
    shown(STARTED)
    for number in range(1, 4):
        clock.now = 5.0 * number
        shown(step(number))
    shown(EPOCH)
    shown.close()
    assert stream.getvalue().splitlines() == [
        STARTED_TOLD,
        "training: 2 of 4 steps, 0.2/s, 10 s to go; epoch 1, loss 0.500, rate 1.00e-03, 120 questions/s",
        EPOCH_TOLD,
    ]


def test_on_a_terminal_there_is_a_bar_with_loss_and_rate_that_begins_where_the_training_went_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    stream, clock = Terminal(), Clock()
    shown = Shown(show_on(stream, clock))
    shown(STARTED | {"resumed_from_step": 1})
    for clock.now, number in ((10.0, 2), (20.0, 3)):
        shown(step(number))
    told = stream.getvalue()
    assert "3 of 4 steps, 0.1/s, 10 s to go; epoch 1, loss 0.500" in told
    shown(EPOCH)
    shown.close()
    assert stream.getvalue().endswith(f"\r{EPOCH_TOLD}\n")


def test_steps_are_reported_at_most_once_a_second_and_everything_else_always() -> None:
    events, heard = Events(), Events()
    heard.close = lambda: None
    reporter = Reporter(events, (heard,))
    for event in (STARTED, step(1), step(2), step(3), EPOCH):
        reporter(event)
    log(reporter, "Hello.")
    assert [event["event"] for event in events.all] == ["started", "step", "epoch", "log"]
    assert len(heard.named("step")) == 3


def test_what_comes_again_and_again_is_no_sentence_and_what_is_unknown_is_silence() -> None:
    assert put_into_words(step(1)) is None
    assert (
        put_into_words({"event": "progress", "task": "validating", "done": 1, "total": 2, "unit": "questions"}) is None
    )
    assert put_into_words({"event": "new kind"}) is None
    resumed = put_into_words(STARTED | {"resumed_from_step": 1_200})
    assert resumed == f"{STARTED_TOLD}, going on from step 1,200"
    untyped = put_into_words(EPOCH | {"val_by_answer_type": {}, "best": False})
    assert untyped == "epoch 1 done: loss 0.500, val accuracy 0.750"


@pytest.mark.parametrize(("share", "told"), [(None, False), (0.0, False), (0.02, False), (0.04, True)])
def test_waiting_for_data_is_told_where_it_costs_something(share: float | None, told: bool) -> None:
    stream, clock = io.StringIO(), Clock()
    shown = Shown(show_on(stream, clock))
    shown(STARTED)
    clock.now = 20.0
    shown(step(1) | {"data_wait_fraction": share})
    assert ("4% of the time waiting for data" in stream.getvalue()) is told


def test_other_long_work_is_told_at_its_ends_and_about_once_a_second_and_shown_as_it_was_told() -> None:
    events, stream, clock = Events(), io.StringIO(), Clock()
    reporter = Reporter(events)
    for done in range(1_001):
        tell_progress(reporter, "answering test", done, 1_000, "questions")
    told = events.named("progress")
    assert [told[0]["done"], told[-1]["done"]] == [0, 1_000]
    assert len(told) < 100
    shown = Shown(show_on(stream, clock))
    shown(told[0])
    clock.now = 10.0
    shown(told[0] | {"done": 500})
    assert stream.getvalue() == "answering test: 500 of 1,000 questions, 50/s, 10 s to go\n"


def test_validation_is_a_note_of_the_training_whose_pace_it_does_not_disturb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    stream, clock = Terminal(), Clock()
    shown = Shown(show_on(stream, clock))
    shown(STARTED)
    for clock.now, number in ((10.0, 1), (20.0, 2)):
        shown(step(number))
    clock.now = 30.0
    shown({"event": "progress", "task": "validating", "done": 3, "total": 8, "unit": "questions"})
    clock.now = 40.0
    shown(step(3))
    told = stream.getvalue()
    assert "2 of 4 steps, 0.1/s, 30 s to go; validating, 3 of 8 questions" in told
    assert "3 of 4 steps, 0.1/s, 13 s to go; epoch 1" in told, "from the first step on, validation included"
