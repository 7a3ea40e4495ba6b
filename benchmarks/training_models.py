"""The models that `training.py` compares, and a step of training that treats them alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from training_inputs import NUM_ANSWERS, Fed, Question, feed_fast

from vqa_pipeline.modeling.batches import Batch, Positions
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.hidden_rows import DeviceRows, stack_rows
from vqa_pipeline.modeling.pixels import read_pixel_rules
from vqa_pipeline.modeling.segments import Data
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.modeling.stock import ViltConfig, ViltImageProcessorPil
from vqa_pipeline.modeling.strategies import choose_learnable
from vqa_pipeline.modeling.trunk import Trunk, find_frozen_layers

CACHED = ("last_layers", "head")
"""Strategies that leave something frozen to be computed once."""


def build_model(kind: type[Any], device: torch.device, like: Any = None) -> Any:
    """A model of ViLT-B/32's size, with random weights or the very ones, in memory too, of another."""
    torch.manual_seed(0)
    model = kind(ViltConfig(num_labels=NUM_ANSWERS)).to(device)
    if like is not None:
        model.load_state_dict(like.state_dict(keep_vars=True), assign=True)
    return model.train()


class Learner:
    """A model, of which learns what a strategy lets, with its optimizer."""

    def __init__(self, model: Any, strategy: str, placement: Placement) -> None:
        self.model, self.placement = model, placement
        learnable = choose_learnable(model, TrainingSettings(strategy=strategy), frozenset(), head_rate_factor=10.0)
        self._learning = [parameter for group in learnable.groups for parameter in group.parameters]
        self._optimizer = torch.optim.AdamW(self._learning, lr=1e-6, fused=True)

    def step(self, fed: Fed) -> None:
        """From a batch to an update."""
        self.learn(lambda: self.model(**fed.inputs).logits, fed.targets)

    def learn(self, compute_logits: Callable[[], torch.Tensor], targets: torch.Tensor) -> None:
        """From logits, however they are computed, to an update."""
        with self.placement.autocast():
            logits = compute_logits()
        loss = functional.binary_cross_entropy_with_logits(logits.float(), targets) * targets.shape[1]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._learning, 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def answer(self, fed: Fed) -> None:
        """The best answer to every question of a batch."""
        with torch.inference_mode(), self.placement.autocast():
            self.model(**fed.inputs).logits.argmax(dim=-1).cpu()


class CachedLearner:
    """A fast learner whose frozen layers are computed once, as a training with a cache does it, but for the disk."""

    def __init__(self, learner: Learner, questions: Sequence[Question], batches: Sequence[Fed]) -> None:
        """`batches`: what `feed_fast` made of the questions."""
        self._learner, self._batches = learner, batches
        depth = find_frozen_layers(learner.model).depth
        self._trunk = Trunk(learner.model, depth, read_pixel_rules(ViltImageProcessorPil()), learner.placement)
        self._to_encode = feed_fast(questions, self._trunk.rows_at_once, learner.placement.device)
        self._rows: list[Data] = []

    def encode(self) -> None:
        """Compute the frozen layers of all questions."""
        self._rows = [row for fed in self._to_encode for row in self._trunk.encode(Batch(**fed.inputs))]
        if self._learner.placement.device.type == "cuda":
            self._on_device = DeviceRows(self._rows, self._trunk.dtype, self._learner.placement.device)

    def run_epoch(self) -> None:
        """Train the rest on all of them."""
        first = 0
        for fed in self._batches:
            positions = np.arange(first, first + len(fed.targets))
            self._learner.learn(lambda positions=positions: self._compute_logits(positions), fed.targets)
            first += len(positions)

    def _compute_logits(self, positions: Positions) -> torch.Tensor:
        device = self._learner.placement.device
        if device.type == "cuda":
            hidden = self._on_device.stack(positions)
        else:
            hidden = stack_rows([self._rows[position] for position in positions], self._trunk.dtype, device)
        return self._learner.model.answer(hidden, self._trunk.depth)
