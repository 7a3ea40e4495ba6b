"""Open, list, digest and write files. Decompresses by content, never by suffix; writes whole files or none."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from typing_extensions import Buffer

from vqa_pipeline.errors import DiskError

_GZIP = b"\x1f\x8b"
LARGEST_RATIO = 200
"""Text of records compresses to a tenth, repeated rows to a fiftieth; DEFLATE could do a thousandth (RFC 1951)."""

_HARMLESS = 256 << 20
_WORTH_LINKING = 1 << 20
_BLOCK = 1 << 16


class FileStat(NamedTuple):
    """What a cheap look at a file tells."""

    size: int
    modified_ns: int


class DecompressionBomb(OSError):
    """What a file decompresses to is out of all proportion to it."""

    def __init__(self, num_bytes: int) -> None:
        super().__init__(f"its {num_bytes:,} bytes decompress to more than {LARGEST_RATIO} times as many")


def is_bomb(num_decompressed: int, num_bytes: int) -> bool:
    """Whether so many bytes are too many to come out of a file of `num_bytes` that is what it seems to be."""
    return num_decompressed > max(_HARMLESS, LARGEST_RATIO * num_bytes)


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading its bytes; gzip, bzip2 and xz are recognised by their first bytes, whatever it is called.

    Raises:
        OSError: the file cannot be opened; reading raises it too, and `DecompressionBomb`.
    """
    return decompress(path.open("rb"), path.stat().st_size)


def decompress(file: BinaryIO, num_bytes: int) -> BinaryIO:
    """A file at its start as it was before it was compressed; what is not compressed is the file itself.

    Args:
        file: It is closed with what is returned.
        num_bytes: Its size; what it decompresses to is limited by it.
    """
    start = file.read(_LONGEST_MAGIC)
    file.seek(0)
    for magic, open_compressed in _COMPRESSIONS.items():
        if start.startswith(magic):
            return io.BufferedReader(_Decompressed(open_compressed(file), file, num_bytes), _BLOCK)
    return file


_COMPRESSIONS: dict[bytes, Callable[[BinaryIO], BinaryIO]] = {
    _GZIP: lambda file: cast("BinaryIO", gzip.GzipFile(fileobj=file)),
    b"BZh": lambda file: cast("BinaryIO", bz2.BZ2File(file)),
    b"\xfd7zXZ\x00": lambda file: cast("BinaryIO", lzma.LZMAFile(file)),  # noqa: SIM115 - its reader closes it
}
_LONGEST_MAGIC = max(map(len, _COMPRESSIONS))


class _Decompressed(io.RawIOBase):
    """What comes out of a decompressor, limited; closes the file below, which decompressors leave open."""

    def __init__(self, inner: BinaryIO, file: BinaryIO, num_bytes: int) -> None:
        self._inner, self._file, self._num_bytes = inner, file, num_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        room = memoryview(buffer)
        try:
            chunk = self._inner.read(len(room))
        except lzma.LZMAError as error:
            raise OSError(str(error)) from error
        self._check(self._inner.tell())
        room[: len(chunk)] = chunk
        return len(chunk)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_END:
            while self.read(_BLOCK):
                pass
        place = offset if whence == os.SEEK_SET else self._inner.tell() + offset
        self._check(place)
        return self._inner.seek(place)

    def _check(self, place: int) -> None:
        if is_bomb(place, self._num_bytes):
            raise DecompressionBomb(self._num_bytes)

    def close(self) -> None:
        super().close()
        self._inner.close()
        self._file.close()


def measure_content(path: Path) -> int:
    """The size of what `open_file` reads: of a gzip file, what its last four bytes say, as far as that can be true.

    They hold the size modulo 4 GiB of its last member (RFC 1952, section 2.3.1), so this is good for showing progress
    and nothing else.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(_GZIP)) != _GZIP:
            return size
        file.seek(max(0, size - 4))
        return max(size, int.from_bytes(file.read(4), "little"))


def digest_file(path: Path) -> str:
    """The sha256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_stat(path: Path) -> FileStat:
    """Size and time of a file."""
    stat = path.stat()
    return FileStat(stat.st_size, stat.st_mtime_ns)


