"""What a path stands for: a file, or a member of an archive, written `train.zip!/annotations/a.json`.

Archives (zip, tar, and tar compressed as a whole) are told by content, never by suffix. Members are read as streams,
never unpacked to disk; an archive with a member that may not be read is refused as a whole, by its name. What systems
and editors leave behind is no data: it is recognised by name, passed by and counted. Names come in the same order from
a folder, a zip and a tar: alphabetical, by their characters.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from vqa_pipeline import files
from vqa_pipeline.files import decompress, list_tree, open_file
from vqa_pipeline.sources.archives import Archive, is_archive, keep_open
from vqa_pipeline.sources.signatures import UnreadableFile, refuse_by_members

MARK = "!/"
"""Stands between an archive's path and the name of a member."""

_LARGEST = 1 << 40
"""Bytes of a member; rows are streamed, so that it only has to be possible."""

_MOST_COMPRESSED = 64
"""Members read of a compressed tar: to reach one, all before it are decompressed again."""

_COMPRESSED = {".bz2", ".gz", ".gzip", ".xz"}
_ROWS = {".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".tab", ".tsv", ".txt"} | _COMPRESSED
_ARCHIVES = {".tar", ".tgz", ".zip"}
_ABOUT = ("changelog", "citation", "copying", "licence", "license", "notice", "readme")

_JUNK_FOLDERS = {"__macosx", ".ipynb_checkpoints", "@eadir", ".git", ".svn"}
_JUNK_NAMES = {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", ".gitattributes", ".gitignore"}
_JUNK_BEGINNINGS = ("._", ".#", "~$")
_JUNK_ENDS = ("~", ".bak", ".orig", ".swp", ".swo", ".tmp")


def is_junk(name: str) -> bool:
    """Whether a file is what macOS, Windows, a NAS, version control or an editor left behind.

    Args:
        name: Its path inside a folder or archive, `/` between parts.
    """
    *folders, last = name.lower().split("/")
    return (
        last in _JUNK_NAMES
        or last.startswith(_JUNK_BEGINNINGS)
        or last.endswith(_JUNK_ENDS)
        or not _JUNK_FOLDERS.isdisjoint(folders)
    )


def holds_rows(name: str) -> bool:
    """Whether a file inside a folder or archive is taken for one with rows, by the end of its name."""
    path = PurePosixPath(name.lower())
    is_hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix in _ROWS and not (is_hidden or is_junk(name) or path.name.startswith(_ABOUT))


def list_folder(folder: Path) -> list[Path]:
    """The files with rows, and the archives, in a folder and those below it.

    Raises:
        OSError: a folder cannot be read.
    """
    names = list_tree(folder)
    return [folder / name for name in names if holds_rows(name) or PurePosixPath(name.lower()).suffix in _ARCHIVES]


def list_members(path: Path, pattern: str | None = None) -> list[Path] | None:
    """The members of an archive with rows, or those whose names fit a pattern; None: the file is no archive.

    Args:
        path: The file.
        pattern: A name, or a pattern in which `*` stands for anything, `/` included.

    Raises:
        UnreadableFile: the archive holds what may not be read, or is of a kind that no rows are read from.
        ArchiveError: the archive is damaged.
        OSError: the file cannot be read.
    """
    if not is_archive(path, even_compressed=True):
        return None
    members = _check_members(_open(path))
    exact = pattern is not None and pattern in members
    names = [name for name in members if (name == pattern if exact else _fits(name, pattern))]
    if len(names) > _MOST_COMPRESSED and _open(path).is_compressed:
        reason = f"holds {len(names)} files with rows, but is compressed as a whole: each takes a pass through all"
        raise UnreadableFile(reason, "Pack it as zip, or decompress it to an uncompressed tar.")
    return [Path(f"{path}{MARK}{name}") for name in sorted(names)]


def _open(path: Path) -> Archive:
    return keep_open(path, _LARGEST)


def _fits(name: str, pattern: str | None) -> bool:
    return holds_rows(name) if pattern is None else fnmatchcase(name, pattern) and not is_junk(name)


def _check_members(archive: Archive) -> Collection[str]:
    refuse_by_members(archive.members)
    for name, member in archive.members.items():
        if member.problem is not None and not is_junk(name):
            reason = f"its member {name!r:.200} {member.problem}"
            raise UnreadableFile(reason, "Pack it again without, or unpack what you need and name that.")
    return archive.members


def split_member(path: Path) -> tuple[Path, str | None]:
    """The file on disk that a path leads to, and the name of the member in it, if it leads to one."""
    text = str(path)
    place = text.find(MARK)
    while place >= 0:
        if os.path.isfile(text[:place]):  # noqa: PTH113 - once for every file read
            return Path(text[:place]), text[place + len(MARK) :]
        place = text.find(MARK, place + 1)
    return path, None


@contextmanager
def open_content(path: Path) -> Iterator[BinaryIO]:
    """A file or member, decompressed.

    Raises:
        UnreadableFile: the member is an archive itself.
        ArchiveError: the archive is damaged, or has no such member.
        OSError: the file cannot be opened.
    """
    file, name = split_member(path)
    if name is None:
        with open_file(file) as plain:
            yield plain
        return
    archive = _open(file)
    with archive.open(name) as member, decompress(member, archive.members[name].num_bytes) as content:
        yield content


def measure_file(path: Path) -> int:
    """The size of a file as it lies on the disk, and of a member as it comes out of its archive."""
    file, name = split_member(path)
    return file.stat().st_size if name is None else _open(file).members[name].num_bytes


def measure_content(path: Path) -> int:
    """The size of what `open_content` reads, as `files.measure_content`: for showing progress."""
    file, name = split_member(path)
    return files.measure_content(file) if name is None else measure_file(path)


def count_junk(paths: Iterable[Path]) -> int:
    """Files that are no data in the archives and folders that these files lie in.

    Raises:
        OSError: a folder cannot be read.
    """
    places = [split_member(path) for path in paths]
    archives = {file for file, name in places if name is not None}
    folders = {file.parent for file, name in places if name is None}
    members = (name for archive in archives for name in _open(archive).members)
    return sum(map(is_junk, members)) + sum(_count_junk_beside(folder) for folder in folders)


def _count_junk_beside(folder: Path) -> int:
    with os.scandir(folder) as entries:
        listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    inside = [folder / name for name, is_folder in listed if is_folder and name.lower() == "__macosx"]
    return sum(is_junk(name) for name, is_folder in listed if not is_folder) + sum(map(len, map(list_tree, inside)))
