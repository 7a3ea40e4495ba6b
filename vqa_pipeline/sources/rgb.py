"""From an image's own pixels to RGB, with the account of what that changed: nothing is altered silently.

16-bit and float pixels are scaled, not clipped, and transparency is composited on white. Knows nothing of files and
limits; `images` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

BACKGROUND = (255, 255, 255)
"""Transparent pixels are composited on white."""

_WITH_ALPHA = {"RGBA", "RGBa", "LA", "La", "PA"}
_OTHER_COLORS = {"CMYK", "HSV", "LAB", "YCbCr"}
_BITS_OF_DEPTH = (8, 10, 12, 14, 16)
_STRIP_PIXELS = 1 << 20
_DEEP_COLORS = re.compile(r"(LA|RGB[AaX]?|CMYK);16[BLN]")
"""Pillow's names of pixels as a file stores them, 16 bits per channel, of which it keeps the upper eight."""


class Rgb(NamedTuple):
    """An image's pixels as everybody sees them."""

    image: Image.Image
    """Mode RGB."""
    alterations: tuple[str, ...]
    """What it took that a viewer could notice; short, stable words."""


class _Range(NamedTuple):
    black: float
    white: float
    alteration: str | None


def convert_to_rgb(image: Image.Image, *, is_deep: bool = False) -> Rgb:
    """Bring a loaded image of any mode to RGB.

    Gray levels, palettes and one-bit pixels come through as they are, so they are not told as alterations.

    Args:
        image: The image.
        is_deep: Whether `has_deep_colors` was true before it was loaded.
    """
    if is_deep:
        _shorten_transparent_color(image)
        rgb = convert_to_rgb(image)
        return rgb._replace(alterations=("scaled_from_16_bit", *rgb.alterations))
    if image.mode.startswith("I") or image.mode == "F":
        return _scale(image)
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        return _composite(_add_alpha(image))
    told = (f"converted_from_{image.mode.lower()}",) if image.mode in _OTHER_COLORS else ()
    return Rgb(image.convert("RGB"), told)


def has_deep_colors(image: ImageFile.ImageFile) -> bool:
    """Whether an image that is open and not yet loaded stores 16 bits per colour."""
    stored = [part for tile in image.tile for part in (tile.args if isinstance(tile.args, tuple) else (tile.args,))]
    return any(isinstance(part, str) and _DEEP_COLORS.fullmatch(part) for part in stored)


def _shorten_transparent_color(image: Image.Image) -> None:
    """Give the colour that a PNG declares transparent as many bits as the pixels; Pillow would compare its low ones."""
    color = image.info.get("transparency")
    if isinstance(color, tuple):
        image.info["transparency"] = tuple(level >> 8 for level in color)


def _add_alpha(image: Image.Image) -> Image.Image:
    return image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")


def _composite(transparent: Image.Image) -> Rgb:
    lowest = transparent.getchannel("A").getextrema()[0]
    if lowest == 255:  # noqa: PLR2004 - opaque
        return Rgb(transparent.convert("RGB"), ())
    rgb = Image.new("RGB", transparent.size, BACKGROUND)
    rgb.paste(transparent, mask=transparent)
    return Rgb(rgb, ("transparency_on_white",))


def _scale(image: Image.Image) -> Rgb:
    """Bring integers and floats of any range to 0…255; Pillow would clip them, and a 16-bit picture would be white."""
    pixels = np.asarray(image)
    finite = all(np.isfinite(strip).all() for _, strip in _iterate_strips(pixels)) if image.mode == "F" else True
    extremes = [(float(strip.min()), float(strip.max())) for _, strip in _iterate_finite(pixels)]
    chosen = _choose_range(image.mode, min(low for low, _ in extremes), max(high for _, high in extremes))
    span = chosen.white - chosen.black if chosen.white > chosen.black else np.inf
    gray, transparent, composited = np.empty(pixels.shape, dtype=np.uint8), image.info.get("transparency"), False
    for rows, strip in _iterate_finite(pixels):
        gray[rows] = np.rint((strip - chosen.black) * 255.0 / span)
        if isinstance(transparent, int):  # the gray level that a PNG declares transparent
            hidden = strip == transparent
            gray[rows][hidden] = BACKGROUND[0]
            composited |= bool(hidden.any())
    told = (
        *([] if finite else ["not_finite_as_zero"]),
        *([chosen.alteration] if chosen.alteration else []),
        *(["transparency_on_white"] if composited else []),
    )
    return Rgb(Image.fromarray(gray).convert("RGB"), told)


def _iterate_strips(pixels: NDArray[Any]) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Some rows at a time; all at once would need many times the image's memory."""
    num_rows = max(1, _STRIP_PIXELS // pixels.shape[1])
    for begin in range(0, pixels.shape[0], num_rows):
        rows = slice(begin, begin + num_rows)
        yield rows, pixels[rows]


def _iterate_finite(pixels: NDArray[Any]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    for rows, strip in _iterate_strips(pixels):
        yield rows, np.nan_to_num(strip.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _choose_range(mode: str, low: float, high: float) -> _Range:
    """The values that become black and white.

    Fractions have 0…1. Other values have the narrowest usual depth that holds them: a 12-bit X-ray in a 16-bit file
    would be all but black if it were divided by 65,535. What has no usual depth goes from its minimum to its maximum.
    """
    if mode == "F" and low >= 0 and high <= 1:
        return _Range(0, 1, "scaled_from_fractions")
    depths = [bits for bits in _BITS_OF_DEPTH if high < 1 << bits]
    if low < 0 or not depths:
        return _Range(low, high, "stretched_from_own_range")
    bits = depths[0]
    return _Range(0, (1 << bits) - 1, None if bits == _BITS_OF_DEPTH[0] else f"scaled_from_{bits}_bit")
