"""Finding images in packs: which file, row group and row holds the bytes of which sha256.

Only the columns of digests and sizes are read until bytes are asked for. Bytes become pixels nowhere but in
`sources.images.decode_image`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
from PIL import Image

from vqa_pipeline.errors import TrainingError
from vqa_pipeline.sources.images import ImageError, decode_image


class _Place(NamedTuple):
    pack: int
    row_group: int
    row: int
    width: int
    height: int


class ImagePacks:
    """The images of some packs, by sha256."""

    def __init__(self, packs: Sequence[Path], wanted: Iterable[str]) -> None:
        """Find the `wanted` images.

        Raises:
            TrainingError: one of them is in no pack.
        """
        self._packs = [pq.ParquetFile(pack, memory_map=True) for pack in packs]
        self._places = _find_places(self._packs, set(wanted))

    def measure(self, sha256: str) -> tuple[int, int]:
        """(width, height) in pixels of an image, orientation applied."""
        place = self._places[sha256]
        return place.width, place.height

    def read(self, shas: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """The bytes of images, every row group read once; in the order of the packs, not in that of `shas`."""
        by_group: dict[tuple[int, int], list[tuple[int, str]]] = defaultdict(list)
        for sha256 in dict.fromkeys(shas):
            place = self._places[sha256]
            by_group[place.pack, place.row_group].append((place.row, sha256))
        for (pack, row_group), rows in sorted(by_group.items()):
            images = self._packs[pack].read_row_group(row_group, columns=["image.bytes"])["image"].combine_chunks()
            for row, sha256 in sorted(rows):
                yield sha256, images.field("bytes")[row].as_py()


def decode_packed(sha256: str, data: bytes) -> Image.Image:
    """A packed image as RGB.

    Raises:
        TrainingError: it cannot be decoded, though it could when the dataset was made.
    """
    try:
        return decode_image(data).rgb
    except ImageError as error:
        raise TrainingError(
            f"image {sha256} can no longer be decoded: {error}. Materialize the dataset again with this installation."
        ) from error


def _find_places(packs: Sequence[pq.ParquetFile], wanted: set[str]) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    for number, pack in enumerate(packs):
        for row_group in range(pack.num_row_groups):
            table = pack.read_row_group(row_group, columns=["image_sha256", "width", "height"]).to_pydict()
            for row, sha256 in enumerate(table["image_sha256"]):
                if sha256 in wanted:
                    size = table["width"][row], table["height"][row]
                    places.setdefault(sha256, _Place(number, row_group, row, *size))
    missing = sorted(wanted - places.keys())
    if missing:
        raise TrainingError(
            f"{len(missing)} images are in none of the {len(packs)} image packs, the first is {missing[0]}. "
            "Materialize the dataset again."
        )
    return places
