"""Tells a training's events where people follow a run: in its log, and as observations that the UI plots."""

import time
from collections.abc import Sequence

import dagster as dg

from vqa_pipeline.training_client import Event

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_OBSERVATIONS = 15.0


class Narrator:
    """Tells a training's events: readable lines in the run's log, and observations that the UI plots while it runs."""

    def __init__(self, context: dg.AssetExecutionContext, curve: dg.AssetKey) -> None:
        self.context, self.curve = context, curve
        self.last_line = self.last_observation = float("-inf")

    def __call__(self, event: Event) -> None:
        """Take an event of the worker."""
        tell = {"started": self._tell_start, "step": self._tell_step, "epoch": self._tell_epoch}
        tell.get(str(event["event"]), self._tell_message)(event)

    def _tell_start(self, event: Event) -> None:
        learnable, total = event["num_learnable"], event["num_parameters"]
        self.context.log.info(
            f"{learnable:,} of {total:,} parameters learn ({learnable / total:.0%}) on {event['device']} in "
            f"{event['precision']}, {event['num_steps']} steps"
        )
        if event.get("resumed_from_step"):
            self.context.log.info(f"going on from step {event['resumed_from_step']}")

    def _tell_step(self, event: Event) -> None:
        now = time.monotonic()
        if now - self.last_line >= _SECONDS_BETWEEN_LINES:
            self.last_line = now
            self.context.log.info(
                f"epoch {event['epoch']}, step {event['step']}: loss {event['loss']:.3f}, "
                f"rate {event['learning_rate']:.2e}, {event['questions_per_second']:.0f} questions/s, "
                f"{event['eta_seconds']:.0f} s left"
            )
        if now - self.last_observation >= _SECONDS_BETWEEN_OBSERVATIONS:
            self.last_observation = now
            self._observe(event, ("step", "epoch", "loss", "learning_rate", "questions_per_second", "eta_seconds"))

    def _tell_epoch(self, event: Event) -> None:
        best = ", the best so far" if event.get("best") else ""
        self.context.log.info(
            f"epoch {event['epoch']} done: loss {event['loss']:.3f}, val accuracy {event['val_accuracy']:.3f}{best}"
        )
        self._observe(event, ("step", "epoch", "loss", "learning_rate", "val_accuracy"))

    def _tell_message(self, event: Event) -> None:
        if event["event"] == "log":
            self.context.log.info(str(event["message"]))

    def _observe(self, event: Event, names: Sequence[str]) -> None:
        numbers = {name: event[name] for name in names if event.get(name) is not None}
        metadata = {**numbers, "run_id": self.context.run_id}
        self.context.log_event(dg.AssetObservation(asset_key=self.curve, metadata=metadata))
