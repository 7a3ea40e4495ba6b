"""The one function from an image file's bytes to RGB, shared by validation, training, prediction and report.

Every surprise of Pillow is handled here: sizes are limited before decoding, the whole image is decoded (`verify()`
accepts truncated files), 16-bit and float pixels are scaled, not clipped, transparency is composited on white,
orientation is applied exactly once, and the first frame of an animation is taken. Reads no file and keeps no state.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 89_478_485
"""Images with more pixels are rejected before they are decoded; Pillow's own warning limit (Image.MAX_IMAGE_PIXELS)."""

BACKGROUND = (255, 255, 255)
"""Transparent pixels are composited on white."""

_DECODE_ERRORS = (OSError, ValueError, TypeError, SyntaxError, IndexError, EOFError, OverflowError, struct.error)
_SIXTEEN_BIT = 65_535


class ImageError(ValueError):
    """An image file that cannot be used; curation turns this into a reject."""

    def __init__(self, rule: str, reason: str, fix: str) -> None:
        self.rule, self.reason, self.fix = rule, reason, fix
        super().__init__(reason)


class DecodedImage(NamedTuple):
    """An image as everybody sees it."""

    rgb: Image.Image
    """Mode RGB, orientation applied."""
    mode: str
    """Pillow's mode of the file."""
    format: str
    """Pillow's name of the container, from the content."""


class ImageFacts(NamedTuple):
    """What curation keeps of an image beside its bytes."""

    image_sha256: str
    width: int
    height: int
    mode: str
    format: str
    dhash: int
    """64-bit difference hash of the RGB pixels, as a signed integer."""


def decode_image(data: bytes) -> DecodedImage:
    """Decode an image file whole.

    Raises:
        ImageError: the bytes are not an image that can be used; rules image_empty, image_unreadable, image_too_large,
            image_truncated.
    """
    if not data:
        raise ImageError("image_empty", "the file has no bytes", "Copy or download the file again.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _open(data)
        mode, container = image.mode, image.format or "unknown"
        try:
            image.load()
            rgb = _convert_to_rgb(_turn_upright(image))
        except _DECODE_ERRORS as error:
            raise ImageError(
                "image_truncated",
                f"the {container} file breaks off or is damaged ({error})",
                "Download the file again.",
            ) from error
    return DecodedImage(rgb, mode, container)


def _open(data: bytes) -> Image.Image:
    """Read the header and refuse what is no image, or too large to decode."""
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        raise ImageError("image_unreadable", _describe_content(data), "Replace it with an image file.") from error
    except Image.DecompressionBombError as error:
        raise ImageError("image_too_large", str(error), f"Scale it below {MAX_PIXELS:,} pixels.") from error
    except _DECODE_ERRORS as error:
        raise ImageError("image_unreadable", f"the header is damaged ({error})", "Download the file again.") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        reason = f"the header declares {width} x {height} pixels, more than {MAX_PIXELS:,}"
        raise ImageError("image_too_large", reason, f"Scale it below {MAX_PIXELS:,} pixels.")
    return image


def _describe_content(data: bytes) -> str:
    start = data[:200].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "the file is an HTML page, not an image"
    if start.startswith(b"version https://git-lfs"):
        return "the file is a git-LFS pointer, not an image"
    if data[4:12] in {b"ftypheic", b"ftypheix", b"ftypmif1"}:
        return "the file is HEIC, which this installation cannot decode"
    return "the file is not an image of a known format"


def _turn_upright(image: Image.Image) -> Image.Image:
    """Apply the orientation once: Pillow has applied a TIFF's at load, and no other container's."""
    if image.format == "TIFF":
        return image
    try:
        return ImageOps.exif_transpose(image)
    except _DECODE_ERRORS:  # EXIF is optional; damaged EXIF says nothing about orientation, and the pixels are whole
        return image


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_to_rgb(image)
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        transparent = image.convert("RGBA")
        backdrop = Image.new("RGBA", transparent.size, (*BACKGROUND, 255))
        return Image.alpha_composite(backdrop, transparent).convert("RGB")
    return image.convert("RGB")


def _scale_to_rgb(image: Image.Image) -> Image.Image:
    """Bring integers and floats of any range to 0…255: Pillow would clip them, and a 16-bit picture would be white.

    Values in 0…255 stay as they are; in 0…65535 they are divided by 257; anything else is stretched from its minimum
    to its maximum.
    """
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    sixteen_bit = image.mode.startswith("I;16")
    if low >= 0 and high <= _SIXTEEN_BIT and (sixteen_bit or high > 255):  # noqa: PLR2004
        values = values / 257.0
    elif low < 0 or high > 255 or (image.mode == "F" and high <= 1):  # noqa: PLR2004
        values = (values - low) * (255.0 / (high - low) if high > low else 0.0)
    return Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8), "L").convert("RGB")


def inspect_image(data: bytes) -> ImageFacts:
    """Decode an image whole and tell what curation keeps of it.

    Raises:
        ImageError: as `decode_image`.
    """
    decoded = decode_image(data)
    digest = hashlib.sha256(data).hexdigest()
    return ImageFacts(digest, *decoded.rgb.size, decoded.mode, decoded.format, compute_dhash(decoded.rgb))


def compute_dhash(rgb: Image.Image) -> int:
    """64-bit difference hash: does each pixel of a 9 x 8 gray thumbnail get brighter towards the right? Signed.

    Source: N. Krawetz, "Kind of Like That", 2013 (hackerfactor.com).
    """
    gray = np.asarray(rgb.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = (gray[:, 1:] > gray[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big", signed=True)
