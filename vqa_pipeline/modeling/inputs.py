"""What a training, a validation or a prediction asks for the logits of questions, by their positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch

from vqa_pipeline.modeling.batches import BatchSource, Positions
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.forward import compute_logits
from vqa_pipeline.modeling.ragged import Credits


class Inputs(Protocol):
    """The way from some questions to their logits."""

    def compute_logits(self, positions: Positions) -> torch.Tensor:
        """fp32 logits (len(positions), answers) of the model as it is now, on its device.

        The positions are of one shape group: their images have one size. A row does not depend on the others.
        """
        ...


class WholeForward:
    """Everything computed by the model, from tokens and pixels on."""

    def __init__(self, model: Any, batches: BatchSource, placement: Placement) -> None:
        self._model, self._batches, self._placement = model, batches, placement

    def compute_logits(self, positions: Positions) -> torch.Tensor:
        """As `Inputs` says."""
        return compute_logits(self._model, self._batches.load(positions), self._placement)


class Examples(NamedTuple):
    """Questions, and credits of the answers to them: targets in training, scores in validation."""

    batches: BatchSource
    inputs: Inputs
    credits: Credits
    answer_types: Sequence[str | None] = ()
    """The type of each question's answer, where it is known; empty: of none."""
