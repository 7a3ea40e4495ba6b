"""From an RGB image to pixel values, as the checkpoint's own image processor does it, in two halves.

The first half, resizing, is done once per image and leaves bytes; the second, normalizing, is done per batch on the
device. Together they do what `ViltImageProcessorPil` does, whichever of its steps are switched on, so that a published
checkpoint sees with the stock processor what it was trained on. Bicubic resizing is torch's, in a quarter of Pillow's
time: no byte differs by more than 2 of 255 (tests/modeling/test_pixels.py).
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
"""Bytes of an image, (3, height, width), or of several of one size."""

_RESIZING = 1
"""Raised by hand when `PixelRules.resize` makes other bytes of the same image."""

_LONGEST_TO_SHORTEST = 1333 / 800
"""ViLT never lets the longer side exceed the shorter one's target by more than this. Source: dandelin/ViLT 762fd39."""


class PixelRules(NamedTuple):
    """What an image processor does to an image."""

    shortest_edge: int | None
    """Target of the shorter side, in pixels; None: images keep their size."""
    size_divisor: int
    """Both sides are rounded down to a multiple of this many pixels: the side of a patch, or several."""
    resample: Image.Resampling
    rescale_factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def compute_size(self, width: int, height: int) -> tuple[int, int]:
        """(height, width) in pixels that an image of `width` x `height` is resized to.

        The aspect ratio is kept but for the rounding. Where the stock processor would round a side down to nothing and
        fail, it becomes one `size_divisor`.
        """
        if self.shortest_edge is None:
            return height, width
        scale = self.shortest_edge / min(width, height)
        longest = int(_LONGEST_TO_SHORTEST * self.shortest_edge)
        new_width, new_height = scale * width, scale * height
        if max(new_width, new_height) > longest:
            scale = longest / max(new_width, new_height)
            new_width, new_height = scale * new_width, scale * new_height
        return self._round(new_height), self._round(new_width)

    def _round(self, side: float) -> int:
        return max(1, int(side + 0.5) // self.size_divisor) * self.size_divisor

    @property
    def key(self) -> str:
        """A name for what `resize` does: images have the same bytes where it is the same."""
        told = [_RESIZING, self.shortest_edge, self.size_divisor, self.resample.name]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    def resize(self, rgb: Image.Image) -> Pixels:
        """The image at its target size: bytes of shape (3, height, width)."""
        height, width = self.compute_size(*rgb.size)
        if rgb.size == (width, height):
            return _to_pixels(rgb)
        if self.resample is not Image.Resampling.BICUBIC:
            return _to_pixels(rgb.resize((width, height), self.resample))
        channels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None]
        resized = functional.interpolate(channels, (height, width), mode="bicubic", antialias=True)[0]
        return np.ascontiguousarray(resized.numpy())

    def normalize(self, resized: torch.Tensor) -> torch.Tensor:
        """Pixel values: fp32 of the shape of `resized`, (batch, 3, height, width), on its device."""
        scale, offset = _compute_scaling(self, resized.device)
        return resized.float().mul_(scale).add_(offset)


@lru_cache
def _compute_scaling(rules: PixelRules, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """What bytes are multiplied by and what is added then, (3, 1, 1) each; sent once, as a GPU is waited for."""
    channels = list(zip(rules.mean, rules.std, strict=True))
    numbers = [[rules.rescale_factor / std for _, std in channels], [-mean / std for mean, std in channels]]
    with torch.inference_mode(mode=False):  # for training, too, whoever asks first
        scale, offset = torch.tensor(numbers, device=device)[:, :, None, None]
    return scale, offset


def _to_pixels(rgb: Image.Image) -> Pixels:
    return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))


def read_pixel_rules(image_processor: Any) -> PixelRules:
    """The rules of a ViLT image processor; a step that is switched off does nothing."""
    normalizes = image_processor.do_normalize
    return PixelRules(
        shortest_edge=int(image_processor.size["shortest_edge"]) if image_processor.do_resize else None,
        size_divisor=int(image_processor.size_divisor),
        resample=Image.Resampling(image_processor.resample),
        rescale_factor=float(image_processor.rescale_factor) if image_processor.do_rescale else 1.0,
        mean=tuple(map(float, image_processor.image_mean)) if normalizes else (0.0,) * 3,
        std=tuple(map(float, image_processor.image_std)) if normalizes else (1.0,) * 3,
    )
