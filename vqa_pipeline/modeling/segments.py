"""Work kept on disk, in segments: files that only grow, one pair for every process that adds something.

    <name>.data    what is kept, the bytes of one thing after those of another
    <name>.index   what each of them is, a line of `LINE` bytes, written after its data

A process writes to a segment of its own and reads those of all others, so any number may do it at once. Nothing is
synced: what a kill or a power failure tears, or anybody damages, does not match its checksum and is not used.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from uuid import uuid4

import numpy as np

from vqa_pipeline.errors import DiskError
from vqa_pipeline.files import name_disk_errors

LINE = np.dtype([("sha256", "V32"), ("start", "<u8"), ("length", "<u8"), ("checksum", "<u4")])
"""A line of an index: the digest of what it is about, where its bytes start, how many they are, their checksum."""

Data = np.ndarray[Any, np.dtype[np.uint8]]


KEPT_FREE_FRACTION = 0.1
"""So much of a disk is left to others."""


class Stored(NamedTuple):
    """Something in a segment."""

    sha256: str
    """Digest of what it is about."""
    data: Data
    """Bytes in one row. Memory-mapped: read when they are looked at."""
    checksum: int

    def is_intact(self, key: str) -> bool:
        """Whether this is what was written under this key; reads it all."""
        return _compute_checksum(key, self.sha256, self.data) == self.checksum


def _compute_checksum(key: str, sha256: str, data: Data) -> int:
    """CRC-32 of a key, a digest and data, so that data of something else do not match either."""
    return zlib.crc32(data.data.cast("B"), zlib.crc32(f"{key} {sha256}".encode()))


def read_segments(folder: Path) -> Iterator[Stored]:
    """What is in all segments of a folder, as far as it can be read; nothing is checked."""
    for index in sorted(folder.glob("*.index")):
        yield from read_segment(index)


def read_segment(index: Path) -> Iterator[Stored]:
    """What is in one segment, as far as it can be read; nothing is checked."""
    try:
        lines = np.fromfile(index, LINE)
        mapped = np.asarray(np.memmap(index.with_suffix(".data"), np.uint8, "r"))
    except (OSError, ValueError):  # gone, forbidden or empty
        return
    for sha256, start, length, checksum in lines.tolist():
        if start + length <= len(mapped):
            yield Stored(sha256.hex(), mapped[start : start + length], checksum)


def measure_room(folder: Path) -> int:
    """Bytes that the disk of a folder can take and still be free for others, too."""
    usage = shutil.disk_usage(folder)
    return max(0, usage.free - int(KEPT_FREE_FRACTION * usage.total))


class SegmentWriter:
    """Adds a segment to a folder, unless it stays empty. Whoever looks sees all of every `append` that is over."""

    def __init__(self, folder: Path, key: str) -> None:
        """Begin one; `key` tells how its data are made from what they are about.

        Raises:
            DiskError: the folder cannot be written to.
        """
        self._key, self._end = key, 0
        self._path = folder / f"{uuid4().hex}.data"
        self.index = self._path.with_suffix(".index")
        """The file by which it is read."""
        with name_disk_errors(self._path):
            self._data = self._path.open("xb", buffering=0)
            self._lines = self.index.open("xb", buffering=0)

    def append(self, things: Iterable[tuple[str, Data]]) -> None:
        """Add things: their sha256 and data, of any shape.

        Raises:
            DiskError: the disk takes no more; the whole segment is gone, so that there is room for what matters more.
        """
        try:
            with name_disk_errors(self._path):
                lines = [self._add(sha256, data) for sha256, data in things]
                _write(self._lines, memoryview(np.array(lines, LINE).tobytes()))
        except DiskError:
            self._remove()
            raise

    def _add(self, sha256: str, data: Data) -> tuple[bytes, int, int, int]:
        start = self._end
        self._end += _write(self._data, data.data.cast("B"))
        return bytes.fromhex(sha256), start, data.nbytes, _compute_checksum(self._key, sha256, data)

    def _remove(self) -> None:
        for path in (self.index, self._path):
            path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data.close()
        self._lines.close()
        if not self._end:
            self._remove()


def _write(file: FileIO, data: memoryview) -> int:
    """Write all of it, which takes more than one try where a disk fills up; returns its length."""
    rest = data
    while rest:
        rest = rest[file.write(rest) :]
    return len(data)
