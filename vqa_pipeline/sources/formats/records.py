"""What most formats share: files of JSON records, one after another, each asking one question or several.

A format built on it says how records lie in a file (a layout), what a record must be (a Pydantic type, strict, checked
on its raw bytes) and which questions it asks. Streams; never judges: a record that is not of its type is read as one
row, and the parser says what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Generic, NamedTuple, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from vqa_pipeline.schemas import Answer, Locator, QuestionFields, RawRecord
from vqa_pipeline.sources.formats.files import (
    FILES,
    Paths,
    declare_splits,
    find_base,
    find_image_root,
    find_paths,
    read_each,
)
from vqa_pipeline.sources.formats.format import MalformedRecord, Recognition, Sample
from vqa_pipeline.sources.json_records import Scalar, Slice, read_scalars, split_array, split_lines, split_object
from vqa_pipeline.sources.settings import SourcePath, SourceSettings, SplitColumn
from vqa_pipeline.sources.split_words import find_split_word

_BLANK = b"\xef\xbb\xbf \t\r\n"

Settings = TypeVar("Settings", bound="RecordsSource")
Record = TypeVar("Record")
Item = TypeVar("Item")

Key = Annotated[str, Field(min_length=1)]

Id = int | Key
"""A record's own id."""

Entry = Annotated[dict[Key, Item], Field(min_length=1, max_length=1)]
"""A member of an object keyed by id, as `in_object` finds it."""

QuestionParser = Callable[[RawRecord], QuestionFields]

Asked = QuestionFields | MalformedRecord | ValidationError
"""A question of a record, or what is wrong with this one while the others are right."""


class RecordsSource(SourceSettings):
    """Files of records, and a folder of images."""

    files: Paths = Field(description=FILES)
    image_root: SourcePath | None = Field(
        None, description="Folder, or zip or tar archive, that image references are relative to."
    )


class Part(NamedTuple):
    """A record's bytes and where they lie in their file."""

    payload: bytes
    byte_offset: int
    line: int | None = None


Layout = Callable[[BufferedReader], Iterator[Part]]
"""How the records of a file are found. Raises `json_records.JsonError` for a file that is not laid out so."""


def in_list(key: str | None = None) -> Layout:
    """The elements of the file's array, or of the one under `key` of the file's object."""
    return lambda stream: map(_to_part, split_array(stream, key))


def in_object(stream: BinaryIO) -> Iterator[Part]:
    """The members of the file's object, each as an object of one member, so that a record keeps its key."""
    for part in split_object(stream):
        key = b""
        if part.key is not None:  # half a character in it costs its row
            key = json.dumps(part.key, ensure_ascii=False).encode(errors="surrogatepass") + b": "
        yield Part(b"{" + key + part.payload + b"}" * part.is_whole, part.byte_offset)


def in_lines(stream: BinaryIO) -> Iterator[Part]:
    """The lines that are not blank."""
    for line, part in split_lines(stream):
        yield Part(part.payload, part.byte_offset, line)


def in_list_or_lines(stream: BufferedReader) -> Iterator[Part]:
    """The elements of the file's array, or the lines of a file that does not begin with one."""
    is_list = stream.peek().lstrip(_BLANK).startswith(b"[")
    return in_list()(stream) if is_list else in_lines(stream)


def _to_part(part: Slice) -> Part:
    return Part(part.payload, part.byte_offset)


