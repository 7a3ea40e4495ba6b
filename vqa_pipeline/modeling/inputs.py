"""What a training, a validation or a prediction asks for the logits of questions, by their positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch

from vqa_pipeline.modeling.batches import BatchSource, Positions
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.forward import compute_logits
from vqa_pipeline.modeling.ragged import Credits
from vqa_pipeline.modeling.read_ahead import Cut
from vqa_pipeline.modeling.trunk_cache import TrunkCache


class Inputs(Protocol):
    """The way from some questions to their logits."""

    @property
    def waited_seconds(self) -> float:
        """How long the model had to wait for what it computes with, so far."""
        ...

    def compute_logits(self, positions: Positions) -> torch.Tensor:
        """fp32 logits (len(positions), answers) of the model as it is now, on its device.

        The positions are of one shape group: their images have one size. A row does not depend on the others.
        """
        ...

    def follow(self, plan: Sequence[Positions], cut: Cut) -> Iterator[Positions]:
        """Pass a plan's batches on, preparing meanwhile for the next ones, of which the parts `cut` gives are asked."""
        ...


class WholeForward:
    """Everything computed by the model, from tokens and pixels on."""

    def __init__(self, model: Any, batches: BatchSource, placement: Placement) -> None:
        self._model, self._batches, self._placement = model, batches, placement

    @property
    def waited_seconds(self) -> float:
        """As `Inputs` says."""
        return self._batches.waited_seconds

    def compute_logits(self, positions: Positions) -> torch.Tensor:
        """As `Inputs` says."""
        return compute_logits(self._model, self._batches.load(positions), self._placement)

    def follow(self, plan: Sequence[Positions], cut: Cut) -> Iterator[Positions]:
        """As `Inputs` says."""
        return self._batches.follow(plan, cut)


class AboveTrunk:
    """Computed by the model from where something learns on; what lies below comes from a cache."""

    def __init__(self, cache: TrunkCache) -> None:
        self.cache = cache

    @property
    def waited_seconds(self) -> float:
        """As `Inputs` says."""
        return self.cache.waited_seconds

    def compute_logits(self, positions: Positions) -> torch.Tensor:
        """As `Inputs` says."""
        trunk = self.cache.trunk
        hidden = self.cache.read(positions)
        with trunk.placement.autocast():
            logits: torch.Tensor = trunk.model.answer(hidden, trunk.depth)
        return logits

    def follow(self, plan: Sequence[Positions], cut: Cut) -> Iterator[Positions]:
        """As `Inputs` says."""
        return self.cache.follow(plan, cut)


class Examples(NamedTuple):
    """Questions, and credits of the answers to them: targets in training, scores in validation."""

    batches: BatchSource
    inputs: Inputs
    credits: Credits
    answer_types: Sequence[str | None] = ()
    """The type of each question's answer, where it is known; empty: of none."""
