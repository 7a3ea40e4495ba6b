"""Fine-tuning strategies: which parameters learn, at which rate. What does not learn is frozen.

Whatever a backbone starts from random numbers learns under every strategy. Biases and norms are not decayed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from vqa_pipeline.modeling.settings import TrainingSettings

HEAD = "classifier."
"""Prefix of the head's parameters; everything else is the trunk."""

Learns = Callable[[str], bool]
"""Whether a parameter of this name learns."""


class ParameterGroup(NamedTuple):
    """Parameters that learn alike."""

    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    rate_factor: float
    """Multiple of `learning_rate`."""
    weight_decay: float


class Learnable(NamedTuple):
    """What learns."""

    groups: tuple[ParameterGroup, ...]
    num_parameters: int
    num_learnable: int

    def describe(self) -> dict[str, Any]:
        """For the record: how many numbers learn, their share in [0, 1], and the names of their tensors."""
        names = sorted(name for group in self.groups for name in group.names)
        share = self.num_learnable / self.num_parameters
        return {
            "num_parameters": self.num_parameters,
            "num_learnable": self.num_learnable,
            "learnable_fraction": round(share, 6),
            "names": names,
        }


def _learns_always(_name: str) -> bool:
    return True


def _learns_in_head(name: str) -> bool:
    return name.startswith(HEAD)


def choose_learnable(
    model: Any, settings: TrainingSettings, fresh: frozenset[str], head_rate_factor: float
) -> Learnable:
    """Freeze what the strategy does not let learn, and group the rest for the optimizer."""
    learns = STRATEGIES[settings.strategy]
    grouped: dict[tuple[bool, bool], list[tuple[str, nn.Parameter]]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(learns(name) or name in fresh)
        if parameter.requires_grad:
            grouped[name.startswith(HEAD), parameter.ndim > 1].append((name, parameter))
    groups = tuple(
        ParameterGroup(
            names=tuple(name for name, _ in members),
            parameters=tuple(parameter for _, parameter in members),
            rate_factor=head_rate_factor if in_head else 1.0,
            weight_decay=settings.weight_decay if decays else 0.0,
        )
        for (in_head, decays), members in sorted(grouped.items())
    )
    num_learnable = sum(parameter.numel() for group in groups for parameter in group.parameters)
    return Learnable(groups, sum(parameter.numel() for parameter in model.parameters()), num_learnable)


STRATEGIES: dict[str, Learns] = {"full": _learns_always, "head": _learns_in_head}