def list_tree(folder: Path) -> dict[str, FileStat]:
    """Every file below a folder by its relative path (`/` between parts), sorted; `list_names` says which those are.

    Raises:
        OSError: a folder cannot be read.
    """
    found: dict[str, FileStat] = {}
    for name, entry in _walk(folder):
        stat = entry.stat()
        found[name] = FileStat(stat.st_size, stat.st_mtime_ns)
    return {name: found[name] for name in sorted(found)}


def list_names(folder: Path) -> list[str]:
    """The relative path (`/` between parts) of every file below a folder, sorted; in a third of `list_tree`'s time.

    Linked folders are not entered, and a linked file counts only when it lies below the folder too: what is outside is
    never read.

    Raises:
        OSError: a folder cannot be read.
    """
    return sorted(name for name, _ in _walk(folder))


def _walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    home = folder.resolve()
    unread = [(str(folder), "")]
    while unread:
        parent, prefix = unread.pop()
        with os.scandir(parent) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):  # nearly all are: the folder tells, nothing is asked
                    yield prefix + entry.name, entry
                elif entry.is_dir(follow_symlinks=False):
                    unread.append((entry.path, f"{prefix}{entry.name}/"))
                elif is_file(entry) and not _leads_out(entry.path, home):
                    yield prefix + entry.name, entry


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file or a link to one; a link that leads to itself is none.

    Raises:
        OSError: that cannot be told.
    """
    try:
        return entry.is_file()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def _leads_out(link: str, home: Path) -> bool:
    return not Path(link).resolve().is_relative_to(home)


@contextmanager
def name_disk_errors(path: Path) -> Iterator[None]:
    """Tell a full or read-only disk and the like as a `DiskError` at a path; other errors stay what they are."""
    try:
        yield
    except OSError as error:
        told = DiskError.from_number(error.errno, path)
        if told is None:
            raise
        raise told from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it where they are missing, to stay even when the power fails.

    Raises:
        DiskError: it cannot be made.
    """
    try:
        if path.is_dir():
            return
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise DiskError(path, error.errno or errno.EIO) from error


def sync_folder(path: Path) -> None:
    """Have the names in a folder outlive a power failure, as `fsync` does for the content of a file."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # file systems that cannot do it for folders say so
            raise
    finally:
        os.close(folder)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old or the new content whole, even when the power fails in between.

    Raises:
        DiskError: the disk is full, or the folder cannot be made or written to; the old content stays.
    """
    make_folder(path.parent)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with name_disk_errors(path):
        try:
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically; the same value gives the same bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def link_file(source: Path, published: Path, target: Path) -> bool:
    """Link a target to a published file with the bytes of the source; whether that was worth it and possible.

    Raises:
        DiskError: one of them cannot be read.
    """
    with name_disk_errors(target):
        if target.exists() or source.stat().st_size < _WORTH_LINKING or not _is_same(source, published):
            return False
    try:
        os.link(published, target)
    except OSError:  # a disk without links: it is copied
        return False
    return True


def copy_file(source: Path, target: Path) -> None:
    """Copy a file so that it is whole or absent; its name outlives a power failure when its folder is synced.

    Raises:
        DiskError: it cannot be read or written.
    """
    with name_disk_errors(target):
        if _is_same(source, target):
            return
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with source.open("rb") as read, unfinished.open("wb") as written:
                shutil.copyfileobj(read, written, 1 << 20)
                written.flush()
                os.fsync(written.fileno())
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)


def _is_same(source: Path, target: Path) -> bool:
    """Whether the target is whole already; a size alone does not tell that a disk kept the bytes."""
    if not target.is_file() or target.stat().st_size != source.stat().st_size:
        return False
    return digest_file(target) == digest_file(source)
