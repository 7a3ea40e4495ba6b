"""From an RGB image to pixel values, as the checkpoint's own image processor does it, in two halves.

The first half, resizing, is done once per image and leaves bytes; the second, normalizing, is done per batch on the
device. Together they equal `ViltImageProcessorPil` (tests/modeling/test_pixels.py), so that a published checkpoint sees
with the stock processor what it was trained on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

_LONGEST_TO_SHORTEST = 1333 / 800
"""ViLT never lets the longer side exceed the shorter one's target by more than this. Source: dandelin/ViLT 762fd39."""


class PixelRules(NamedTuple):
    """What an image processor does to an image."""

    shortest_edge: int
    """Target of the shorter side, in pixels."""
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
        scale = self.shortest_edge / min(width, height)
        longest = int(_LONGEST_TO_SHORTEST * self.shortest_edge)
        new_width, new_height = scale * width, scale * height
        if max(new_width, new_height) > longest:
            scale = longest / max(new_width, new_height)
            new_width, new_height = scale * new_width, scale * new_height
        return self._round(new_height), self._round(new_width)

    def _round(self, side: float) -> int:
        return max(1, int(side + 0.5) // self.size_divisor) * self.size_divisor

    def resize(self, rgb: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The image at its target size: bytes of shape (3, height, width)."""
        height, width = self.compute_size(*rgb.size)
        resized = rgb if rgb.size == (width, height) else rgb.resize((width, height), self.resample)
        return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))

    def normalize(self, resized: torch.Tensor) -> torch.Tensor:
        """Pixel values: fp32 of the shape of `resized`, (batch, 3, height, width), on its device."""
        mean = torch.tensor(self.mean, device=resized.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=resized.device).view(1, -1, 1, 1)
        return resized.float().mul_(self.rescale_factor).sub_(mean).div_(std)


def read_pixel_rules(image_processor: Any) -> PixelRules:
    """The rules of a ViLT image processor.

    Raises:
        ValueError: it leaves out a step that ViLT needs.
    """
    steps = ("do_resize", "do_rescale", "do_normalize")
    left_out = [step for step in steps if not getattr(image_processor, step)]
    if left_out:
        raise ValueError(f"its image processor has {' and '.join(left_out)} switched off")
    return PixelRules(
        shortest_edge=int(image_processor.size["shortest_edge"]),
        size_divisor=int(image_processor.size_divisor),
        resample=Image.Resampling(image_processor.resample),
        rescale_factor=float(image_processor.rescale_factor),
        mean=tuple(map(float, image_processor.image_mean)),
        std=tuple(map(float, image_processor.image_std)),
    )
