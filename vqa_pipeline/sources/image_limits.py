"""What an image may ask of the machine, judged by its header: a few bytes can claim any amount of memory and time.

Looks at headers and markers; decodes nothing. Pillow itself bounds texts, colour profiles and tags (from 13.0 on).
"""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image, TiffImagePlugin

from vqa_pipeline.sources.jpeg_scans import START_OF_SCAN, count_scans

MAX_BYTES = 1 << 30
"""Larger files are rejected before they are read; raw, `MAX_PIXELS` pixels take less."""

MAX_PIXELS = 89_478_485
"""Images with more pixels are rejected before they are decoded; Pillow's own warning limit (Image.MAX_IMAGE_PIXELS)."""

_FEW_PIXELS = 1 << 24
"""So many pixels are decoded even if a few bytes declare them."""

_MAX_PIXELS_PER_BYTE = 10_000
"""Blank pages have up to 8,000 (deflate, one bit per pixel); beyond `_FEW_PIXELS`, more is taken for a bomb."""

_HELD_BY_A_BYTE = {
    "JPEG": 512,
    "MPO": 512,  # a block of 64 pixels takes at least one bit: no Huffman code is shorter
    "BMP": 128,
    "DIB": 128,
    "PCX": 256,
    "PPM": 8,
    "QOI": 62,
    "TGA": 64,  # one bit per pixel, or the longest run
}
"""Pixels that a byte can stand for, where the container's definition tells; with fewer bytes, some are missing."""

_MAX_SCANNED_PIXELS = 16 * MAX_PIXELS
"""Scans times pixels of a JPEG; progressive ones have about ten scans."""

_TILE_SIDES = (322, 323)  # TileWidth and TileLength (TIFF 6.0, section 15)


class Excess(NamedTuple):
    """Why an image is not decoded, in the words of a reject."""

    rule: str
    reason: str
    fix: str


def find_excess(image: Image.Image, num_bytes: int) -> Excess | None:
    """Whether an image that is open and not yet loaded has too many pixels, for the machine or for its bytes."""
    width, height = image.size
    pixels = width * height
    size = f"{width} x {height} pixels"
    if min(width, height) < 1:
        return Excess("image_unreadable", f"it has {size}", "Replace it with an image file.")
    if pixels > MAX_PIXELS:
        return exceed(f"it has {size}, more than {MAX_PIXELS:,}")
    if pixels > _HELD_BY_A_BYTE.get(image.format or "", MAX_PIXELS) * num_bytes:
        reason = f"the {image.format} file breaks off: {num_bytes:,} bytes cannot hold its {size}"
        return Excess("image_truncated", reason, "Download the file again.")
    if pixels > max(_FEW_PIXELS, _MAX_PIXELS_PER_BYTE * num_bytes):
        return exceed(f"it declares {size} in {num_bytes:,} bytes, and no picture is so empty")
    return _find_excess_of_tiles(image, max(_FEW_PIXELS, pixels))


def exceed(reason: str) -> Excess:
    """An image that asks for too much, and what to do about it."""
    return Excess("image_too_large", reason, f"Save it again as JPEG or PNG, with fewer than {MAX_PIXELS:,} pixels.")


def _find_excess_of_tiles(image: Image.Image, most: int) -> Excess | None:
    """A TIFF is decoded a tile at a time, and a tile may be far larger than the picture."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    width, height = (int(image.tag_v2.get(side, 0)) for side in _TILE_SIDES)
    return exceed(f"it is stored in tiles of {width} x {height} pixels") if width * height > most else None


def find_excess_of_scans(image: Image.Image, data: bytes) -> Excess | None:
    """Whether a JPEG goes over its picture too often: each scan takes time, and one that changes nothing ten bytes."""
    width, height = image.size
    most = _MAX_SCANNED_PIXELS // (width * height)
    if image.format not in {"JPEG", "MPO"} or data.count(START_OF_SCAN) <= most:  # in a hundredth of the time
        return None
    num_scans = count_scans(data)
    if num_scans <= most:
        return None
    return exceed(f"it has {num_scans:,} scans of {width} x {height} pixels, which would take minutes to decode")
