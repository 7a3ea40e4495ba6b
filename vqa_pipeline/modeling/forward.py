"""A model's forward pass on a batch, where and as precisely as a job computes."""

from __future__ import annotations

from typing import Any

import torch

from vqa_pipeline.modeling.batches import Batch
from vqa_pipeline.modeling.devices import Placement


def compute_logits(model: Any, batch: Batch, placement: Placement) -> torch.Tensor:
    """fp32 logits (batch, answers) of a `FastViltForQuestionAnswering`, wrapped or not, on its device."""
    with placement.autocast():
        logits: torch.Tensor = model(**batch._asdict()).logits
    return logits
