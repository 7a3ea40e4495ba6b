"""Archives that single members are read from: zip and tar, checked, never unpacked to disk.

Only regular files are read. A name that leads out of the archive, a link, a device, an encrypted member or a name that
stands in the archive twice is listed with what is wrong with it. Sizes are limited before anything is read or
decompressed, whatever a header declares.
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Hashable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, cast

from typing_extensions import Buffer

from vqa_pipeline.files import LARGEST_RATIO, is_bomb, open_file

LARGEST_MEMBER = 256 << 20
"""Bytes; more than any image within the limit of pixels has, and a bound for what a zip bomb costs."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_TAR_MAGIC = (257, b"ustar")
_ENCRYPTED, _SAYS_UTF_8 = 1, 1 << 11
_TYPE_BITS = 0o170000
_LINK_BITS, _FILE_BITS = 0o120000, 0o100000
_BLOCK = 512
_OPEN_ARCHIVES = 4
_LARGEST_HEADER = 1 << 20


class ArchiveError(ValueError):
    """The file is no archive of these kinds, or damaged."""


class Member(NamedTuple):
    """One file of an archive."""

    name: str
    """`/` between parts, without parts that say nothing (`.`)."""
    num_bytes: int
    offset: int | None
    """Where its bytes begin in a tar archive; None in a zip archive."""
    problem: str | None
    """Why it is not read, such as `is a link`; None: it can be."""


class Archive(Hashable, Protocol):
    """An archive open for reading."""

    members: dict[str, Member]
    """By name, those that cannot be read included."""
    is_compressed: bool
    """Whether it is compressed as a whole, so that to reach a member is to decompress all before it."""

    def read(self, name: str) -> bytes:
        """A member's bytes.

        Raises:
            KeyError: there is no such member, or it cannot be read: its `problem` tells why.
            ArchiveError: the archive is damaged here.
            OSError: the file cannot be read.
        """
        ...

    def open(self, name: str) -> BinaryIO:
        """A member as a stream that can be sought in.

        Raises:
            KeyError, ArchiveError, OSError: as `read`; reading the stream raises what zipfile and zlib raise.
        """
        ...


def is_archive(path: Path, *, even_compressed: bool = False) -> bool:
    """Whether a file is a zip or an uncompressed tar archive, or, if that counts, a compressed tar; by its content."""
    with path.open("rb") as file:
        start = file.read(_BLOCK)
    if start.startswith(_ZIP) or is_tar(start) or not even_compressed:
        return start.startswith(_ZIP) or is_tar(start)
    with open_file(path) as content:
        return is_tar(content.read(_BLOCK))


def is_tar(start: bytes) -> bool:
    """Whether a file is a tar archive, by its first block."""
    place, magic = _TAR_MAGIC
    return start[place : place + len(magic)] == magic


def keep_open(path: Path, largest: int = LARGEST_MEMBER) -> Archive:
    """As `open_archive`, once by each process for as long as the file stays what it is."""
    stat = path.stat()
    return _open_as_it_is(path, largest, stat.st_size, stat.st_mtime_ns, os.getpid())


@lru_cache(_OPEN_ARCHIVES)
def _open_as_it_is(path: Path, largest: int, *_: int) -> Archive:
    """Opened by each process for itself: a child shares its parent's place in an open file."""
    return open_archive(path, largest)


def open_archive(path: Path, largest: int = LARGEST_MEMBER) -> Archive:
    """Open a zip or tar archive and list its members; one of more than `largest` bytes is not read.

    Raises:
        ArchiveError: it is neither, or damaged.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        is_zip = file.read(len(_ZIP[0])).startswith(_ZIP)
    return ZipArchive(path, largest) if is_zip else TarArchive(path, largest)


class ZipArchive:
    """A zip archive; its bytes are checked against their checksums when they are read."""

    is_compressed = False

    def __init__(self, path: Path, largest: int) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise ArchiveError(f"is no zip archive, or damaged ({error})") from error
        if is_bomb(sum(entry.file_size for entry in self._zip.infolist()), path.stat().st_size):
            raise ArchiveError(f"declares more than {LARGEST_RATIO} times its own bytes in its members: a zip bomb")
        entries = [(_clean(_decode_name(entry)), entry) for entry in self._zip.infolist() if not entry.is_dir()]
        self._entries = dict(entries)
        self.members = _collect(
            Member(name, entry.file_size, None, _find_zip_problem(entry, largest)) for name, entry in entries
        )

    def read(self, name: str) -> bytes:
        """As `Archive.read`."""
        try:
            with self.open(name) as member:
                return member.read()
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ArchiveError(f"is damaged at {name} ({error})") from error

    def open(self, name: str) -> BinaryIO:
        """As `Archive.open`."""
        _require(self.members, name)
        try:
            return cast("BinaryIO", self._zip.open(self._entries[name]))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise ArchiveError(f"is damaged at {name} ({error})") from error


class TarArchive:
    """A tar archive."""

    def __init__(self, path: Path, largest: int) -> None:
        self._path = path
        self.is_compressed = not is_archive(path)
        with open_file(path) as file:
            self.members = _collect(list_tar(file, largest))

    def read(self, name: str) -> bytes:
        """As `Archive.read`."""
        member = _require(self.members, name)
        with open_file(self._path) as file:
            return read_stretch(file, member)

    def open(self, name: str) -> BinaryIO:
        """As `Archive.open`."""
        return io.BufferedReader(_Stretch(open_file(self._path), _require(self.members, name)))


class _Stretch(io.RawIOBase):
    """The bytes of a member of a tar archive; closes the archive's file."""

    def __init__(self, file: BinaryIO, member: Member) -> None:
        self._file, self._member, self._place = file, member, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        room = memoryview(buffer)
        wanted = min(len(room), self._member.num_bytes - self._place)
        if wanted <= 0:
            return 0
        self._file.seek((self._member.offset or 0) + self._place)
        chunk = self._file.read(wanted)
        if not chunk:
            raise ArchiveError(f"breaks off in {self._member.name}")
        room[: len(chunk)] = chunk
        self._place += len(chunk)
        return len(chunk)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._member.num_bytes}[whence]
        self._place = max(0, base + offset)
        return self._place

    def close(self) -> None:
        super().close()
        self._file.close()


