"""Small image files, byte by byte where no library would write them, and what becomes of them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vqa_pipeline.sources.images import ImageError, decode_image, inspect_image

RED, GREEN, BLUE, GRAY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


def encode(image: Image.Image, container: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, container, **options)
    return file.getvalue()


def pixels(data: bytes) -> list:
    return np.asarray(decode_image(data).rgb).tolist()


def alterations(data: bytes) -> tuple[str, ...]:
    return inspect_image(data).alterations


def picture(size: tuple[int, int] = (32, 24)) -> Image.Image:
    """A photograph-like picture: noise on a slope, so that no codec makes it small."""
    rng = np.random.default_rng(0)
    slope = np.linspace(0, 200, size[0] * size[1] * 3).reshape(size[1], size[0], 3)
    return Image.fromarray((slope + rng.integers(0, 50, slope.shape)).astype(np.uint8))


def refuse(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    assert caught.value.fix
    return caught.value


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def build_png(width: int, height: int, depth: int, color: int, rows: bytes, before: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks
