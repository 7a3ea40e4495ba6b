"""Which questions make a batch: only images of one size together, so that nothing is padded but text.

Text is padded to one of a few lengths, so that a compiled model sees few shapes. The order of training is a pure
function of seed, epoch and position; no generator's state has to be remembered.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from vqa_pipeline.modeling.devices import send
from vqa_pipeline.modeling.pixel_cache import PixelCache
from vqa_pipeline.modeling.questions import Asked, Tokenized
from vqa_pipeline.modeling.read_ahead import Cut, ReadAhead

Positions = np.ndarray[Any, np.dtype[np.int64]]
"""Questions, by their numbers in a set of them."""

TEXT_LENGTHS = (8, 12, 16, 24, 40)
"""Tokens that text is padded to; what is longer, to all that the model can read."""


BATCHES_AHEAD = 2
"""So many are read while one is computed."""


class Batch(NamedTuple):
    """Model input on its device. Questions about one image share its pixels."""

    input_ids: torch.Tensor
    """int64 (batch, tokens)."""
    attention_mask: torch.Tensor | None
    """int64 (batch, tokens): 1 for text, 0 for padding; None: nothing is padded."""
    pixel_values: torch.Tensor
    """fp32 (images, 3, height, width)."""
    image_index: torch.Tensor | None = None
    """int64 (batch,): which row of `pixel_values` each question is about; None: its own."""


class BatchSource:
    """Batches of one set of questions."""

    def __init__(self, asked: Asked, tokenized: Tokenized, pixels: PixelCache, device: torch.device) -> None:
        self.question_ids = asked.question_ids
        self._tokenized, self._pixels, self._device = tokenized, pixels, device
        self._shas = asked.shas
        self._images: Positions = np.array([pixels.number(sha256) for sha256 in asked.shas], np.int64)
        self._ahead = ReadAhead(self._read)
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
        """Every question once, those about one image together, images in their order within each size."""
        by_image = [group[np.argsort(self._images[group], kind="stable")] for group in self._shape_groups]
        return _cut(by_image, batch_size)

    def find_largest(self, batch_size: int) -> Positions:
        """The batch that needs most memory: of the shape with most pixels in a batch, the longest questions."""
        lengths = self._tokenized.input_ids.lengths

        def count_pixels(group: Positions) -> int:
            height, width = self._pixels.sizes[self._images[group[0]]]
            return int(height * width) * min(len(group), batch_size)

        group = max(self._shape_groups, key=count_pixels)
        return group[np.argsort(-lengths[group], kind="stable")][:batch_size]

    def split_by_shape(self, positions: Positions) -> list[Positions]:
        """The positions in groups, each of images of one size and of text that is padded to one length."""
        groups: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        for position in positions.tolist():
            length = int(self._tokenized.input_ids.lengths[position])
            width = choose_text_length(length, self._tokenized.max_tokens)
            groups[(*self._pixels.sizes[self._images[position]], width)].append(position)
        return [np.array(group, np.int64) for group in groups.values()]

    def identify(self, position: int) -> str:
        """A sha256 of all that `load` reads for a question: its image's sha256, and its tokens."""
        tokens = self._tokenized.input_ids[position].tobytes()
        return hashlib.sha256(bytes.fromhex(self._shas[position]) + tokens).hexdigest()

    def describe(self, positions: Positions) -> str:
        """The shape of one question of these positions, the longest, in words."""
        height, width = self._pixels.sizes[self._images[positions[0]]]
        return f"{width} x {height} pixels, {self._tokenized.input_ids.lengths[positions].max()} tokens"

    @property
    def waited_seconds(self) -> float:
        """How long computing had to wait for data so far."""
        return self._ahead.waited_seconds

    def follow(self, plan: Sequence[Positions], cut: Cut) -> Iterator[Positions]:
        """Pass a plan's batches on, reading ahead what `cut` says will be loaded of them, where that saves time."""
        is_quick = self._device.type == "cpu" and self._pixels.is_complete
        return iter(plan) if is_quick else self._ahead.follow(plan, cut, BATCHES_AHEAD)

    def load(self, positions: Positions) -> Batch:
        """The input of the questions at these positions; their images have one size."""
        read, device = self._ahead(positions), self._device
        return Batch(
            send(read.input_ids, device),
            None if read.attention_mask is None else send(read.attention_mask, device),
            self._pixels.rules.normalize(send(read.pixel_values, device)),
            None if read.image_index is None else send(read.image_index, device),
        )

    def _read(self, positions: Positions) -> Batch:
        """The same on the host, with pixels as they are stored."""
        numbers, image_index = _share(self._images[positions])
        size = self._pixels.sizes[numbers[0]]
        pixels = torch.empty((len(numbers), 3, *size), dtype=torch.uint8, pin_memory=self._device.type == "cuda")
        self._pixels.read(numbers, pixels.numpy())
        return Batch(*self._pad(positions), pixels, None if image_index is None else torch.from_numpy(image_index))

    def _pad(self, positions: Positions) -> tuple[torch.Tensor, torch.Tensor | None]:
        ids = self._tokenized.input_ids
        width = choose_text_length(int(ids.lengths[positions].max()), self._tokenized.max_tokens)
        padded, kept = ids.pad(positions, self._tokenized.pad_id, width)
        return torch.from_numpy(padded), None if kept.all() else torch.from_numpy(kept.astype(np.int64))


def choose_text_length(longest: int, max_tokens: int) -> int:
    """Tokens to pad a batch to whose longest question has `longest`, of a model that reads `max_tokens` at most."""
    return min(next((length for length in TEXT_LENGTHS if length >= longest), max_tokens), max_tokens)


def _share(images: Positions) -> tuple[Positions, Positions | None]:
    """The images that are among these, each once, and which of them each is; None: they are all different."""
    distinct, index = np.unique(images, return_inverse=True)
    return (images, None) if len(distinct) == len(images) else (distinct, index)


def _group_by_size(sizes: Sequence[tuple[int, int]]) -> list[Positions]:
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for position, size in enumerate(sizes):
        groups[size].append(position)
    return [np.array(groups[size], np.int64) for size in sorted(groups)]


def _cut(groups: Sequence[Positions], batch_size: int) -> list[Positions]:
    return [group[start : start + batch_size] for group in groups for start in range(0, len(group), batch_size)]
