"""What a finished training answers to the validation questions, how sure it is, and what that earns: its calibration.

In one process, after the last epoch, with the weights that are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from vqa_pipeline.evaluation.calibration import Calibration, fit_calibration
from vqa_pipeline.modeling.batches import Positions
from vqa_pipeline.modeling.devices import send
from vqa_pipeline.modeling.inputs import Examples
from vqa_pipeline.modeling.memory import MicroBatch

_Array = np.ndarray[Any, np.dtype[Any]]


class BestAnswers(NamedTuple):
    """A model's best answers to questions, in the questions' order."""

    logits: _Array
    """float64 (questions,)."""
    credits: _Array
    """What they earn: float64 (questions,), in [0, 1]."""
    indexes: _Array
    """Answer indexes, int64 (questions,)."""

    def fit_calibration(self) -> Calibration:
        """What their logits have to go through to be probabilities."""
        return fit_calibration(self.logits, self.credits)


def answer_best(
    model: Any, examples: Examples, batch_size: int, tell: Callable[[str], None], should_stop: Callable[[], bool]
) -> BestAnswers | None:
    """A model's best answers to annotated questions; None when stopped on the way.

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
    rows = np.empty((len(examples.credits), 3))
    rows[np.concatenate(places)] = torch.cat(told).numpy()
    return BestAnswers(rows[:, 0], rows[:, 1], rows[:, 2].astype(np.int64))


def _answer(examples: Examples, positions: Positions) -> torch.Tensor:
    """Logit, credit and answer index of the best answers: fp64 (positions, 3)."""
    logits = examples.inputs.compute_logits(positions)
    best = logits.max(dim=-1, keepdim=True)
    earned = send(examples.credits.fill(positions), logits.device).gather(1, best.indices)
    return torch.cat([best.values.double(), earned.double(), best.indices.double()], dim=1)
