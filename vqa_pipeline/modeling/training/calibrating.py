"""Fitting a finished training's calibration: what its best answers to validation questions earn, and how sure it was.

In one process, after the last epoch, with the weights that are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from vqa_pipeline.evaluation.calibration import Calibration, fit_calibration
from vqa_pipeline.modeling.batches import Positions
from vqa_pipeline.modeling.devices import send
from vqa_pipeline.modeling.inputs import Examples
from vqa_pipeline.modeling.memory import MicroBatch


def calibrate(
    model: Any, examples: Examples, batch_size: int, tell: Callable[[str], None], should_stop: Callable[[], bool]
) -> Calibration | None:
    """The calibration of a model's best answers to annotated questions; None when stopped on the way.

    Args:
        model: What `examples.inputs` computes with; it is in evaluation mode afterwards.
        examples: The validation questions.
        batch_size: Questions at once, or fewer where memory asks for it.
        tell: Hears of it when that is so.
        should_stop: Whether to leave.

    Raises:
        OutOfMemory: one question at a time does not fit.
    """
    model.eval()
    told, places = [], []
    micro_batch = MicroBatch(batch_size, tell)
    with torch.inference_mode():
        for positions in examples.inputs.follow(examples.batches.plan_reading(batch_size), micro_batch.cut):
            if should_stop():
                return None
            describe = partial(examples.batches.describe, positions)
            told.append(micro_batch.compute(positions, partial(_answer, examples), describe).cpu())
            places.append(positions)
    rows = np.empty((len(examples.credits), 2))
    rows[np.concatenate(places)] = torch.cat(told).numpy()
    return fit_calibration(rows[:, 0], rows[:, 1])


def _answer(examples: Examples, positions: Positions) -> torch.Tensor:
    """Logit and credit of the best answers: fp32 (positions, 2)."""
    logits = examples.inputs.compute_logits(positions)
    best = logits.max(dim=-1, keepdim=True)
    earned = send(examples.credits.fill(positions), logits.device).gather(1, best.indices)
    return torch.cat([best.values, earned], dim=1)