@dataclass(frozen=True)
class RecordsFormat(Generic[Settings, Record]):
    """A format by what is its own.

    Args:
        layout: How records lie in a file.
        record: What a record must be; always validated strictly.
        ask: The questions of a record, in its order; it raises `MalformedRecord` for one that asks nothing right. The
            locator names the file, for formats whose ids restart in each. `split` is what the record itself declares.
        recognition: How surely a file is of this format.
        split_key: The member of a file's object that declares a split for all of its records.
    """

    layout: Layout
    record: TypeAdapter[Record]
    ask: Callable[[Settings, Record, Locator], Sequence[Asked]]
    recognition: Callable[[Sample], Recognition | None]
    split_key: str | None = None

    def find_files(self, settings: Settings, root: Path) -> list[Path]:
        """The files that `files` names."""
        return find_paths(settings.name, "files", settings.files, root, without=settings.corrections)

    def find_image_root(self, settings: Settings, root: Path) -> Path | None:
        """The folder or archive that `image_root` names."""
        return find_image_root(settings.name, settings.image_root, root)

    def read(self, settings: Settings, root: Path, most: int | None = None) -> Iterator[RawRecord]:
        """Every question of every record; a record that is not of its type, or asks nothing, is one row."""
        paths = self.find_files(settings, root)
        base = find_base(paths, self.find_image_root(settings, root))
        asked = _Memory(partial(self._ask, settings))
        for name, number, part in read_each(settings.name, "files", paths, base, self.layout, most):
            whole = RawRecord("question", part.payload, Locator(name, number, None, part.byte_offset, part.line))
            num_items = asked.count(whole)
            if num_items == 1:
                yield whole
            else:
                for item in range(num_items):
                    yield whole._replace(locator=whole.locator._replace(item=item))

    def build_parser(self, settings: Settings, root: Path) -> QuestionParser:
        """The function from a row to its fields."""
        asked = _Memory(partial(self._ask, settings))
        splits_of_files = self._read_splits(settings, root)

        def parse(raw: RawRecord) -> QuestionFields:
            questions = asked(raw)
            if not questions:
                reason = "the record asks no question"
                raise MalformedRecord("question_missing", reason, "Nothing to do, or bring its questions.")
            question = questions[raw.locator.item or 0]
            if isinstance(question, Exception):
                raise question
            if settings.splits == "declared":
                return question | {"split": _find_split(question, splits_of_files, raw.locator)}
            return question if isinstance(settings.splits, SplitColumn) else question | {"split": None}

        return parse

    def _read_splits(self, settings: Settings, root: Path) -> dict[str, Scalar]:
        """What each file declares under `split_key`, else by its name; nothing is looked for where nobody asks."""
        if settings.splits != "declared":
            return {}
        paths, image_root = self.find_files(settings, root), self.find_image_root(settings, root)
        splits: dict[str, Scalar] = dict(declare_splits(settings.splits, paths, image_root, root))
        if self.split_key is not None:
            base = find_base(paths, image_root)
            headers = read_each(settings.name, "files", paths, base, lambda stream: iter([read_scalars(stream)]))
            splits |= {name: header[self.split_key] for name, _, header in headers if header.get(self.split_key)}
        return splits

    def recognize(self, sample: Sample) -> Recognition | None:
        """How surely a file is of this format."""
        return self.recognition(sample)

    def _ask(self, settings: Settings, raw: RawRecord) -> Sequence[Asked]:
        return self.ask(settings, self.record.validate_json(raw.payload, strict=True), raw.locator)


def _find_split(question: QuestionFields, splits_of_files: Mapping[str, Scalar], locator: Locator) -> str:
    """The split that a record declares, else its file or the file's name."""
    split = question["split"] or splits_of_files.get(locator.file)
    if isinstance(split, str):
        return split
    reason = f"neither the record nor its file declares a split, nor does the file's name, {locator.file}"
    raise MalformedRecord("split_unknown", reason, "Set `splits` of the source: train, val, test or by_image.")


class _Memory:
    """The questions of the record at hand: those of one record come one after another, and it is parsed once."""

    def __init__(self, ask: Callable[[RawRecord], Sequence[Asked]]) -> None:
        self._ask = ask
        self._payload: bytes | None = None
        self._questions: Sequence[Asked] = ()

    def __call__(self, raw: RawRecord) -> Sequence[Asked]:
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


def ask_each(items: Iterable[Item], ask: Callable[[Item], QuestionFields]) -> list[Asked]:
    """The questions of a record's items, one each; what is wrong with one costs only that one."""
    return [_ask_one(item, ask) for item in items]


def _ask_one(item: Item, ask: Callable[[Item], QuestionFields]) -> Asked:
    try:
        return ask(item)
    except (MalformedRecord, ValidationError) as error:
        return error


def take_answers(*texts: str) -> list[Answer]:
    """Answers without ids of their own; each gets its position, so that equal ones do not count as one."""
    return [Answer(answer=text, answer_id=number, answer_confidence=None) for number, text in enumerate(texts, 1)]


def write_out(value: Any) -> str:
    """A JSON value that stands for an answer as text, as the file writes it: `3`, `true`, `2.5`."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def hold(sample: Sample, *fields: str) -> bool:
    """Whether most of a sample's records are objects with all of these fields."""
    fitting = [record for record in sample.records if isinstance(record, Mapping) and record.keys() >= set(fields)]
    return 2 * len(fitting) > len(sample.records)


def claim(sample: Sample, certainty: float, **settings: Any) -> Recognition:
    """The recognition of a file whose format needs no more than `files` and, perhaps, some other settings."""
    return Recognition(certainty, {"files": sample.name, **settings})


def claim_by_name(sample: Sample, certainty: float) -> Recognition:
    """The recognition of a file whose split only its name can declare."""
    return claim(sample, certainty, splits="declared" if find_split_word(sample.name) else "by_image")
