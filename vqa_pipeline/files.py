"""Open, list, digest and write files. Decompresses by content, never by suffix; writes whole files or none."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

_GZIP = b"\x1f\x8b"


class FileStat(NamedTuple):
    """What a cheap look at a file tells."""

    size: int
    modified_ns: int


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading its bytes; gzip is recognised by its first bytes, whatever the file is called.

    Raises:
        OSError: the file cannot be opened.
    """
    file = path.open("rb")
    start = file.read(len(_GZIP))
    file.seek(0)
    if start != _GZIP:
        return file
    return cast("BinaryIO", _GzipOwningItsFile(file))


class _GzipOwningItsFile(gzip.GzipFile):
    """`GzipFile` leaves a file object it was given open; this one closes it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        super().__init__(fileobj=file, mode="rb")

    def close(self) -> None:
        super().close()
        self._file.close()


def digest_file(path: Path) -> str:
    """The sha256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_tree(folder: Path) -> dict[str, FileStat]:
    """Every file below a folder by its relative path (`/` between parts), sorted.

    Linked folders are not entered, and a linked file counts only when it lies below the folder too: what is outside is
    never read.

    Raises:
        OSError: a folder cannot be read.
    """
    home = folder.resolve()
    found: dict[str, FileStat] = {}
    unread = [(folder, "")]
    while unread:
        parent, prefix = unread.pop()
        with os.scandir(parent) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    unread.append((Path(entry.path), f"{prefix}{entry.name}/"))
                elif entry.is_file() and not (entry.is_symlink() and _leads_out(entry.path, home)):
                    stat = entry.stat()
                    found[prefix + entry.name] = FileStat(stat.st_size, stat.st_mtime_ns)
    return dict(sorted(found.items()))


def _leads_out(link: str, home: Path) -> bool:
    return not Path(link).resolve().is_relative_to(home)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old or the new content whole, even when the power fails in between.

    Raises:
        OSError: the folder cannot be written to; the old content stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically; the same value gives the same bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())
