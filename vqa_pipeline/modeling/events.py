"""What a running job tells: dictionaries of plain values, and the people who listen to them.

Events: started, step (at most about one a second), epoch, log, finished. Where they go is the worker's choice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TextIO

from vqa_pipeline.progress import Throttle

Event = dict[str, Any]
Report = Callable[[Event], None]

_STEP_SECONDS = 1.0
_LINE_SECONDS = 10.0


def log(report: Report, message: str) -> None:
    """Tell a sentence."""
    report({"event": "log", "message": message})


class Listener(Protocol):
    """Somebody who is told every step of a training."""

    def __call__(self, event: Event) -> None:
        """Listen."""

    def close(self) -> None:
        """There will be no more events."""


class ProgressBar:
    """Loss, rate and remaining time on a terminal; where stderr is none, a line every ten seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._num_steps = stream, 0
        self._bar: Any = None
        self._due = Throttle(_LINE_SECONDS, clock)

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if event["event"] == "started":
            self._start(event)
        elif event["event"] == "step":
            self._step(event)
        elif event["event"] == "epoch":
            mark = " (best)" if event["best"] else ""
            self._write(f"epoch {event['epoch']}: loss {event['loss']:.3f}, val {event['val_accuracy']:.4f}{mark}")

    def _start(self, event: Event) -> None:
        self._num_steps = event["num_steps"]
        if self._stream.isatty():
            from tqdm import tqdm

            first = event["resumed_from_step"] or 0
            self._bar = tqdm(total=self._num_steps, initial=first, unit="step", file=self._stream, dynamic_ncols=True)

    def _step(self, event: Event) -> None:
        told = f"loss {event['loss']:.3f}, lr {event['learning_rate']:.2e}, {event['questions_per_second']:.0f} q/s"
        if self._bar is not None:
            self._bar.set_postfix_str(told, refresh=False)
            self._bar.update(event["step"] - self._bar.n)
        elif self._due():
            self._write(f"step {event['step']}/{self._num_steps}: {told}, {event['eta_seconds']:.0f} s to go")

    def _write(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        else:
            self._stream.write(f"{line}\n")
            self._stream.flush()

    def close(self) -> None:
        """Leave the terminal in order."""
        if self._bar is not None:
            self._bar.close()


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
    """Hands every event to a report and to listeners; steps reach the report at most once a second."""

    def __init__(self, report: Report, listeners: tuple[Listener, ...] = ()) -> None:
        self._report, self._listeners = report, listeners
        self._due = Throttle(_STEP_SECONDS)

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        if event["event"] != "step" or self._due():
            self._report(event)
        for listener in self._listeners:
            listener(event)

    def close(self) -> None:
        """Let the listeners finish what they write."""
        for listener in self._listeners:
            listener.close()
