"""Which questions make a batch: only images of one size together, so that nothing is padded but text.

The order of training is a pure function of seed, epoch and position; no generator's state has to be remembered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from vqa_pipeline.modeling.pixel_store import PixelStore
from vqa_pipeline.modeling.questions import Asked, Tokenized

Positions = np.ndarray[Any, np.dtype[np.int64]]


class Batch(NamedTuple):
    """Model input on its device."""

    input_ids: torch.Tensor
    """(batch, tokens)."""
    attention_mask: torch.Tensor | None
    """(batch, tokens), 0 where text is padded; None: nowhere."""
    pixel_values: torch.Tensor
    """(images, 3, height, width)."""
    image_index: torch.Tensor | None = None
    """(batch,): which of the images each question is about; None: one image each, in order."""


class BatchSource:
    """Batches of one set of questions."""

    def __init__(self, asked: Asked, tokenized: Tokenized, pixels: PixelStore, device: torch.device) -> None:
        self.question_ids = asked.question_ids
        self._tokenized, self._pixels, self._device = tokenized, pixels, device
        self._images = [pixels.number(sha256) for sha256 in asked.shas]
        self._shape_groups = _group_by_size([pixels.sizes[image] for image in self._images])

    def count_batches(self, batch_size: int) -> int:
        """Batches of an epoch."""
        return sum(-(-len(group) // batch_size) for group in self._shape_groups)

    def plan_training(self, batch_size: int, seed: int, epoch: int) -> list[Positions]:
        """Every question once, in batches of one image size each, shuffled within sizes and across batches."""
        generator = np.random.default_rng([seed, epoch])
        shuffled = [generator.permutation(group) for group in self._shape_groups]
        batches = _cut(shuffled, batch_size)
        return [batches[number] for number in generator.permutation(len(batches))]

    def plan_reading(self, batch_size: int) -> list[Positions]:
        """Every question once, in order within each image size."""
        return _cut(self._shape_groups, batch_size)

    def load(self, positions: Positions) -> Batch:
        """The input of the questions at these positions."""
        input_ids, attention_mask = self._tokenized.input_ids.pad(positions, self._tokenized.pad_id)
        resized = self._pixels.get([self._images[position] for position in positions]).to(self._device)
        pixel_values = self._pixels.rules.normalize(resized)
        return Batch(input_ids.to(self._device), attention_mask.to(self._device), pixel_values)


def _group_by_size(sizes: Sequence[tuple[int, int]]) -> list[Positions]:
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for position, size in enumerate(sizes):
        groups[size].append(position)
    return [np.array(groups[size], np.int64) for size in sorted(groups)]


def _cut(groups: Sequence[Positions], batch_size: int) -> list[Positions]:
    return [group[start : start + batch_size] for group in groups for start in range(0, len(group), batch_size)]
