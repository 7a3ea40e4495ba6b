"""What training minimizes."""

from __future__ import annotations

import torch
from torch.nn import functional


def answer_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of each question, summed over answers: fp32 (batch,), in nats. A step minimizes their mean.

    Each answer is a yes or no of its own because several may be right: `targets` (batch, answers) are the credits in
    [0, 1] that `answers.scoring.soft_targets` gives, so a model is trained on what it is scored by. Summing over
    answers keeps one answer's gradient independent of the size of the vocabulary; the total still grows with it, so a
    learning rate found for 3129 answers is not the right one for ten.

    Source: dandelin/ViLT 762fd39, `vilt/modules/objectives.py`, `compute_vqa`.
    """
    return functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").sum(dim=-1)
