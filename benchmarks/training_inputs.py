"""Questions about images of COCO's shapes, for `training.py`, and how each contender is fed with them.

Nothing is downloaded: words and pixels are random, which changes no duration, and sizes are as they are in VQA.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from vqa_pipeline.modeling.batches import Batch, choose_text_length

IMAGE_SIZES = ((640, 480), (640, 480), (480, 640), (640, 427))
"""(width, height) of a photo in COCO, in turn: two of five lie, one stands."""

NUM_ANSWERS = 3129
_PIXELS = {(640, 480): (384, 512), (480, 640): (512, 384), (640, 427): (384, 576)}
"""(height, width) that ViLT's image processor makes of them."""

_LENGTHS = (7, 8, 8, 9, 9, 10, 10, 11, 12, 15)
"""Tokens of a question, [CLS] and [SEP] among them; the median in VQA is nine."""

_MAX_TOKENS = 40


class Question(NamedTuple):
    """One question with its own image."""

    input_ids: torch.Tensor
    pixel_values: torch.Tensor
    targets: torch.Tensor


class Fed(NamedTuple):
    """A batch as a model takes it."""

    inputs: dict[str, Any]
    targets: torch.Tensor


def generate_questions(number: int) -> list[Question]:
    """So many, as many of each shape of image as `IMAGE_SIZES` says, in random order."""
    generator = torch.Generator().manual_seed(0)
    questions = []
    for place in torch.randperm(number, generator=generator).tolist():
        height, width = _PIXELS[IMAGE_SIZES[place % len(IMAGE_SIZES)]]
        length = _LENGTHS[int(torch.randint(len(_LENGTHS), (), generator=generator))]
        questions.append(
            Question(
                torch.randint(1_000, 30_000, (length,), generator=generator),
                torch.rand(3, height, width, generator=generator) * 2 - 1,
                torch.zeros(NUM_ANSWERS).index_fill_(0, torch.randint(NUM_ANSWERS, (2,), generator=generator), 0.6),
            )
        )
    return questions


def feed_stock(questions: Sequence[Question], batch_size: int, device: torch.device, *, pad_all: bool) -> list[Fed]:
    """As transformers' guide to visual question answering does: images are padded to the largest of their batch.

    `pad_all`: text is padded to 40 tokens, as in the guide; else to the longest of its batch.
    """
    batches = []
    for chosen in _cut(questions, batch_size):
        length = _MAX_TOKENS if pad_all else max(len(question.input_ids) for question in chosen)
        height, width = (max(question.pixel_values.shape[axis] for question in chosen) for axis in (1, 2))
        pixel_values = torch.zeros(len(chosen), 3, height, width)
        pixel_mask = torch.zeros(len(chosen), height, width, dtype=torch.long)
        for row, (_, pixels, _) in enumerate(chosen):
            pixel_values[row, :, : pixels.shape[1], : pixels.shape[2]] = pixels
            pixel_mask[row, : pixels.shape[1], : pixels.shape[2]] = 1
        input_ids, attention_mask = _pad(chosen, length)
        inputs = {"pixel_values": pixel_values, "pixel_mask": pixel_mask}
        inputs |= {"input_ids": input_ids, "attention_mask": attention_mask}
        batches.append(_place(inputs, chosen, device))
    return batches


def feed_fast(questions: Sequence[Question], batch_size: int, device: torch.device) -> list[Fed]:
    """As this project does: images of one shape together, text padded to one of a few lengths."""
    shapes: dict[torch.Size, list[Question]] = defaultdict(list)
    for question in questions:
        shapes[question.pixel_values.shape].append(question)
    batches = []
    for chosen in (batch for group in shapes.values() for batch in _cut(group, batch_size)):
        longest = max(len(question.input_ids) for question in chosen)
        input_ids, attention_mask = _pad(chosen, choose_text_length(longest, _MAX_TOKENS))
        pixel_values = torch.stack([question.pixel_values for question in chosen])
        batch = Batch(input_ids, None if attention_mask.all() else attention_mask, pixel_values)
        batches.append(_place(batch._asdict(), chosen, device))
    return batches


def _cut(questions: Sequence[Question], size: int) -> Iterator[Sequence[Question]]:
    return (questions[start : start + size] for start in range(0, len(questions), size))


def _pad(chosen: Sequence[Question], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.zeros(len(chosen), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, question in enumerate(chosen):
        ids[row, : len(question.input_ids)] = question.input_ids
        mask[row, : len(question.input_ids)] = 1
    return ids, mask


def _place(inputs: dict[str, torch.Tensor | None], chosen: Sequence[Question], device: torch.device) -> Fed:
    placed = {name: tensor if tensor is None else tensor.to(device) for name, tensor in inputs.items()}
    return Fed(placed, torch.stack([question.targets for question in chosen]).to(device))


def generate_jpegs(number: int) -> list[bytes]:
    """Pictures with coarse and fine texture, sizes in turn; some 100 kB each, which is like a photo's in COCO."""
    generator = np.random.default_rng(0)
    files = []
    for place in range(number):
        width, height = IMAGE_SIZES[place % len(IMAGE_SIZES)]
        coarse = Image.fromarray(generator.integers(0, 256, (24, 32, 3), np.uint8)).resize((width, height), 3)
        fine = Image.fromarray(generator.integers(0, 256, (height // 3, width // 3, 3), np.uint8)).resize(coarse.size)
        file = io.BytesIO()
        Image.blend(coarse, fine, 0.25).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files
