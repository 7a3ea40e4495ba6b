"""Heads that learn side by side on the same questions, each at a rate and a decay of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn.utils import clip_grad_norm_

from vqa_pipeline.modeling.fast_vilt import Hidden
from vqa_pipeline.modeling.strategies import Learnable
from vqa_pipeline.modeling.training.loss import answer_losses
from vqa_pipeline.modeling.training.optimizer import BETAS, EPSILON


class Hyperparameters(NamedTuple):
    """What distinguishes a member."""

    learning_rate: float
    """Peak, as the setting; the head's is a multiple of it."""
    weight_decay: float


class _Answering(nn.Module):
    """A model from its trunk on, as a module, so that it can be called with other weights than its own."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model.answer(Hidden(states, None), self.model.config.num_hidden_layers)
        return logits


class Population:
    """As many copies of what learns of a model as there are members; AdamW updates each as `Optimizer` would."""

    def __init__(
        self,
        model: Any,
        learnable: Learnable,
        members: tuple[Hyperparameters, ...],
        is_batched: bool | None = None,
    ) -> None:
        """Every member starts from the model's weights; the model itself stays as it is.

        Args:
            model: On its device.
            learnable: What learns of it; nothing below its last layer's first token.
            members: One for each copy.
            is_batched: Whether the products of all members are one, which saves a GPU most of its time, or one after
                the other, which takes a CPU less than half as long; None: as the device likes it.
        """
        self._answering, self._groups = _Answering(model), learnable.groups
        self._names = [f"model.{name}" for group in learnable.groups for name in group.names]
        self._own = [self._copy() for _ in members]
        groups = [made for number, member in enumerate(members) for made in self._make_groups(number, member)]
        self._adamw: Any = torch.optim.AdamW(groups, lr=0.0, betas=BETAS, eps=EPSILON, fused=True)
        device = self._own[0][0].device
        self._is_batched = device.type != "cpu" if is_batched is None else is_batched
        self.is_finite = torch.ones(len(members), dtype=torch.bool, device=device)
        """Whether a member's losses and gradients always were finite; if not, nothing it says counts."""

    def _copy(self) -> list[torch.Tensor]:
        return [parameter.detach().clone().requires_grad_() for group in self._groups for parameter in group.parameters]

    def _make_groups(self, number: int, member: Hyperparameters) -> Iterator[dict[str, Any]]:
        """What AdamW treats alike of a member, with its rate and decay."""
        own = iter(self._own[number])
        for group in self._groups:
            params = list(islice(own, len(group.names)))
            decay = member.weight_decay if params[0].ndim > 1 else 0.0  # biases and norms are not decayed
            yield {"params": params, "weight_decay": decay, "peak": member.learning_rate * group.rate_factor}

    def compute_logits(self, states: torch.Tensor) -> torch.Tensor:
        """Logits (members, batch, answers) for features (batch, 1, width)."""

        def answer(weights: dict[str, torch.Tensor]) -> torch.Tensor:
            logits: torch.Tensor = functional_call(self._answering, weights, (states,))
            return logits

        if not self._is_batched:
            return torch.stack([answer(dict(zip(self._names, own, strict=True))) for own in self._own])
        copies = zip(*self._own, strict=True)
        stacked = {name: torch.stack(of_all) for name, of_all in zip(self._names, copies, strict=True)}
        together: torch.Tensor = vmap(answer)(stacked)
        return together

    def learn(self, states: torch.Tensor, targets: torch.Tensor, rate_factor: float, clip_norm: float) -> None:
        """One step of every member on the same batch.

        Args:
            states: (batch, 1, width), features of questions.
            targets: (batch, answers), soft, in [0, 1].
            rate_factor: What the schedule makes of the peak rate, in (0, 1].
            clip_norm: Each member's gradient is scaled down to this norm.
        """
        self._adamw.zero_grad(set_to_none=True)
        logits = self.compute_logits(states)
        losses = answer_losses(logits, targets.expand_as(logits)).mean(dim=-1)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        norms = torch.stack([clip_grad_norm_(own, clip_norm) for own in self._own])
        self.is_finite &= torch.isfinite(norms) & torch.isfinite(losses)
        for group in self._adamw.param_groups:
            group["lr"] = group["peak"] * rate_factor
        self._adamw.step()
