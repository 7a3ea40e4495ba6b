"""Archives that single members are read from: zip and uncompressed tar, checked, never unpacked to disk.

Only regular files are read. A name that leads out of the archive, a link, a device, an encrypted member or a name that
stands in the archive twice is listed with what is wrong with it. Sizes are limited before anything is read or
decompressed, whatever a header declares.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

LARGEST_MEMBER = 256 << 20
"""Bytes; more than any image within the limit of pixels has, and a bound for what a zip bomb costs."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_TAR_MAGIC = (257, b"ustar")
_ENCRYPTED = 1
_TYPE_BITS = 0o170000
_LINK_BITS, _FILE_BITS = 0o120000, 0o100000
_BLOCK = 512


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


class Archive(Protocol):
    """An archive open for reading."""

    members: dict[str, Member]
    """By name, those that cannot be read included."""

    def read(self, name: str) -> bytes:
        """A member's bytes.

        Raises:
            KeyError: there is no such member, or it cannot be read: its `problem` tells why.
            ArchiveError: the archive is damaged here.
            OSError: the file cannot be read.
        """
        ...


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or an uncompressed tar archive, by its first bytes."""
    with path.open("rb") as file:
        start = file.read(_BLOCK)
    return start.startswith(_ZIP) or is_tar(start)


def is_tar(start: bytes) -> bool:
    """Whether a file is a tar archive, by its first block."""
    place, magic = _TAR_MAGIC
    return start[place : place + len(magic)] == magic


def open_archive(path: Path, largest: int = LARGEST_MEMBER) -> Archive:
    """Open a zip or an uncompressed tar archive and list its members; one of more than `largest` bytes is not read.

    Raises:
        ArchiveError: it is neither, or damaged.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        is_zip = file.read(len(_ZIP[0])).startswith(_ZIP)
    return ZipArchive(path, largest) if is_zip else TarArchive(path, largest)


class ZipArchive:
    """A zip archive; its bytes are checked against their checksums when they are read."""

    def __init__(self, path: Path, largest: int) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise ArchiveError(f"is no zip archive, or damaged ({error})") from error
        entries = [(_clean(entry.filename), entry) for entry in self._zip.infolist() if not entry.is_dir()]
        self._entries = dict(entries)
        self.members = _collect(
            Member(name, entry.file_size, None, _find_zip_problem(entry, largest)) for name, entry in entries
        )

    def read(self, name: str) -> bytes:
        """As `Archive.read`."""
        _require(self.members, name)
        try:
            with self._zip.open(self._entries[name]) as member:
                return member.read()
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise ArchiveError(f"is damaged at {name} ({error})") from error


class TarArchive:
    """An uncompressed tar archive."""

    def __init__(self, path: Path, largest: int) -> None:
        self._path = path
        with path.open("rb") as file:
            self.members = _collect(list_tar(file, largest))

    def read(self, name: str) -> bytes:
        """As `Archive.read`."""
        member = _require(self.members, name)
        with self._path.open("rb") as file:
            return read_stretch(file, member)


def list_tar(file: BinaryIO, largest: int = LARGEST_MEMBER) -> Iterator[Member]:
    """The files of a tar archive in their order; it must be seekable, and may be a decompressed stream.

    Raises:
        ArchiveError: it is no tar archive, or damaged.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for entry in archive:
                if not entry.isdir():
                    yield Member(_clean(entry.name), entry.size, entry.offset_data, _find_tar_problem(entry, largest))
            end = archive.offset
    except tarfile.TarError as error:
        raise ArchiveError(f"is no tar archive, or damaged ({error})") from error
    file.seek(end)
    if file.read(_BLOCK).strip(b"\0"):  # tarfile takes a header that it cannot read for the end
        raise ArchiveError(f"is damaged: what begins at byte {end:,} is no member")


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


def _find_zip_problem(entry: zipfile.ZipInfo, largest: int) -> str | None:
    kind = entry.external_attr >> 16 & _TYPE_BITS
    if kind == _LINK_BITS:
        return "is a link"
    if kind not in {0, _FILE_BITS}:
        return "is no regular file"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted"
    return _find_problem(entry.filename, entry.file_size, largest)


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
