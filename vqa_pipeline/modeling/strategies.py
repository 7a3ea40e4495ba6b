"""Fine-tuning strategies: which parameters learn, at which rate. What does not learn is frozen.

Whatever a backbone starts from random numbers learns under every strategy. Biases and norms are not decayed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from torch import nn

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.modeling.lora import add_adapters, merge_adapters
from vqa_pipeline.modeling.settings import TrainingSettings

HEAD = "classifier."
"""Prefix of the head's parameters; everything else is the trunk."""

_LAYER = re.compile(r"(vilt\.encoder\.layer)\.(\d+)\.")
_DEPTH_OF_PART = 2
"""`vilt.pooler.dense.weight` is told as part of `vilt.pooler`."""

Patterns = tuple[str, ...]
"""Names of parameters, with wildcards."""


class Strategy(NamedTuple):
    """A way to fine-tune. The head learns under each."""

    choose: Callable[[TrainingSettings, int], Patterns]
    """What of the trunk learns, for a number of layers."""
    learning_rate: float
    """Peak rate of the trunk where the settings name none."""
    prepare: Callable[[Any, TrainingSettings], None] | None = None
    """What is done to the model before anything learns."""
    finish: Callable[[Any], None] | None = None
    """What is done to it afterwards: it is then a stock model again."""
    packages: tuple[str, ...] = ()
    """What it needs beyond what every training does."""


class ParameterGroup(NamedTuple):
    """Parameters that learn alike."""

    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    rate_factor: float
    """Multiple of the learning rate."""
    weight_decay: float


class Part(NamedTuple):
    """What learns of one part of the model, at one rate."""

    name: str
    """Such as `vilt.pooler` or `vilt.encoder.layer.10-11`."""
    num_tensors: int
    num_learnable: int
    learning_rate: float
    """Peak."""


class Learnable(NamedTuple):
    """What learns, and how fast."""

    groups: tuple[ParameterGroup, ...]
    num_parameters: int
    num_learnable: int
    learning_rate: float
    """Peak rate of the trunk; the groups' are multiples of it."""

    def adopt(self, learning_rate: float, weight_decay: float) -> Learnable:
        """The same at another peak rate, and another decay of what is decayed: matrices."""
        groups = (
            group._replace(weight_decay=weight_decay if group.parameters[0].ndim > 1 else 0.0) for group in self.groups
        )
        return self._replace(groups=tuple(groups), learning_rate=learning_rate)

    def list_parts(self) -> list[Part]:
        """What learns, part by part in the order of the model's names; layers of the encoder are one part."""
        members: dict[tuple[str, float], list[tuple[str, int]]] = defaultdict(list)
        for group in self.groups:
            for name, parameter in zip(group.names, group.parameters, strict=True):
                members[_name_part(name), group.rate_factor * self.learning_rate].append((name, parameter.numel()))
        return [
            Part(part + _number_layers(name for name, _ in of), len(of), sum(size for _, size in of), rate)
            for (part, rate), of in sorted(members.items())
        ]

    def describe(self) -> dict[str, Any]:
        """For the record: how many numbers learn, their share in [0, 1], in which parts, and their tensors' names."""
        names = sorted(name for group in self.groups for name in group.names)
        return {
            "num_parameters": self.num_parameters,
            "num_learnable": self.num_learnable,
            "learnable_fraction": round(self.num_learnable / self.num_parameters, 6),
            "learning_rate": self.learning_rate,
            "parts": [part._asdict() for part in self.list_parts()],
            "names": names,
        }

    def list_in_words(self) -> str:
        """The parts, each with how many numbers learn in it and its peak rate."""
        parts = self.list_parts()
        return ", ".join(f"{part.name} {part.num_learnable:,} at {part.learning_rate:.2g}" for part in parts)


def _name_part(name: str) -> str:
    layer = _LAYER.match(name)
    if layer:
        return layer[1]
    return HEAD.rstrip(".") if name.startswith(HEAD) else ".".join(name.split(".")[:_DEPTH_OF_PART])


def _number_layers(names: Iterable[str]) -> str:
    numbers = [int(layer[2]) for layer in map(_LAYER.match, names) if layer]
    if not numbers:
        return ""
    return f".{min(numbers)}" if min(numbers) == max(numbers) else f".{min(numbers)}-{max(numbers)}"


def choose_learnable(
    model: Any,
    settings: TrainingSettings,
    fresh: frozenset[str],
    head_rate_factor: float,
    default_rate: float | None = None,
) -> Learnable:
    """Freeze what the strategy does not let learn, and group the rest for the optimizer.

    Args:
        model: A ViLT for question answering; it gets what the strategy adds to it.
        settings: Name the strategy.
        fresh: Names of parameters that start from random numbers.
        head_rate_factor: The head learns at this multiple of the trunk's rate.
        default_rate: The trunk's peak rate where the settings name none; None: the strategy's.

    Raises:
        SettingsError: the model cannot learn like this.
    """
    strategy = STRATEGIES[settings.strategy]
    patterns = (*strategy.choose(settings, len(model.vilt.encoder.layer)), f"{HEAD}*")
    if strategy.prepare:
        strategy.prepare(model, settings)
    grouped: dict[tuple[bool, bool], list[tuple[str, nn.Parameter]]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in fresh or any(fnmatchcase(name, pattern) for pattern in patterns))
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
    rate = settings.learning_rate
    rate = default_rate or strategy.learning_rate if isinstance(rate, str) else rate
    return Learnable(groups, sum(parameter.numel() for parameter in model.parameters()), num_learnable, rate)


def finish_learning(model: Any, settings: TrainingSettings) -> None:
    """Make a stock model again of one that has learned: merge what its strategy added."""
    finish = STRATEGIES[settings.strategy].finish
    if finish:
        finish(model)


def _choose_nothing(_settings: TrainingSettings, _num_layers: int) -> Patterns:
    return ()


def _choose_last_layers(settings: TrainingSettings, num_layers: int) -> Patterns:
    if settings.layers > num_layers:
        reason = f"the backbone has {num_layers} layers, so the last {settings.layers} cannot learn"
        raise SettingsError("training.layers", reason, f"Use at most {num_layers}, or the strategy full.")
    layers = range(num_layers - settings.layers, num_layers)
    return (*(f"vilt.encoder.layer.{number}.*" for number in layers), "vilt.layernorm.*", "vilt.pooler.*")


def _choose_projection(_settings: TrainingSettings, _num_layers: int) -> Patterns:
    """What brings images among words, and tells one from the other; the words' own embeddings stay."""
    return tuple(
        f"vilt.embeddings.{name}*"
        for name in ("patch_embeddings.", "position_embeddings", "cls_token", "token_type_embeddings.")
    )


def _choose_adapters(_settings: TrainingSettings, _num_layers: int) -> Patterns:
    return ("*.lora_?.*",)


def _choose_everything(_settings: TrainingSettings, _num_layers: int) -> Patterns:
    return ("*",)


STRATEGIES: dict[str, Strategy] = {
    "head": Strategy(_choose_nothing, 1e-4),
    "last_layers": Strategy(_choose_last_layers, 1e-4),
    "projection": Strategy(_choose_projection, 1e-4),
    "lora": Strategy(_choose_adapters, 2e-4, add_adapters, merge_adapters, ("peft",)),
    "full": Strategy(_choose_everything, 1e-4),
}
