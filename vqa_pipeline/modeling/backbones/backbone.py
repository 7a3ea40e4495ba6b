"""What a backbone is: where a model, its tokenizer and its image processor come from before training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.settings import TrainingSettings


class Materials(NamedTuple):
    """What a backbone may be made for, or from. Training data only: nothing of other splits."""

    vocabulary: AnswerVocabulary
    questions: Sequence[str]
    packs: ImagePacks
    shas: Sequence[str]
    """Distinct images of the training questions, in ascending order."""


class Backbone(NamedTuple):
    """A model that has not been fine-tuned yet."""

    name: str
    """What exactly it is, for the record: name and commit, or name and digest; never an absolute path."""
    model: Any
    """A `FastViltForQuestionAnswering` whose last layer has one row per answer of the vocabulary."""
    processor: Any
    """Its `ViltProcessor`."""
    fresh: frozenset[str]
    """Parameters that start from random numbers, so that every strategy must let them learn."""
    may_stop_early: bool
    """Whether epochs without progress mean that it is over; from scratch, they may be a plateau."""
    head_rate_factor: float
    """The head learns at this multiple of the trunk's rate."""
    learning_rate: float | None = None
    """Peak rate of the trunk where the settings name none; None: the strategy's."""
    inheritance: dict[str, int] | None = None
    """Answers taken over from a parent, new ones and dropped ones; None: it has no parent."""


class BuildBackbone(Protocol):
    """Makes a backbone; same settings and materials, same weights."""

    def __call__(self, settings: TrainingSettings, materials: Materials) -> Backbone:
        """The backbone for these settings."""
        ...