def list_tar(file: BinaryIO, largest: int = LARGEST_MEMBER) -> Iterator[Member]:
    """The files of a tar archive in their order; it must be seekable, and may be a decompressed stream.

    Raises:
        ArchiveError: it is no tar archive, or damaged.
    """
    try:
        with tarfile.open(fileobj=cast("BinaryIO", _Sparing(file)), mode="r:") as archive:
            for entry in archive:
                if not entry.isdir():
                    yield Member(_clean(entry.name), entry.size, entry.offset_data, _find_tar_problem(entry, largest))
            end = archive.offset
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ArchiveError(f"is no tar archive, or damaged ({error})") from error
    file.seek(end)
    if file.read(_BLOCK).strip(b"\0"):  # tarfile takes a header that it cannot read for the end
        raise ArchiveError(f"is damaged: what begins at byte {end:,} is no member")


class _Sparing:
    """A file from which `tarfile` cannot be made to take gigabytes into memory by what a header declares."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self._file = file.seek, file.tell, file

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, _LARGEST_HEADER) if size >= 0 else _LARGEST_HEADER)


def read_stretch(file: BinaryIO, member: Member) -> bytes:
    """The bytes of a member of a tar archive.

    Raises:
        ArchiveError: the archive ends before them.
    """
    file.seek(member.offset or 0)
    data = file.read(member.num_bytes)
    if len(data) < member.num_bytes:
        raise ArchiveError(f"breaks off in {member.name}")
    return data


def _collect(members: Iterator[Member]) -> dict[str, Member]:
    found: dict[str, Member] = {}
    for member in members:
        twice = member.name in found
        found[member.name] = member._replace(problem="is in the archive more than once") if twice else member
    return found


def _require(members: dict[str, Member], name: str) -> Member:
    member = members[name]
    if member.problem is not None:
        raise KeyError(name)
    return member


def _clean(name: str) -> str:
    """A member's name as references have it; one that leads out keeps what makes it do so."""
    path = name.replace("\\", "/")
    return "/" * path.startswith("/") + "/".join(part for part in path.split("/") if part not in {"", "."})


def _decode_name(entry: zipfile.ZipInfo) -> str:
    """The member's name: cp437 where it does not say UTF-8 (APPNOTE.TXT, appendix D); macOS does not say it."""
    if entry.flag_bits & _SAYS_UTF_8:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode()
    except UnicodeError:
        return entry.filename


def _find_zip_problem(entry: zipfile.ZipInfo, largest: int) -> str | None:
    kind = entry.external_attr >> 16 & _TYPE_BITS
    if kind == _LINK_BITS:
        return "is a link"
    if kind not in {0, _FILE_BITS}:
        return "is no regular file"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if is_bomb(entry.file_size, entry.compress_size):
        return f"declares {entry.file_size:,} bytes out of {entry.compress_size:,}: a zip bomb"
    return _find_problem(entry.orig_filename, entry.file_size, largest)


def _find_tar_problem(entry: tarfile.TarInfo, largest: int) -> str | None:
    if entry.issym() or entry.islnk():
        return "is a link"
    if not entry.isreg() or entry.issparse():
        return "is no regular file"
    return _find_problem(entry.name, entry.size, largest)


def _find_problem(name: str, size: int, largest: int) -> str | None:
    path = name.replace("\\", "/")
    if path.startswith("/") or ".." in path.split("/") or path[1:2] == ":":
        return "has a name that leads out of the archive"
    if "\0" in path:
        return "has a name with a NUL character"
    if size > largest:
        return f"has {size:,} bytes, more than {largest:,}"
    return None
