"""`webdataset`: tar shards, also gzipped, in which the members of one name are a record: `0001.jpg`, `0001.json`.

A record's name ends at the first dot of the file name; what follows is the member's extension. The record's fields are
those of `json` and the texts of other members, by their extension: `columns: {question: txt, answers: cls}`. A line
break that ends a text is no part of it. A name without a dot, or that begins with one, belongs to no record. Members of
a record need not stand together. Equal names in several shards are records of their own, so a name is an id only where
`columns: {id: __key__}` says so.

    - name: shards
      format: webdataset
      files: raw/shards/train-*.tar
      columns: {image: jpg, question: question, answers: answer}

Two readings of a shard, the first for names alone: a record is complete only when its last member has been read, and no
other is kept in memory for longer. Nothing is unpickled.

Source: https://github.com/webdataset/webdataset (docs: "The WebDataset Format")
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import Field
from pydantic_core import from_json

from vqa_pipeline.errors import SourceError
from vqa_pipeline.files import open_file
from vqa_pipeline.schemas import Locator, RawRecord
from vqa_pipeline.sources.archives import ArchiveError, Member, is_tar, list_tar, read_stretch
from vqa_pipeline.sources.formats.embedded import (
    FILE_SPLITS,
    build_parser,
    build_record,
    take_image,
)
from vqa_pipeline.sources.formats.files import Paths, declare_splits, find_base, find_paths, name_file, reading
from vqa_pipeline.sources.formats.format import MalformedRecord, Parser, Recognition, Sample
from vqa_pipeline.sources.formats.rows import Columns, QuestionColumns, Row
from vqa_pipeline.sources.image_search import has_image_suffix
from vqa_pipeline.sources.settings import SourceSettings, Splits

_NAME = re.compile(r"(?P<key>(?:.*/)?[^./]+)\.(?P<extension>[^/]+)")
_TOLD = {"cls", "json", "txt"}
_KEY, _IMAGE, _TWICE = "__key__", "__image__", "__twice__"

_LARGEST_TEXT = 1 << 24


class WebDatasetColumns(QuestionColumns):
    """Which field of a record holds what: a field of `json`, or an extension such as `txt`."""

    image: str | None = Field(
        None, description="Extension of the image's member, such as jpg; null: the one image of each record."
    )


class WebDatasetSource(SourceSettings):
    """Tar shards in which the members of one name are a record."""

    format: Literal["webdataset"] = Field(description="Kind of source: webdataset.")
    files: Paths = Field(description="Shards or globs, relative to the project; gzip is recognised by content.")
    columns: WebDatasetColumns = Field(WebDatasetColumns(), description="Which field of a record holds what.")
    answer_separator: str | None = Field(
        None, min_length=1, description="Splits one text into several answers, such as `;`."
    )
    splits: Splits = Field("declared", description=FILE_SPLITS)


@dataclass(frozen=True)
class WebDatasetFormat:
    """Records of tar shards, each with its image."""

    most_held_bytes: int = 1 << 30
    """Images of records that wait for more of their members; a shard that needs more memory is refused."""

    def find_files(self, settings: WebDatasetSource, root: Path) -> list[Path]:
        """The shards that `files` names."""
        return find_paths(settings.name, "files", settings.files, root, whole=True, without=settings.corrections)

    def find_image_root(self, settings: WebDatasetSource, root: Path) -> Path | None:  # noqa: ARG002 - as every format
        """None: the images are in the shards."""
        return None

    def read(self, settings: WebDatasetSource, root: Path, most: int | None = None) -> Iterator[RawRecord]:
        """Every record of every shard, in the order in which they are complete."""
        paths = self.find_files(settings, root)
        base = find_base(paths, None)
        for path in paths:
            with reading(settings.name, "files", path), open_file(path) as file:
                try:
                    for number, row in enumerate(self._read_shard(settings, file, path, most)):
                        yield build_record(row, _IMAGE, Locator(name_file(path, base), number))
                except ArchiveError as error:
                    fix = "Write or download it again."
                    raise SourceError(settings.name, "files", path, str(error), fix) from error

    def build_parser(self, settings: WebDatasetSource, root: Path) -> Parser:
        """The function from a record to its fields."""
        declared = declare_splits(settings.splits, self.find_files(settings, root), None, root)
        columns = Columns(**{**settings.columns.model_dump(), "image": _IMAGE})
        return build_parser(columns, settings.splits, settings.answer_separator, declared, partial(_arrange, settings))

    def recognize(self, sample: Sample) -> Recognition | None:
        """A tar whose members are images, each with text of the same name; what the text says is not known."""
        matches = [match for name in sample.members if (match := _NAME.fullmatch(name))]
        extensions = {match["extension"] for match in matches}
        pictured = {match["key"] for match in matches if _is_image(match["extension"])}
        told = {match["key"] for match in matches if match["extension"] in _TOLD}
        if not is_tar(sample.start) or 2 * len(pictured & told) <= len(pictured | told):
            return None
        columns = {} if "json" in extensions else {"columns": {"question": "txt", "answers": "cls"}}
        return Recognition(0.9, {"files": sample.name, **columns})

    def _read_shard(
        self, settings: WebDatasetSource, file: BinaryIO, path: Path, most: int | None
    ) -> Iterator[dict[str, Any]]:
        members = _list_members(file, most)
        awaited = Counter(match["key"] for match, _ in members)
        unfinished: dict[str, _Record] = {}
        num_held_bytes = 0
        for match, member in members:
            key, extension = match["key"], match["extension"]
            record = unfinished.setdefault(key, _Record(settings.columns.image))
            num_held_bytes += record.add(extension, _read_part(file, member, extension))
            awaited[key] -= 1
            if not awaited[key]:
                num_held_bytes -= sum(len(image["bytes"]) for image in record.images)
                yield unfinished.pop(key).build_row(key)
            elif num_held_bytes > self.most_held_bytes:
                reason = f"more than {self.most_held_bytes:,} bytes of images lie between the members of a record"
                raise SourceError(settings.name, "files", path, reason, "Sort the members by name, and write it again.")


# ------------------------------------------------------------------------------------------------------------ reading


def _list_members(file: BinaryIO, most: int | None) -> list[tuple[re.Match[str], Member]]:
    """The members that belong to a record; with `most`, of the first so many records, as far as they stand together."""
    listed: list[tuple[re.Match[str], Member]] = []
    keys: set[str] = set()
    for member in list_tar(file):
        match = _NAME.fullmatch(member.name)
        if match is None:
            continue
        keys.add(match["key"])
        if most is not None and len(keys) > most:
            break
        listed.append((match, member))
    return listed


def _is_image(extension: str) -> bool:
    return has_image_suffix(f"x.{extension}")


def _read_part(file: BinaryIO, member: Member, extension: str) -> Any:
    """A member as a field: an image as bytes with their path, JSON parsed, other text as it is."""
    if member.problem is not None:
        return {"unreadable": member.problem}
    is_image = _is_image(extension)
    if not is_image and member.num_bytes > _LARGEST_TEXT:
        return {"num_bytes": member.num_bytes}
    data = read_stretch(file, member)
    if is_image:
        return {"bytes": data, "path": member.name}
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
        return from_json(text) if extension == "json" else text
    except UnicodeDecodeError:
        return {"num_bytes": member.num_bytes}
    except ValueError:
        return text


@dataclass
class _Record:
    """The members of one name, as far as they have been read."""

    image: str | None
    images: list[dict[str, Any]] = field(default_factory=list)
    parts: dict[str, Any] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)

    def add(self, extension: str, part: Any) -> int:
        """Take a member; returns the bytes of an image that is kept in memory from now on."""
        if isinstance(part, dict) and isinstance(part.get("bytes"), bytes):
            if self.image in {None, extension}:
                self.images.append(part)
                return len(part["bytes"])
            part = {"path": part["path"], "num_bytes": len(part["bytes"])}
        if extension in self.parts:
            self.twice.append(extension)
        self.parts[extension] = part
        return 0

    def build_row(self, key: str) -> dict[str, Any]:
        """The record as a row: the fields of `json`, over them what other members say, over these what is ours."""
        told = self.parts.pop("json", {})
        fields = told if isinstance(told, dict) else {"json": told}
        return {**fields, **self.parts, _KEY: key, _IMAGE: self.images, _TWICE: self.twice}


# ------------------------------------------------------------------------------------------------------------ parsing


def _arrange(settings: WebDatasetSource, row: Row) -> Row:
    """The record with its image's reference."""
    images = row.get(_IMAGE)
    if row[_TWICE]:
        reason = f"{row[_KEY]!r} has {', '.join(map(repr, row[_TWICE]))} more than once"
        raise MalformedRecord("record_malformed", reason, "Give each record a name of its own.")
    if isinstance(images, list) and images:
        shown = ", ".join(repr(image["path"]) for image in images[:3])
        reason = f"{row[_KEY]!r} has {len(images)} images ({shown}); a record's name ends at the first dot"
        fix = "Name the image's extension in `columns: {image: …}`, or write names without dots."
        raise MalformedRecord("images_several", reason, fix)
    if isinstance(images, list):
        wanted = f"no member {settings.columns.image!r}" if settings.columns.image else "no image"
        fix = "Bring the image, or name its extension in `columns: {image: …}`."
        raise MalformedRecord("image_path_empty", f"{row[_KEY]!r} has {wanted}", fix)
    return take_image(row, _IMAGE)
