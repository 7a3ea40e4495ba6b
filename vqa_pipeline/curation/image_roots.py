"""Where a source's images come from: a folder, an archive, or the source's own files, whose images `records` keeps.

One way to list and to read them, so that resolving, checking and packing know no difference. Nothing outside the root
is ever read; what is larger than an image within the limit of pixels can be is refused before it is read.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol, Self

from vqa_pipeline.curation.paths import resolve_reference
from vqa_pipeline.files import list_tree
from vqa_pipeline.schemas import EmbeddedImage
from vqa_pipeline.sources.archives import LARGEST_MEMBER, Archive, ArchiveError, open_archive
from vqa_pipeline.sources.formats.format import MalformedRecord

EMBEDDED_IMAGES = "images.zip"
"""`records/<source>`: the images that the source's own files hold, each once, named by their sha256, uncompressed."""

_OPEN_ARCHIVES = 4
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that zip knows: equal images make equal files


class ImageRoot(Protocol):
    """A place that image references are relative to. A value: processes are given it and open it themselves."""

    @property
    def path(self) -> Path:
        """What messages name."""
        ...

    def list_names(self) -> list[str]:
        """Every image's name, sorted.

        Raises:
            OSError: it cannot be listed.
        """
        ...

    def read(self, name: str) -> bytes:
        """The bytes of an image.

        Raises:
            MalformedRecord: there is no such image, or it may not be read.
            OSError: it cannot be read, which says nothing about the image.
        """
        ...


@dataclass(frozen=True)
class Folder:
    """Files below a folder."""

    path: Path

    def list_names(self) -> list[str]:
        """As `ImageRoot.list_names`."""
        return list(list_tree(self.path))

    def read(self, name: str) -> bytes:
        """As `ImageRoot.read`; links are followed and must end inside."""
        file = resolve_reference(self.path, name)
        size = file.stat().st_size
        if size > LARGEST_MEMBER:
            reason = f"{name} has {size:,} bytes, more than {LARGEST_MEMBER:,}"
            raise MalformedRecord("image_too_large", reason, "Save it with fewer pixels, or compressed.")
        return file.read_bytes()


@dataclass(frozen=True)
class ArchivedImages:
    """Members of a zip or an uncompressed tar archive."""

    path: Path

    def list_names(self) -> list[str]:
        """As `ImageRoot.list_names`; members that may not be read included, so that a reference to one tells why."""
        return sorted(_open(self.path).members)

    def read(self, name: str) -> bytes:
        """As `ImageRoot.read`."""
        archive = _open(self.path)
        member = archive.members.get(name)
        if member is None:
            reason = f"there is no {name} in {self.path.name}"
            raise MalformedRecord("image_missing", reason, "Bring the file, or correct the reference.")
        if member.problem is not None:
            reason = f"{name} in {self.path.name} {member.problem}, so it is not read"
            raise MalformedRecord("image_refused", reason, "Pack the image itself, under a name of its own.")
        try:
            return archive.read(name)
        except ArchiveError as error:
            fix = "Write or download the archive again."
            raise MalformedRecord("image_unreadable", f"{self.path.name} {error}", fix) from error


@dataclass(frozen=True)
class EmbeddedImages:
    """Images that the source's own files hold, and those that its rows name instead, where there is a root of them."""

    kept: ArchivedImages
    beside: ImageRoot | None

    @property
    def path(self) -> Path:
        """As `ImageRoot.path`."""
        return self.beside.path if self.beside else self.kept.path

    def list_names(self) -> list[str]:
        """As `ImageRoot.list_names`."""
        return sorted({*self.kept.list_names(), *(self.beside.list_names() if self.beside else ())})

    def read(self, name: str) -> bytes:
        """As `ImageRoot.read`."""
        if self.beside is None or name in _open(self.kept.path).members:
            return self.kept.read(name)
        return self.beside.read(name)


def find_image_root(path: Path | None, records: Path) -> ImageRoot | None:
    """Where the images of a source come from; None: it has none.

    Args:
        path: The folder or archive that the source's settings name.
        records: The source's records.
    """
    beside: ImageRoot | None = None
    if path is not None:
        beside = ArchivedImages(path) if path.is_file() else Folder(path)
    kept = records / EMBEDDED_IMAGES
    return EmbeddedImages(ArchivedImages(kept), beside) if kept.is_file() else beside


def _open(path: Path) -> Archive:
    stat = path.stat()
    return _open_as_it_is(path, stat.st_size, stat.st_mtime_ns, os.getpid())


@lru_cache(_OPEN_ARCHIVES)
def _open_as_it_is(path: Path, *_: int) -> Archive:
    """An archive, opened once by each process: a child shares its parent's place in an open file."""
    return open_archive(path)


class EmbeddedImagesWriter:
    """Keeps each distinct image once, as it comes; memory is that of their names."""

    def __init__(self, records: Path) -> None:
        self._path = records / EMBEDDED_IMAGES
        self._zip: zipfile.ZipFile | None = None
        self._written: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._zip is not None:
            self._zip.close()

    def __len__(self) -> int:
        return len(self._written)

    def add(self, image: EmbeddedImage) -> None:
        """Write an image that has not been written."""
        if image.sha256 in self._written:
            return
        self._written.add(image.sha256)
        if self._zip is None:
            self._zip = zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED)
        entry = zipfile.ZipInfo(image.sha256, _EPOCH)
        entry.create_system = 3  # Unix, whatever this machine is
        self._zip.writestr(entry, image.data)
