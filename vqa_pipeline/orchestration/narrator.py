"""Tells a job's events where people follow a run: in its log, on the terminal, and as observations to plot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from vqa_pipeline.modeling.events import Shown
from vqa_pipeline.progress import Display, ProgressLines, Throttle
from vqa_pipeline.training_client import Event

_SECONDS_BETWEEN_OBSERVATIONS = 15.0
_OF_A_STEP = (
    "step",
    "epoch",
    "loss",
    "learning_rate",
    "gradient_norm",
    "questions_per_second",
    "data_wait_fraction",
    "host_memory_bytes",
    "gpu_memory_bytes",
    "eta_seconds",
)
_OF_AN_EPOCH = ("step", "epoch", "loss", "learning_rate", "val_accuracy")


class Narrator:
    """Takes the events of a worker.

    Args:
        context: Of the step that started it.
        curve: The asset on which a training is observed.
        files: Where more is told of this training, by name; shown beside its curve.
        bar: Of the terminal, if there is one; None: the log says how far the work is, in a line now and then.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        curve: dg.AssetKey,
        files: Mapping[str, Path],
        bar: Display | None = None,
    ) -> None:
        self.context, self.curve = context, curve
        self.files = {name: dg.MetadataValue.path(str(path)) for name, path in files.items()}
        self.shown = Shown(_BarBesideLog(context, bar) if bar else ProgressLines(context.log.info))
        self.due = Throttle(_SECONDS_BETWEEN_OBSERVATIONS)

    def __call__(self, event: Event) -> None:
        """Take an event of the worker."""
        self.shown(event)
        if event["event"] == "step" and self.due():
            self._observe({name: event.get(name) for name in _OF_A_STEP})
        elif event["event"] == "epoch":
            kinds = event.get("val_by_answer_type", {})
            by_kind = {f"val_accuracy ({kind})": accuracy for kind, accuracy in kinds.items()}
            self._observe({name: event.get(name) for name in _OF_AN_EPOCH} | by_kind)

    def _observe(self, numbers: dict[str, float | None]) -> None:
        known = {name: number for name, number in numbers.items() if number is not None}
        metadata: dict[str, Any] = {**known, "run_id": dg.MetadataValue.dagster_run(self.context.run_id), **self.files}
        self.context.log_event(dg.AssetObservation(asset_key=self.curve, metadata=metadata))


class _BarBesideLog:
    """A bar on the terminal, while sentences go to the run's log."""

    def __init__(self, context: dg.AssetExecutionContext, bar: Display) -> None:
        self._context, self._bar = context, bar

    def __call__(self, task: str, done: int, total: int, unit: str, note: str = "") -> None:
        self._bar(task, done, total, unit, note)

    def write(self, line: str) -> None:
        self._bar.close()
        self._context.log.info(line)

    def close(self) -> None:
        self._bar.close()
