"""Curves for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vqa_pipeline.modeling.events import Event

_STEP_CURVES = {
    "train/loss": "loss",
    "train/learning_rate": "learning_rate",
    "train/gradient_norm": "gradient_norm",
    "speed/questions_per_second": "questions_per_second",
    "speed/data_wait_fraction": "data_wait_fraction",
    "memory/host_bytes": "host_memory_bytes",
    "memory/gpu_peak_bytes": "gpu_memory_bytes",
}
_EPOCH_CURVES = {"train/epoch_loss": "loss", "val/accuracy": "val_accuracy"}
"""Curve → field of the event."""


class TensorBoard:
    """Writes the curves; a resumed training overwrites what came after the step it resumes from."""

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
            self._add(event, _STEP_CURVES)
        elif event["event"] == "epoch":
            self._add(event, _EPOCH_CURVES)
            for kind, accuracy in event["val_by_answer_type"].items():
                self._writer.add_scalar(f"val/accuracy/{kind}", accuracy, event["step"])

    def _add(self, event: Event, curves: dict[str, str]) -> None:
        for curve, field in curves.items():
            if event.get(field) is not None:
                self._writer.add_scalar(curve, event[field], event["step"])

    def close(self) -> None:
        """Flush to disk."""
        if self._writer is not None:
            self._writer.close()
