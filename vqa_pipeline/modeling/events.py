"""What a running job tells: dictionaries of plain values, and the people who listen to them.

Events: progress, started, step, epoch, log, finished; progress and step each at most about once a second. Where they
go is the worker's choice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TextIO

from vqa_pipeline.progress import Throttle, show_on

Event = dict[str, Any]
Report = Callable[[Event], None]

_STEP_SECONDS = 1.0


def log(report: Report, message: str) -> None:
    """Tell a sentence."""
    report({"event": "log", "message": message})


def tell_progress(report: Report, task: str, done: int, total: int, unit: str) -> None:
    """Tell how far a task is, as `progress.Progress` is told it."""
    report({"event": "progress", "task": task, "done": done, "total": total, "unit": unit})


class Listener(Protocol):
    """Somebody who is told every step of a training."""

    def __call__(self, event: Event) -> None:
        """Listen."""

    def close(self) -> None:
        """There will be no more events."""


class StepsShown:
    """How far a training is, with loss and rates, on a terminal or in a log; each epoch has a line that stays."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._shown, self._num_steps = show_on(stream, clock), 0

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if event["event"] == "started":
            self._num_steps = event["num_steps"]
            self._shown("training", event["resumed_from_step"] or 0, self._num_steps, "steps")
        elif event["event"] == "progress":
            self._shown(event["task"], event["done"], event["total"], event["unit"])
        elif event["event"] == "step":
            rates = f"lr {event['learning_rate']:.2e}, {event['questions_per_second']:.0f} questions/s"
            note = f"loss {event['loss']:.3f}, {rates}"
            self._shown("training", event["step"], self._num_steps, "steps", note)
        elif event["event"] == "epoch":
            mark = " (best)" if event["best"] else ""
            self._shown.write(
                f"epoch {event['epoch']}: loss {event['loss']:.3f}, val {event['val_accuracy']:.4f}{mark}"
            )

    def close(self) -> None:
        """Leave the terminal in order."""
        self._shown.close()


class TensorBoard:
    """Curves for TensorBoard; a resumed training overwrites what came after the step it resumes from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def __call__(self, event: Event) -> None:
        """Add an event's numbers to the curves."""
        if event["event"] == "started":
            from torch.utils.tensorboard import SummaryWriter

            purge_step = None if event["resumed_from_step"] is None else event["resumed_from_step"] + 1
            self._writer = SummaryWriter(str(self._folder), purge_step=purge_step)
        elif event["event"] == "step":
            self._add(event, "train/loss", "loss")
            self._add(event, "train/learning_rate", "learning_rate")
            self._add(event, "train/questions_per_second", "questions_per_second")
        elif event["event"] == "epoch":
            self._add(event, "val/accuracy", "val_accuracy")
            self._add(event, "train/epoch_loss", "loss")

    def _add(self, event: Event, tag: str, field: str) -> None:
        if self._writer is not None:
            self._writer.add_scalar(tag, event[field], event["step"])

    def close(self) -> None:
        """Flush to disk."""
        if self._writer is not None:
            self._writer.close()


class Reporter:
    """Hands every event to a report and to listeners; steps and progress reach the report at most once a second."""

    def __init__(self, report: Report, listeners: tuple[Listener, ...] = ()) -> None:
        self._report, self._listeners = report, listeners
        self._due = {event: Throttle(_STEP_SECONDS) for event in ("step", "progress")}

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        due = self._due.get(event["event"])
        if due is None or due():
            self._report(event)
        for listener in self._listeners:
            listener(event)

    def close(self) -> None:
        """Let the listeners finish what they write."""
        for listener in self._listeners:
            listener.close()
