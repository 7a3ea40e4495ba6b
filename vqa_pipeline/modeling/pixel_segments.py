"""Resized images on disk, in segments: files that only grow, one pair for every process that adds images.

    <name>.pixels   the images' bytes, one after the other
    <name>.index    what each of them is, a line of `LINE` bytes, written after its pixels

A process writes to a segment of its own and reads those of all others, so any number may do it at once. Nothing is
synced: what a kill or a power failure tears, or anybody damages, does not match its checksum and is not used.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from uuid import uuid4

import numpy as np

from vqa_pipeline.errors import DiskError
from vqa_pipeline.files import name_disk_errors
from vqa_pipeline.modeling.pixels import Pixels

LINE = np.dtype([("sha256", "V32"), ("height", "<u4"), ("width", "<u4"), ("start", "<u8"), ("checksum", "<u4")])
"""A line of an index: which image, its size in pixels, where its bytes start, and their checksum."""


class Stored(NamedTuple):
    """An image in a segment."""

    sha256: str
    pixels: Pixels
    """Memory-mapped: read when they are looked at."""
    checksum: int

    def is_intact(self, rules_key: str) -> bool:
        """Whether the pixels are those that were written by these rules; reads them all."""
        return _compute_checksum(rules_key, self.sha256, self.pixels) == self.checksum


def _compute_checksum(rules_key: str, sha256: str, pixels: Pixels) -> int:
    """CRC-32 of the rules, the image's digest and its pixels, so that those of another image do not match either."""
    return zlib.crc32(pixels.data, zlib.crc32(f"{rules_key} {sha256}".encode()))


def read_segments(folder: Path) -> Iterator[Stored]:
    """The images in all segments of a folder, as far as they can be read; none is checked."""
    for index in sorted(folder.glob("*.index")):
        yield from read_segment(index)


def read_segment(index: Path) -> Iterator[Stored]:
    """The images in one segment, as far as they can be read; none is checked."""
    try:
        lines = np.fromfile(index, LINE)
        mapped = np.asarray(np.memmap(index.with_suffix(".pixels"), np.uint8, "r"))
    except (OSError, ValueError):  # gone, forbidden or empty
        return
    for sha256, height, width, start, checksum in lines.tolist():
        end = start + 3 * height * width
        if end <= len(mapped):
            yield Stored(sha256.hex(), mapped[start:end].reshape(3, height, width), checksum)


class SegmentWriter:
    """Adds a segment to a folder. Whoever looks sees the images of every `append` that is over."""

    def __init__(self, folder: Path, rules_key: str) -> None:
        """Begin one.

        Raises:
            DiskError: the folder cannot be written to.
        """
        self._rules_key, self._end = rules_key, 0
        self._path = folder / f"{uuid4().hex}.pixels"
        self.index = self._path.with_suffix(".index")
        """The file by which it is read."""
        with name_disk_errors(self._path):
            self._pixels = self._path.open("xb", buffering=0)
            self._lines = self.index.open("xb", buffering=0)

    def append(self, images: Iterable[tuple[str, Pixels]]) -> None:
        """Add images, by sha256.

        Raises:
            DiskError: the disk takes no more; the whole segment is gone, so that there is room for what matters more.
        """
        try:
            with name_disk_errors(self._path):
                lines = [self._add(sha256, pixels) for sha256, pixels in images]
                _write(self._lines, memoryview(np.array(lines, LINE).tobytes()))
        except DiskError:
            self._remove()
            raise

    def _add(self, sha256: str, pixels: Pixels) -> tuple[bytes, int, int, int, int]:
        start, (_, height, width) = self._end, pixels.shape
        self._end += _write(self._pixels, pixels.data.cast("B"))
        return bytes.fromhex(sha256), height, width, start, _compute_checksum(self._rules_key, sha256, pixels)

    def _remove(self) -> None:
        for path in (self.index, self._path):
            path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pixels.close()
        self._lines.close()


def _write(file: FileIO, data: memoryview) -> int:
    """Write all of it, which takes more than one try where a disk fills up; returns its length."""
    rest = data
    while rest:
        rest = rest[file.write(rest) :]
    return len(data)
