"""`learning_rate: auto`: rate and decay of a head, found by training a head with each of a grid, all at once.

A head on cached features costs so little beside computing these that a whole grid of them does not double the training.
Every member goes through the questions in the order, with the schedule and from the weights of the training that
follows, which then repeats the best one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import Field

from vqa_pipeline.errors import SettingsError, TrainingCancelled
from vqa_pipeline.files import write_json
from vqa_pipeline.modeling.batches import BatchSource, Positions
from vqa_pipeline.modeling.events import Report, tell_progress
from vqa_pipeline.modeling.fast_vilt import Hidden
from vqa_pipeline.modeling.inputs import AboveTrunk, Examples
from vqa_pipeline.modeling.ragged import Credits
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.modeling.strategies import Learnable
from vqa_pipeline.modeling.training.population import Hyperparameters, Population
from vqa_pipeline.modeling.training.schedule import compute_rate_factor
from vqa_pipeline.schemas import Frozen

RATE_FACTORS = (1 / 30, 1 / 10, 1 / 3, 1.0, 3.0, 10.0, 30.0)
"""Rates tried, in multiples of the default."""

DECAY_FACTORS = (1.0, 10.0)
"""Decays tried, in multiples of `weight_decay`."""

RATES_FILE = "rate_search.json"
"""Beside saved progress: what was chosen, so that a resumed training does not choose again."""


class TriedRate(Frozen):
    """How one member of the grid did."""

    learning_rate: float = Field(description="Peak, of the trunk; the head's is `head_learning_rate_factor` times it.")
    weight_decay: float
    val_accuracies: tuple[float, ...] = Field(description="VQA accuracy on the validation questions, epoch by epoch.")
    is_finite: bool = Field(description="Whether its losses and gradients always were.")

    @property
    def score(self) -> float:
        """The best validation accuracy of its epochs; -1 where it is not to be trusted."""
        return max(self.val_accuracies) if self.is_finite else -1.0


class RateSearch(Frozen):
    """All that was tried; those nearer to the default first."""

    frozen: str = Field(description="Digest of the weights that do not learn.")
    tried: tuple[TriedRate, ...]
    seconds: float

    @property
    def best(self) -> TriedRate:
        """The best of its epochs decides, and between equals which is nearer to the default."""
        return max(self.tried, key=lambda tried: tried.score)

    def put_into_words(self) -> str:
        """The choice in a sentence."""
        best = self.best
        rate, decay = f"rate {best.learning_rate:.2g}", f"decay {best.weight_decay:g}"
        return f"Of {len(self.tried)} rates and decays tried, {rate} with {decay} did best: {best.score:.3f}."

    def describe(self) -> dict[str, Any]:
        """For the record: the choice, and the curves of all."""
        chosen = {"learning_rate": self.best.learning_rate, "weight_decay": self.best.weight_decay}
        return {"chosen": chosen, "tried": [tried.model_dump(mode="json") for tried in self.tried]}


def list_grid(learning_rate: float, weight_decay: float) -> tuple[Hyperparameters, ...]:
    """Every rate with every decay around the default ones, those nearer to them first."""
    nearest_first = sorted(RATE_FACTORS, key=lambda factor: (abs(math.log(factor)), factor))
    return tuple(
        Hyperparameters(learning_rate * rate, weight_decay * decay)
        for rate, decay in product(nearest_first, DECAY_FACTORS if weight_decay else (0.0,))
    )


def find_rates(path: Path, frozen: str, search: Callable[[], tuple[TriedRate, ...]]) -> RateSearch:
    """What lies at a path if it was found for these frozen weights, else what `search` finds, which is kept there.

    Raises:
        DiskError: it cannot be kept.
    """
    if path.exists():
        found = RateSearch.model_validate_json(path.read_bytes())
        if found.frozen == frozen:
            return found
    started = time.monotonic()
    found = RateSearch(frozen=frozen, tried=search(), seconds=round(time.monotonic() - started, 3))
    write_json(path, found.model_dump(mode="json"))
    return found


class Questions(NamedTuple):
    """A set of questions, their features, and credits of the answers to them."""

    batches: BatchSource
    read: Callable[[Positions], Hidden]
    credits: Credits


def take_features(examples: Examples) -> Questions:
    """Questions whose features are the same whenever they are read.

    Raises:
        SettingsError: theirs are not.
    """
    inputs = examples.inputs
    if not isinstance(inputs, AboveTrunk) or not inputs.cache.trunk.is_whole:
        reason = "`auto` tries heads on features that stay the same, and dropout or patches drawn at random change them"
        raise SettingsError("training.learning_rate", reason, "Give a rate, or use a backbone without dropout.")
    return Questions(examples.batches, inputs.cache.read, examples.credits)


def search_rates(
    model: Any,
    learnable: Learnable,
    settings: TrainingSettings,
    examples: tuple[Examples, Examples],
    report: Report,
    should_stop: Callable[[], bool],
) -> tuple[TriedRate, ...]:
    """Train one copy of what learns with each rate and decay of the grid around the default, to the schedule's end.

    Args:
        model: It stays as it is.
        learnable: What learns of it: nothing below its last layer's first token.
        settings: Epochs, order, schedule and clipping are those of a training.
        examples: To train on, and to measure by.
        report: Hears how far it is.
        should_stop: Asked before every step.

    Raises:
        TrainingCancelled: `should_stop` said so; nothing is kept.
        SettingsError: features are not the same in every epoch.
    """
    train, val = (take_features(of_split) for of_split in examples)
    members = list_grid(learnable.learning_rate, settings.weight_decay)
    population = Population(model, learnable, members)
    accuracies: list[list[float]] = []
    step, num_steps = 0, settings.epochs * train.batches.count_batches(settings.batch_size)
    for epoch in range(1, settings.epochs + 1):
        for positions in train.batches.plan_training(settings.batch_size, settings.seed, epoch):
            if should_stop():
                raise TrainingCancelled(0, None)
            step += 1
            states, targets = _read(train, positions)
            factor = compute_rate_factor(step, num_steps, settings.warmup_fraction)
            population.learn(states, targets, factor, settings.clip_norm)
            tell_progress(report, "trying learning rates", step, num_steps, "steps")
        accuracies.append(_measure_accuracies(population, val, settings.batch_size))
    is_finite = population.is_finite.tolist()
    return tuple(
        TriedRate(
            learning_rate=member.learning_rate,
            weight_decay=member.weight_decay,
            val_accuracies=tuple(of_epoch[number] for of_epoch in accuracies),
            is_finite=is_finite[number],
        )
        for number, member in enumerate(members)
    )


def _read(questions: Questions, positions: Positions) -> tuple[torch.Tensor, torch.Tensor]:
    states = questions.read(positions).states
    return states, questions.credits.fill(positions).to(states.device)


def _measure_accuracies(population: Population, val: Questions, batch_size: int) -> list[float]:
    """VQA accuracy of every member."""
    earned = []
    with torch.no_grad():
        for positions in val.batches.plan_reading(batch_size):
            states, scores = _read(val, positions)
            best = population.compute_logits(states).argmax(dim=-1, keepdim=True)
            earned.append(scores.expand(len(best), -1, -1).gather(-1, best).squeeze(-1))
    accuracies: list[float] = torch.cat(earned, dim=1).double().mean(dim=1).tolist()
    return accuracies
