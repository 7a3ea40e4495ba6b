"""`tiny`: a small ViLT from scratch, for demonstrations and for data that no pre-trained ViLT knows.

Stock ViLT initialization (std 0.02, positions 0) learns colours only; this one, with inputs scaled by the data, learns
shapes and equality as well within a minute on a CPU. Everything is drawn from `seed` and from the training data.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.modeling.backbones.backbone import Backbone, Materials
from vqa_pipeline.modeling.backbones.wordpiece import build_tokenizer
from vqa_pipeline.modeling.fast_vilt import FastViltForQuestionAnswering
from vqa_pipeline.modeling.image_packs import ImagePacks, decode_packed
from vqa_pipeline.modeling.pixels import PixelRules
from vqa_pipeline.modeling.settings import TINY, TrainingSettings
from vqa_pipeline.modeling.stock import (
    ViltConfig,
    ViltImageProcessorPil,
    ViltProcessor,
)

MAX_TOKENS = 40
"""Tokens of a question, as in the original ViLT."""

_MEASURED_IMAGES = 512
_STD_PER_DEVIATION = 1.3
"""Found by trial: 0.37 on dark pictures of the generated world, 0.26 on the light ones of easy-VQA; both learn well."""

_MIN_STD = 0.05

_RATE = 1e-3
"""Found by trial: three layers answer 0.94 of the generated world's questions at this rate, 0.71 at twice as much."""


def build_tiny(settings: TrainingSettings, materials: Materials) -> Backbone:
    """A ViLT of `tiny_layers` x `tiny_width` with its own words and its own pixel scale.

    Raises:
        SettingsError: sizes do not divide each other.
    """
    _check(settings)
    torch.manual_seed(settings.seed)
    tokenizer = build_tokenizer(materials.questions, MAX_TOKENS)
    model = FastViltForQuestionAnswering(_configure(settings, len(tokenizer), materials))
    initialize(model, torch.Generator().manual_seed(settings.seed))
    processor = ViltProcessor(_build_image_processor(settings, materials), tokenizer)
    fresh = frozenset(name for name, _ in model.named_parameters())
    return Backbone(TINY, model, processor, fresh, may_stop_early=False, head_rate_factor=1.0, learning_rate=_RATE)


def _check(settings: TrainingSettings) -> None:
    for whole, part in (("tiny_width", "tiny_heads"), ("tiny_image_pixels", "tiny_patch_pixels")):
        if getattr(settings, whole) % getattr(settings, part):
            reason = f"{getattr(settings, whole)} is not a multiple of `{part}`, {getattr(settings, part)}"
            raise SettingsError(f"training.{whole}", reason, "Change one of the two.")


def _configure(settings: TrainingSettings, num_tokens: int, materials: Materials) -> Any:
    return ViltConfig(
        vocab_size=num_tokens,
        hidden_size=settings.tiny_width,
        num_hidden_layers=settings.tiny_layers,
        num_attention_heads=settings.tiny_heads,
        intermediate_size=4 * settings.tiny_width,
        max_position_embeddings=MAX_TOKENS,
        image_size=settings.tiny_image_pixels,
        patch_size=settings.tiny_patch_pixels,
        pad_token_id=0,
        id2label=materials.vocabulary.id2label(),
        label2id=materials.vocabulary.label2id(),
    )


def initialize(model: Any, generator: torch.Generator) -> None:
    """Draw all weights so that every part of the input has a say from the first step on.

    Linear layers by 1/sqrt(inputs), patches by twice that; embeddings of order one; what is added to the residual
    stream divided by sqrt(2 x layers); the last layer small, so that all answers start near one half.
    """

    def draw(weight: torch.Tensor, std: float) -> None:
        nn.init.normal_(weight, 0.0, std, generator=generator)

    embeddings = model.vilt.embeddings
    for module in model.modules():
        if isinstance(module, nn.Linear):
            draw(module.weight, module.in_features**-0.5)
            nn.init.zeros_(module.bias)
    patches = embeddings.patch_embeddings.projection
    draw(patches.weight, 2.0 * patches.weight[0].numel() ** -0.5)
    draw(embeddings.text_embeddings.word_embeddings.weight, 1.0)
    draw(embeddings.text_embeddings.position_embeddings.weight, 0.3)
    draw(embeddings.position_embeddings, 0.5)
    draw(embeddings.cls_token, 0.02)
    draw(embeddings.token_type_embeddings.weight, 0.3)
    layers = model.vilt.encoder.layer
    with torch.no_grad():
        for layer in layers:
            layer.attention.output.dense.weight.mul_((2 * len(layers)) ** -0.5)
            layer.output.dense.weight.mul_((2 * len(layers)) ** -0.5)
        model.classifier[-1].weight.mul_(0.1)


class PixelScale(NamedTuple):
    """What is subtracted from pixels in [0, 1], per channel, and what they are divided by."""

    mean: tuple[float, float, float]
    std: float


def _build_image_processor(settings: TrainingSettings, materials: Materials) -> Any:
    side, patch = settings.tiny_image_pixels, settings.tiny_patch_pixels
    rules = PixelRules(side, patch, Image.Resampling.BICUBIC, 1 / 255, (0.0,) * 3, (1.0,) * 3)
    scale = measure_pixels(materials.packs, materials.shas, rules)
    return ViltImageProcessorPil(
        size={"shortest_edge": side}, size_divisor=patch, image_mean=list(scale.mean), image_std=[scale.std] * 3
    )


def measure_pixels(packs: ImagePacks, shas: Any, rules: PixelRules) -> PixelScale:
    """The scale that puts the background at zero and everything else at order one.

    The median of a channel is the background, dark or light; the deviation from it, its root mean square over pixels
    and channels, becomes 1 / 1.3. One divisor for all channels keeps colours apart. Measured on at most 512 images,
    evenly spaced by digest, which is as good as drawn at random.
    """
    chosen = [shas[number * len(shas) // _MEASURED_IMAGES] for number in range(_MEASURED_IMAGES)]
    chosen = list(shas) if len(shas) <= _MEASURED_IMAGES else chosen
    counts = np.zeros((3, 256), np.int64)
    for sha256, data in packs.read(chosen):
        resized = rules.resize(decode_packed(sha256, data))
        counts += [np.bincount(channel.ravel(), minlength=256) for channel in resized]
    medians = [int(np.searchsorted(channel.cumsum(), channel.sum() / 2)) for channel in counts]
    squares = sum(
        float(channel @ (np.arange(256.0) - median) ** 2) for channel, median in zip(counts, medians, strict=True)
    )
    deviation = (squares / max(1, int(counts.sum()))) ** 0.5 / 255
    red, green, blue = (round(median / 255, 6) for median in medians)
    return PixelScale((red, green, blue), round(max(_MIN_STD, _STD_PER_DEVIATION * deviation), 6))
