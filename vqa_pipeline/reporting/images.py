"""Images for pages: out of a dataset's packs, small, and as data URIs, so that a page needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_JPEG_QUALITY = 85
_SHEET_COLUMNS = 6


def read_image(packs: Sequence[Path], sha: str) -> bytes:
    """The original bytes of an image.

    Raises:
        KeyError: no pack holds it.
    """
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    if packs:
        table = ds.dataset([str(pack) for pack in packs]).to_table(
            columns=["image"], filter=pc.field("image_sha256") == sha
        )
        if table.num_rows:
            data: bytes = table["image"][0].as_py()["bytes"]
            return data
    raise KeyError(sha)


def make_thumbnail(data: bytes, side: int = 160) -> str:
    """An image file as a data URI of at most `side` x `side` pixels, seen as everybody in this package sees it.

    Raises:
        ImageError: the bytes are not an image.
    """
    return _encode_smaller(_shrink(data, side))


def draw_contact_sheet(files: Sequence[bytes], side: int = 96) -> str:
    """Image files side by side on white, six in a row, as a data URI.

    Raises:
        ImageError: the bytes of one are not an image.
    """
    from PIL import Image

    rows = -(-len(files) // _SHEET_COLUMNS)
    sheet = Image.new("RGB", (min(len(files), _SHEET_COLUMNS) * (side + 4) - 4, rows * (side + 4) - 4), "white")
    for number, data in enumerate(files):
        image = _shrink(data, side)
        row, column = divmod(number, _SHEET_COLUMNS)
        left = column * (side + 4) + (side - image.width) // 2
        sheet.paste(image, (left, row * (side + 4) + (side - image.height) // 2))
    return _encode_smaller(sheet)


def _shrink(data: bytes, side: int) -> Any:
    from vqa_pipeline.sources.images import decode_image

    image = decode_image(data).rgb.copy()
    image.thumbnail((side, side))
    return image


def _encode_smaller(image: Any) -> str:
    """As PNG or, where that is smaller, as photographs are, as JPEG."""
    return min(encode_png(image), _encode(image, "JPEG", quality=_JPEG_QUALITY), key=len)


def encode_png(image: Any) -> str:
    """A Pillow image as a PNG data URI."""
    return _encode(image, "PNG", optimize=True)


def _encode(image: Any, container: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, container, **options)
    return f"data:image/{container.lower()};base64," + base64.b64encode(file.getvalue()).decode()
