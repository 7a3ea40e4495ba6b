"""The images that a source's own files hold, as `records/<source>` keeps them: each once, named by its sha256.

    images.bin      the image files' own bytes, one after another, in the order in which they were met
    images.arrow    `PLACES`, sorted by sha256, uncompressed: memory-mapped, so that processes share it and load nothing

Writing takes the memory of the names. The same images in the same order make the same bytes.
"""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vqa_pipeline.curation.known_images import view_fixed
from vqa_pipeline.schemas import EmbeddedImage
from vqa_pipeline.sources.archives import ArchiveError
from vqa_pipeline.sources.formats.format import MalformedRecord

IMAGES, INDEX = "images.bin", "images.arrow"

PLACES = pa.schema([("image_sha256", pa.string()), ("offset", pa.int64()), ("num_bytes", pa.int64())])
"""Where each image lies in `images.bin`."""

_MAPPED_INDEXES = 16
_DIGITS = 64


class EmbeddedImagesWriter:
    """Keeps each distinct image once, as it comes; the index is written at the end."""

    def __init__(self, records: Path) -> None:
        """Take the folder of the records; nothing comes into it when there is no image."""
        self._records = records
        self._file: BinaryIO | None = None
        self._names: dict[str, None] = {}
        self._sizes = array("q")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            if kind is None:
                _write_index(self._names, self._sizes, self._records / INDEX)

    def __len__(self) -> int:
        return len(self._names)

    def add(self, image: EmbeddedImage) -> None:
        """Write an image that has not been written."""
        if image.sha256 in self._names:
            return
        if self._file is None:
            self._file = (self._records / IMAGES).open("wb")
        self._file.write(image.data)
        self._names[image.sha256] = None
        self._sizes.append(len(image.data))


def _write_index(names: dict[str, None], sizes: array[int], path: Path) -> None:
    ends = pc.cumulative_sum(pa.array(sizes, pa.int64()))
    offsets = pc.subtract(ends, pa.array(sizes, pa.int64()))
    places = pa.table([pa.array(list(names)), offsets, pa.array(sizes, pa.int64())], schema=PLACES)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, PLACES) as writer:
        writer.write_table(places.sort_by("image_sha256").combine_chunks())


@dataclass(frozen=True)
class KeptImages:
    """An image root: what `EmbeddedImagesWriter` wrote."""

    records: Path
    name: str = ""

    @property
    def path(self) -> Path:
        """The file of the images."""
        return self.records / IMAGES

    def list_names(self) -> list[str]:
        """The sha256 of every image, sorted."""
        return [key.decode() for key in self._index.names.tolist()]

    def check(self, name: str) -> None:
        """As `ImageRoot.check`."""
        self._find(name)

    def read(self, name: str) -> bytes:
        """As `ImageRoot.read`.

        Raises:
            ArchiveError: the file is damaged here; its images are named by their digests, so this is seen.
        """
        offset, num_bytes = self._find(name)
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read(num_bytes)
        if hashlib.sha256(data).hexdigest() != name:
            raise ArchiveError(f"is damaged at byte {offset:,}: materialize the records again")
        return data

    @property
    def _index(self) -> _Index:
        path = self.records / INDEX
        stat = path.stat()
        return _map_index(path, stat.st_size, stat.st_mtime_ns)

    def _find(self, name: str) -> tuple[int, int]:
        index, key = self._index, name.encode()
        place = int(np.searchsorted(index.names, key))
        if place == len(index.names) or index.names[place] != key:
            reason = f"there is no image {name} in the source's files"
            raise MalformedRecord("image_missing", reason, "Correct the reference.")
        return int(index.offsets[place]), int(index.sizes[place])


class _Index(NamedTuple):
    """`PLACES` as arrays over the mapped file."""

    names: NDArray[np.bytes_]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]


@lru_cache(_MAPPED_INDEXES)
def _map_index(path: Path, *_: int) -> _Index:
    """The index, mapped once by each process for as long as the file stays what it is."""
    try:
        with pa.memory_map(str(path)) as file:
            places = pa.ipc.open_file(file).read_all().combine_chunks()
    except pa.ArrowInvalid as error:
        raise ArchiveError(f"is beside a damaged index ({error}): materialize the records again") from error
    names = view_fixed(places["image_sha256"], _DIGITS).view(f"S{_DIGITS}").ravel()
    return _Index(names, places["offset"].to_numpy(), places["num_bytes"].to_numpy())
