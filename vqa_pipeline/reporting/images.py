"""Images for pages: out of a dataset's packs, small, and as data URIs, so that a page needs no other file."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqa_pipeline.curation.image_roots import ImageRoot

_JPEG_QUALITIES = (85, 60, 35, 15)
_MOST_BYTES = 16_000
"""Of a thumbnail before it is encoded as text: 200 of them are less than 5 MB."""

SIDE_PIXELS = 224
"""Of an image in a gallery: as wide as a phone shows one of two, or a desk one of four."""

_BESIDE_PIXELS = 128  # of an image beside a row
_SHEET_COLUMNS, _SHEET_GAP_PIXELS = 6, 4


def read_image(packs: Sequence[Path], sha: str) -> bytes:
    """The original bytes of an image.

    Raises:
        KeyError: no pack holds it.
    """
    return read_images(packs, [sha])[sha]


def read_images(packs: Sequence[Path], shas: Sequence[str]) -> dict[str, bytes]:
    """The original bytes of images by digest, in one pass over the packs; those that no pack holds are left out."""
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    if not packs or not shas:
        return {}
    wanted = pc.field("image_sha256").isin(list(shas))
    table = ds.dataset([str(pack) for pack in packs]).to_table(columns=["image_sha256", "image"], filter=wanted)
    return {row["image_sha256"]: row["image"]["bytes"] for row in table.to_pylist()}


def make_thumbnail(data: bytes, side: int = SIDE_PIXELS) -> str:
    """An image file as a data URI of at most `side` x `side` pixels, seen as everybody in this package sees it.

    Raises:
        ImageError: the bytes are not an image.
    """
    return _encode_within(_shrink(data, side), _MOST_BYTES)


def make_thumbnails(packs: Sequence[Path], shas: Sequence[str], side: int = _BESIDE_PIXELS) -> dict[str, str]:
    """Thumbnails by digest, of those images that a pack holds."""
    return {sha: make_thumbnail(data, side) for sha, data in read_images(packs, shas).items()}


class RawImages:
    """Images of rows that were not accepted, where their sources have them. Pages do without the rest."""

    def __init__(self, roots: Mapping[str, ImageRoot | None]) -> None:
        self._roots = roots

    def show(self, source: str, reference: str) -> str:
        """The thumbnail of what a reference names as it stands; empty where there is none."""
        from vqa_pipeline.sources.images import ImageError

        data = self._read(source, reference)
        try:
            return "" if data is None else make_thumbnail(data, _BESIDE_PIXELS)
        except ImageError:
            return ""

    def find(self, shas: Collection[str], places: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Thumbnails by digest, of those images that some references name, each given with its source."""
        found: dict[str, str] = {}
        for source, reference in places:
            data = self._read(source, reference)
            sha = "" if data is None else hashlib.sha256(data).hexdigest()
            if sha in shas and sha not in found:
                found[sha] = self.show(source, reference)
        return found

    def _read(self, source: str, reference: str) -> bytes | None:
        from vqa_pipeline.sources.formats.format import MalformedRecord

        root = self._roots[source]
        try:
            return None if root is None else root.read(reference)
        except (MalformedRecord, OSError):
            return None


def draw_samples(images: Path, packs: Sequence[Path], count: int = 12) -> str | None:
    """Some images of a dataset side by side on white, six in a row, as a data URI; None where there are no images.

    Args:
        images: The dataset's images.parquet; samples lie at even distances in it.
        packs: Where the images' bytes are.
        count: At most this many.

    Raises:
        KeyError: no pack holds one of them.
    """
    import pyarrow.parquet as pq

    shas = pq.read_table(images, columns=["image_sha256"])["image_sha256"].to_pylist()
    chosen = shas[:: -(-len(shas) // count)] if shas else []
    files = read_images(packs, chosen)
    return _draw_sheet([files[sha] for sha in chosen], 96) if chosen else None


def _draw_sheet(files: Sequence[bytes], side: int) -> str:
    """Image files in rows, each in the middle of a square."""
    from PIL import Image

    pitch = side + _SHEET_GAP_PIXELS
    rows = -(-len(files) // _SHEET_COLUMNS)
    width, height = min(len(files), _SHEET_COLUMNS) * pitch, rows * pitch
    sheet = Image.new("RGB", (width - _SHEET_GAP_PIXELS, height - _SHEET_GAP_PIXELS), "white")
    for number, data in enumerate(files):
        image = _shrink(data, side)
        row, column = divmod(number, _SHEET_COLUMNS)
        sheet.paste(image, (column * pitch + (side - image.width) // 2, row * pitch + (side - image.height) // 2))
    return _encode_smaller(sheet)


def _shrink(data: bytes, side: int) -> Any:
    from vqa_pipeline.sources.images import decode_image

    image = decode_image(data).rgb.copy()
    image.thumbnail((side, side))
    return image


def _encode_smaller(image: Any) -> str:
    """As PNG or, where that is smaller, as photographs are, as JPEG."""
    return min(encode_png(image), _encode(image, "JPEG", quality=_JPEG_QUALITIES[0]), key=len)


def _encode_within(image: Any, most_bytes: int) -> str:
    """As JPEG or PNG, no better than fits; what is hard to press comes out coarser."""
    best = _encode_smaller(image)
    for quality in _JPEG_QUALITIES[1:]:
        if len(best) * 3 // 4 <= most_bytes:
            break
        best = _encode(image, "JPEG", quality=quality)
    return best


def encode_png(image: Any) -> str:
    """A Pillow image as a PNG data URI."""
    return _encode(image, "PNG", optimize=True)


def _encode(image: Any, container: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, container, **options)
    return f"data:image/{container.lower()};base64," + base64.b64encode(file.getvalue()).decode()
