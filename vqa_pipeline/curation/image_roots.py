"""Where a source's images come from: a folder, an archive, or the source's own files, whose images `records` keeps.

One way to list and to read them, so that resolving, checking and packing know no difference. Nothing outside the root
is ever read; what is larger than an image within the limit of pixels can be is refused before it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from vqa_pipeline.curation.embedded_images import KeptImages
from vqa_pipeline.curation.paths import resolve_reference
from vqa_pipeline.files import list_names
from vqa_pipeline.sources.archives import Archive, ArchiveError, keep_open
from vqa_pipeline.sources.containers import is_junk
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.image_limits import MAX_BYTES, exceed

_OPEN_ARCHIVES = 4


class ImageRoot(Protocol):
    """A place that image references are relative to. A value: processes are given it and open it themselves."""

    @property
    def path(self) -> Path:
        """What messages name; empty for what lies on no disk."""
        ...

    @property
    def name(self) -> str:
        """What references may call the place, before their own first `/`."""
        ...

    def list_names(self) -> list[str]:
        """Every image's name, sorted.

        Raises:
            OSError: it cannot be listed.
        """
        ...

    def check(self, name: str) -> None:
        """Make sure that there is an image of this name and that it may be read; its bytes are not looked at.

        Raises:
            MalformedRecord: there is none, or it may not be read.
            OSError: that cannot be told.
        """
        ...

    def read(self, name: str) -> bytes:
        """The bytes of an image.

        Raises:
            MalformedRecord: as `check`, or what the name stands for is damaged.
            OSError: it cannot be read, which says nothing about the image.
        """
        ...


@dataclass(frozen=True)
class Folder:
    """Files below a folder."""

    path: Path

    @property
    def name(self) -> str:
        """As `ImageRoot.name`."""
        return self.path.name

    def list_names(self) -> list[str]:
        """As `ImageRoot.list_names`."""
        return list_names(self.path)

    def check(self, name: str) -> None:
        """As `ImageRoot.check`."""
        self._find(name)

    def read(self, name: str) -> bytes:
        """As `ImageRoot.read`."""
        return self._find(name).read_bytes()

    def _find(self, name: str) -> Path:
        """The file of this name; links are followed and must end inside."""
        file = resolve_reference(self.path, name)
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise MalformedRecord(*exceed(f"the file has {size:,} bytes, more than {MAX_BYTES:,}"))
        return file


@dataclass(frozen=True)
class ArchivedImages:
    """Members of a zip or an uncompressed tar archive; one of a single folder is taken for that folder."""

    path: Path

    @property
    def name(self) -> str:
        """As `ImageRoot.name`: the single folder in it, or what the archive is called."""
        return _find_top(keep_open(self.path)).rstrip("/") or self.path.name.partition(".")[0]

    def list_names(self) -> list[str]:
        """As `ImageRoot.list_names`; members that may not be read included, so that a reference to one tells why."""
        archive = keep_open(self.path)
        top = _find_top(archive)
        return sorted(name.removeprefix(top) for name in archive.members if not is_junk(name))

    def check(self, name: str) -> None:
        """As `ImageRoot.check`."""
        archive = keep_open(self.path)
        member = archive.members.get(_find_top(archive) + name)
        if member is None:
            reason = f"there is no {name} in {self.path.name}"
            raise MalformedRecord("image_missing", reason, "Bring the file, or correct the reference.")
        if member.problem is not None:
            reason = f"{name} in {self.path.name} {member.problem}, so it is not read"
            raise MalformedRecord("image_refused", reason, "Pack the image itself, under a name of its own.")

    def read(self, name: str) -> bytes:
        """As `ImageRoot.read`."""
        self.check(name)
        archive = keep_open(self.path)
        try:
            return archive.read(_find_top(archive) + name)
        except ArchiveError as error:
            fix = "Write or download the archive again."
            raise MalformedRecord("image_unreadable", f"{self.path.name} {error}", fix) from error


@dataclass(frozen=True)
class HeldImages:
    """Images in memory, by name."""

    images: Mapping[str, bytes]
    path: Path = Path()
    name: str = ""

    def list_names(self) -> list[str]:
        """As `ImageRoot.list_names`."""
        return sorted(self.images)

    def check(self, name: str) -> None:
        """As `ImageRoot.check`."""
        self.read(name)

    def read(self, name: str) -> bytes:
        """As `ImageRoot.read`."""
        if name in self.images:
            return self.images[name]
        reason = f"there is no {name} among the images that the files hold"
        raise MalformedRecord("image_missing", reason, "Correct the reference.")


@dataclass(frozen=True)
class EmbeddedImages:
    """Images that the source's own files hold, and those that its rows name instead, where there is a root of them."""

    kept: ImageRoot
    beside: ImageRoot | None

    @property
    def path(self) -> Path:
        """As `ImageRoot.path`."""
        return self.beside.path if self.beside else self.kept.path

    @property
    def name(self) -> str:
        """As `ImageRoot.name`."""
        return self.beside.name if self.beside else ""

    def list_names(self) -> list[str]:
        """As `ImageRoot.list_names`."""
        return sorted({*self.kept.list_names(), *(self.beside.list_names() if self.beside else ())})

    def check(self, name: str) -> None:
        """As `ImageRoot.check`."""
        self._choose(name).check(name)

    def read(self, name: str) -> bytes:
        """As `ImageRoot.read`."""
        return self._choose(name).read(name)

    def _choose(self, name: str) -> ImageRoot:
        if self.beside is not None:
            try:
                self.kept.check(name)
            except MalformedRecord:
                return self.beside
        return self.kept


def open_image_root(path: Path | None) -> ImageRoot | None:
    """The folder or archive that a source's settings name as a root."""
    if path is None:
        return None
    return ArchivedImages(path) if path.is_file() else Folder(path)


def open_images(path: Path | None, records: Path) -> ImageRoot | None:
    """Where the images of a source come from; None: it has none.

    Args:
        path: The folder or archive that the source's settings name.
        records: The source's records, with the images that its files hold.
    """
    kept, beside = KeptImages(records), open_image_root(path)
    return EmbeddedImages(kept, beside) if kept.path.is_file() else beside


@lru_cache(_OPEN_ARCHIVES)
def _find_top(archive: Archive) -> str:
    """The folder, with its slash, that all images lie in; empty where there is none."""
    names = (name for name, member in archive.members.items() if not (member.problem or is_junk(name)))
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    return f"{tops.pop()}/" if len(tops) == 1 and tops != {""} else ""
