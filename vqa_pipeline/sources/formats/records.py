"""What most formats share: files of JSON records, one after another, each asking one question or several.

A format built on it says how records lie in a file (a layout), what a record must be (a Pydantic type, strict, checked
on its raw bytes) and which questions it asks. Streams; never judges: a record that is not of its type is read as one
row, and the parser says what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Generic, NamedTuple, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from vqa_pipeline.schemas import Answer, Locator, QuestionFields, RawRecord
from vqa_pipeline.sources.formats.files import Paths, find_base, find_image_root, find_paths, read_each
from vqa_pipeline.sources.formats.format import MalformedRecord, Parser, Recognition, Sample
from vqa_pipeline.sources.json_records import Slice, split_array, split_lines, split_object
from vqa_pipeline.sources.settings import SourcePath, SourceSettings

Settings = TypeVar("Settings", bound="RecordsSource")
Record = TypeVar("Record")


class RecordsSource(SourceSettings):
    """Files of records, and a folder of images."""

    files: Paths = Field(description="Files or globs, relative to the project; gzip is recognised by content.")
    image_root: SourcePath | None = Field(
        None, description="Folder, or zip or tar archive, that image references are relative to."
    )


class Part(NamedTuple):
    """A record's bytes and where they lie in their file."""

    payload: bytes
    byte_offset: int
    line: int | None = None


Layout = Callable[[BinaryIO], Iterator[Part]]
"""How the records of a file are found. Raises `json_records.JsonError` for a file that is not laid out so."""


def in_list(key: str | None = None) -> Layout:
    """The elements of the file's array, or of the one under `key` of the file's object."""
    return lambda stream: map(_to_part, split_array(stream, key))


def in_object(stream: BinaryIO) -> Iterator[Part]:
    """The members of the file's object, each as an object of one member, so that a record keeps its key."""
    for part in split_object(stream):
        key = json.dumps(part.key, ensure_ascii=False).encode()
        yield Part(b"{" + key + b": " + part.payload + b"}", part.byte_offset)


def in_lines(stream: BinaryIO) -> Iterator[Part]:
    """The lines that are not blank."""
    for line, part in split_lines(stream):
        yield Part(part.payload, part.byte_offset, line)


def _to_part(part: Slice) -> Part:
    return Part(part.payload, part.byte_offset)


@dataclass(frozen=True)
class RecordsFormat(Generic[Settings, Record]):
    """A format by what is its own.

    Args:
        layout: How records lie in a file.
        record: What a record must be.
        ask: The questions of a record, in its order; it raises `MalformedRecord` for one that asks nothing right. The
            locator names the file, for formats whose ids restart in each.
        recognition: How surely a file is of this format.
    """

    layout: Layout
    record: TypeAdapter[Record]
    ask: Callable[[Settings, Record, Locator], Sequence[QuestionFields]]
    recognition: Callable[[Sample], Recognition | None]

    def find_files(self, settings: Settings, root: Path) -> list[Path]:
        """The files that `files` names."""
        return find_paths(settings.name, "files", settings.files, root)

    def find_image_root(self, settings: Settings, root: Path) -> Path | None:
        """The folder or archive that `image_root` names."""
        return find_image_root(settings.name, settings.image_root, root)

    def read(self, settings: Settings, root: Path) -> Iterator[RawRecord]:
        """Every question of every record; a record that is not of its type, or asks nothing, is one row."""
        paths = self.find_files(settings, root)
        base = find_base(paths, self.find_image_root(settings, root))
        asked = _Memory(partial(self._ask, settings))
        for name, number, part in read_each(settings.name, "files", paths, base, self.layout):
            whole = RawRecord("question", part.payload, Locator(name, number, None, part.byte_offset, part.line))
            num_items = asked.count(whole)
            if num_items == 1:
                yield whole
            else:
                for item in range(num_items):
                    yield whole._replace(locator=whole.locator._replace(item=item))

    def build_parser(self, settings: Settings, root: Path) -> Parser:  # noqa: ARG002 - every format is given its root
        """The function from a row to its fields."""
        asked = _Memory(partial(self._ask, settings))

        def parse(raw: RawRecord) -> QuestionFields:
            questions = asked(raw)
            if not questions:
                reason = "the record asks no question"
                raise MalformedRecord("question_missing", reason, "Nothing to do, or bring its questions.")
            return questions[raw.locator.item or 0]

        return parse

    def recognize(self, sample: Sample) -> Recognition | None:
        """How surely a file is of this format."""
        return self.recognition(sample)

    def _ask(self, settings: Settings, raw: RawRecord) -> Sequence[QuestionFields]:
        return self.ask(settings, self.record.validate_json(raw.payload), raw.locator)


class _Memory:
    """The questions of the record at hand: those of one record come one after another, and it is parsed once."""

    def __init__(self, ask: Callable[[RawRecord], Sequence[QuestionFields]]) -> None:
        self._ask = ask
        self._payload: bytes | None = None
        self._questions: Sequence[QuestionFields] = ()

    def __call__(self, raw: RawRecord) -> Sequence[QuestionFields]:
        if raw.payload is not self._payload:
            self._payload = None
            self._questions = self._ask(raw)
            self._payload = raw.payload
        return self._questions

    def count(self, raw: RawRecord) -> int:
        """How many rows a record is: at least one, so that each record has a fate."""
        try:
            return max(1, len(self(raw)))
        except (MalformedRecord, ValidationError):
            return 1


def take_answers(*texts: str) -> list[Answer]:
    """Answers without ids of their own; each gets its position, so that equal ones do not count as one."""
    return [Answer(answer=text, answer_id=number, answer_confidence=None) for number, text in enumerate(texts, 1)]


def write_out(value: Any) -> str:
    """A JSON value that stands for an answer as text, as the file writes it: `3`, `true`, `2.5`."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
