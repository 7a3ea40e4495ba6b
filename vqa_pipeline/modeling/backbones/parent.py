"""A fine-tuned ViLT to go on from: its trunk and head are taken over, and of the last layer the rows of known answers.

Rows go by what an answer says, never by its index, since another vocabulary has another order. What is new starts as in
a new head. Nothing in a parent's files is ever executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from vqa_pipeline.answers.normalization import normalize
from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.errors import BackboneError
from vqa_pipeline.modeling.backbones.backbone import Backbone, Materials
from vqa_pipeline.modeling.backbones.pretrained import (
    LAST_LAYER,
    UNREADABLE,
    draw_last_layer,
    load_processor,
    load_weights,
    read_config,
    resolve,
)
from vqa_pipeline.modeling.settings import TrainingSettings


class Inheritance(NamedTuple):
    """What became of the answers when the vocabulary changed hands."""

    num_copied: int
    """Answers that the parent knew."""
    num_new: int
    num_dropped: int
    """Answers of the parent that are not in the vocabulary any more."""


def put_into_words(inheritance: Mapping[str, int]) -> str:
    """What an `Inheritance` says."""
    told = Inheritance(**inheritance)
    return f"{told.num_copied:,} answers keep their rows, {told.num_new:,} are new, {told.num_dropped:,} are dropped"


def load_parent(settings: TrainingSettings, materials: Materials) -> Backbone:
    """The ViLT that `warm_start` names, with its tokenizer and image processor, and its last layer for the vocabulary.

    Before the first step it gives every answer that it knew the very logit that it gave it before.

    Raises:
        BackboneError: it cannot be found, is no fine-tuned ViLT, or knows none of the answers.
    """
    resolved = resolve(settings.warm_start)
    torch.manual_seed(settings.seed)
    try:
        config = read_config(resolved.folder)
        model, fresh = load_weights(resolved.folder, config)
        if fresh:
            raise ValueError(f"it has no head of its own: {len(fresh)} tensors such as {min(fresh)} are missing")
        inheritance = _replace_last_layer(model, materials, settings.seed)
        processor = load_processor(resolved.folder)
    except UNREADABLE as error:
        raise _unusable(settings.warm_start, str(error).partition("\n")[0]) from error
    if not inheritance.num_copied:
        raise _unusable(settings.warm_start, "none of its answers is in the vocabulary")
    return Backbone(
        name=resolved.name,
        model=model,
        processor=processor,
        fresh=frozenset({f"{LAST_LAYER}weight", f"{LAST_LAYER}bias"}),
        may_stop_early=True,
        head_rate_factor=settings.head_learning_rate_factor,
        inheritance=inheritance._asdict(),
    )


def _unusable(parent: str, reason: str) -> BackboneError:
    return BackboneError(
        parent, reason, "`warm_start` goes on from a fine-tuned ViLT; to start anew, name a `backbone`."
    )


def _replace_last_layer(model: Any, materials: Materials, seed: int) -> Inheritance:
    old, vocabulary = model.classifier[-1], materials.vocabulary
    known = _index_answers(model.config.id2label)
    new = nn.Linear(old.in_features, len(vocabulary))
    draw_last_layer(new, materials, model.config.initializer_range, seed)
    pairs = [(index, known[answer]) for index, answer in enumerate(vocabulary.answers) if answer in known]
    if pairs:
        ours, theirs = (list(side) for side in zip(*pairs, strict=True))
        with torch.no_grad():
            new.weight[ours] = old.weight[theirs]
            new.bias[ours] = old.bias[theirs]
    model.classifier[-1] = new
    _label(model.config, vocabulary)
    return Inheritance(len(pairs), len(vocabulary) - len(pairs), len(known) - len(pairs))


def _index_answers(id2label: Mapping[int, str]) -> dict[str, int]:
    """Indexes by normalized answer; of two that say the same, the first, which is the more frequent one."""
    known: dict[str, int] = {}
    for index in sorted(id2label):
        known.setdefault(normalize(id2label[index]), index)
    return known


def _label(config: Any, vocabulary: AnswerVocabulary) -> None:
    config.id2label, config.label2id = vocabulary.id2label(), vocabulary.label2id()
