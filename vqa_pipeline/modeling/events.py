"""What a running job tells: dictionaries of plain values, and how they read. Loads without torch.

| event | tells |
|---|---|
| started | num_parameters, num_learnable, num_steps, device, precision, resumed_from_step (None: it begins) |
| step | step, epoch, loss, learning_rate, gradient_norm, questions_per_second, data_wait_fraction, eta_seconds, |
|      | host_memory_bytes, gpu_memory_bytes (the peak; None on a CPU); at most about one a second |
| epoch | step, epoch, loss, learning_rate, val_accuracy, val_by_answer_type, best (so far), seconds |
| progress | task, done, total, unit: how far other long work is; at most about one a second |
| log | message: a sentence |
| finished | numbers that sum it up |

Where they go is the worker's choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from vqa_pipeline.progress import Display, Throttle

Event = dict[str, Any]
Report = Callable[[Event], None]

_STEP_SECONDS = 1.0
_WAIT_WORTH_TELLING = 0.03


def log(report: Report, message: str) -> None:
    """Tell a sentence."""
    report({"event": "log", "message": message})


def tell_progress(report: Report, task: str, done: int, total: int, unit: str, note: str = "") -> None:
    """Tell how far a task is, as `progress.Progress` is told it."""
    told = {"event": "progress", "task": task, "done": done, "total": total, "unit": unit}
    report({**told, "note": note} if note else told)


def put_into_words(event: Mapping[str, Any]) -> str | None:
    """The sentence that an event is worth in a log; None for those that are many or say nothing new."""
    kinds = {"started": _describe_start, "epoch": _describe_epoch, "log": lambda event: str(event["message"])}
    describe: Callable[[Mapping[str, Any]], str] | None = kinds.get(str(event["event"]))
    return describe(event) if describe else None


def _describe_start(event: Mapping[str, Any]) -> str:
    learnable, total = event["num_learnable"], event["num_parameters"]
    told = (
        f"{learnable:,} of {total:,} parameters learn ({learnable / total:.0%}) on {event['device']} in "
        f"{event['precision']}, {event['num_steps']:,} steps"
    )
    resumed = event.get("resumed_from_step")
    return f"{told}, going on from step {resumed:,}" if resumed else told


def _describe_epoch(event: Mapping[str, Any]) -> str:
    kinds = ", ".join(f"{kind} {accuracy:.3f}" for kind, accuracy in event.get("val_by_answer_type", {}).items())
    by_kind = f" ({kinds})" if kinds else ""
    best = ", the best so far" if event.get("best") else ""
    loss, accuracy = event["loss"], event["val_accuracy"]
    return f"epoch {event['epoch']} done: loss {loss:.3f}, val accuracy {accuracy:.3f}{by_kind}{best}"


def describe_step(event: Mapping[str, Any]) -> str:
    """Where a training is, how well and how fast it learns, in a few words."""
    waiting = event.get("data_wait_fraction") or 0.0
    waits = f", {waiting:.0%} of the time waiting for data" if waiting >= _WAIT_WORTH_TELLING else ""
    rates = f"rate {event['learning_rate']:.2e}, {event['questions_per_second']:.0f} questions/s"
    return f"epoch {event['epoch']}, loss {event['loss']:.3f}, {rates}{waits}"


class Shown:
    """How far a job is, on a terminal or in a log: a bar, or a line now and then, and sentences that stay."""

    def __init__(self, shown: Display) -> None:
        self._shown, self._step, self._num_steps = shown, 0, 0

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show an event."""
        told = put_into_words(event)
        if told is not None:
            self._shown.write(told)
        if event["event"] == "started":
            self._step, self._num_steps = event["resumed_from_step"] or 0, event["num_steps"]
            self._show_training("")
        elif event["event"] == "step":
            self._step = event["step"]
            self._show_training(describe_step(event))
        elif event["event"] == "progress":
            self._show_progress(event)

    def _show_training(self, note: str) -> None:
        self._shown("training", self._step, self._num_steps, "steps", note)

    def _show_progress(self, event: Mapping[str, Any]) -> None:
        """Other work; what a training does between its steps is a note of it, or its pace would be lost each time."""
        task, done, total, unit = event["task"], event["done"], event["total"], event["unit"]
        if self._step < self._num_steps:
            self._show_training(f"{task}, {done:,} of {total:,} {unit}")
        else:
            self._shown(task, done, total, unit, event.get("note", ""))

    def close(self) -> None:
        """Leave the terminal in order."""
        self._shown.close()


class Listener(Protocol):
    """Somebody who is told every step of a training."""

    def __call__(self, event: Event) -> None:
        """Listen."""

    def close(self) -> None:
        """There will be no more events."""


class Reporter:
    """Hands every event to a report and to listeners; what comes again and again reaches the report once a second."""

    def __init__(self, report: Report, listeners: tuple[Listener, ...] = ()) -> None:
        self._report, self._listeners = report, listeners
        self._due = {event: Throttle(_STEP_SECONDS) for event in ("step", "progress")}

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        if self._is_due(event):
            self._report(event)
        for listener in self._listeners:
            listener(event)

    def _is_due(self, event: Event) -> bool:
        due = self._due.get(event["event"])
        return due is None or due() or (event["event"] == "progress" and event["done"] in {0, event["total"]})

    def close(self) -> None:
        """Let the listeners finish what they write."""
        for listener in self._listeners:
            listener.close()
