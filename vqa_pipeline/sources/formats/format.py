"""What a source format is. One file per format: its settings beside its reader; the table is in `formats/__init__`.

A reader streams raw records and never judges them; a parser turns one raw record into fields, or says why not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from pydantic_core import from_json

from vqa_pipeline.schemas import AnnotationFields, QuestionFields, RawRecord
from vqa_pipeline.sources.json_records import breaks_off

Parser = Callable[[RawRecord], QuestionFields | AnnotationFields]


class MalformedRecord(ValueError):
    """A raw record breaks a rule of its format; curation turns this into a reject, with its locator."""

    def __init__(self, rule: str, reason: str, fix: str) -> None:
        self.rule, self.reason, self.fix = rule, reason, fix
        super().__init__(reason)


def find_json_problem(payload: bytes) -> MalformedRecord | None:
    """What keeps a payload from being JSON, as RFC 8259 has it: NaN and Infinity are none; None: it is JSON."""
    try:
        from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        if breaks_off(payload):
            fix = "Bring its file whole, or remove the record."
            return MalformedRecord("record_truncated", f"the record breaks off: {error}", fix)
        return _find_bad_byte(payload) or MalformedRecord(
            "record_not_json", f"the record is not JSON ({error})", "Mend or remove it."
        )
    return None


def _find_bad_byte(payload: bytes) -> MalformedRecord | None:
    try:
        payload.decode()
    except UnicodeDecodeError as bad:
        reason = f"the record is not UTF-8 (byte 0x{payload[bad.start]:02x} at position {bad.start})"
        return MalformedRecord("record_not_utf_8", reason, "Mend the record, or save its file as UTF-8.")
    return None


Layout = Literal["list", "object", "lines", "delimited", "parquet", "archive", "text", "binary"]


@dataclass(frozen=True)
class Sample:
    """A little of a file, to recognise its format by."""

    name: str
    """The file's path below the folder inspected, `/` between parts."""
    start: bytes
    """The first bytes of the content, decompressed: at most a megabyte."""
    layout: Layout
    """A JSON array; a JSON object; JSON Lines; a table of cells with a header; Parquet; zip or tar; other text."""
    fields: Mapping[str, Any]
    """An object's members as far as they were seen whole or in part; of a table, its header's names with types."""
    records: tuple[Any, ...]
    """The first records, parsed: of an array or the array inside an object, of lines, rows of a table; the values of
    an object keyed by id; of other text, its lines."""
    members: tuple[str, ...] = ()
    """Names of the first members of an archive."""


class Recognition(NamedTuple):
    """What a format says of a file that it recognises."""

    certainty: float
    """In (0, 1]: 1 is a shape that no other format has; several formats may claim a file, and the surest wins."""
    settings: Mapping[str, Any]
    """Settings of the source beside `name` and `format`. The first one names the file: `sample.name`, or a folder above
    it. Files with one first setting and equal others are one source; with another first setting, halves of one."""


class Format(Protocol):
    """A family of source files.

    `settings` is always the format's own settings class; `root` is where relative paths in the settings start.
    """

    def find_files(self, settings: Any, root: Path) -> list[Path]:
        """The files with rows, in reading order; a member of an archive is a path too (see `containers`).

        Raises:
            SourceError: a named file or folder does not exist, or a glob matches nothing.
        """
        ...

    def find_image_root(self, settings: Any, root: Path) -> Path | None:
        """The folder or archive that image references are relative to; None when there is none beside the files.

        Raises:
            SourceError: it does not exist.
        """
        ...

    def read(self, settings: Any, root: Path, most: int | None = None) -> Iterator[RawRecord]:
        """Every record of every file, streamed: memory does not grow with the files.

        With `most`, only the first so many records of each file, to look at a source without reading it all.

        Raises:
            SourceError: a file cannot be read or is not of this format.
        """
        ...

    def build_parser(self, settings: Any, root: Path) -> Parser:
        """The function from a raw record to its fields.

        The parser raises `MalformedRecord` or `pydantic.ValidationError` for a record that is not of this format.
        """
        ...

    def recognize(self, sample: Sample) -> Recognition | None:
        """How surely a file is of this format, and the settings that read it; None: it is not. Reads nothing."""
        ...
