"""`tsv_base64`: tab-separated rows with the image in base64, in two layouts that the first line tells apart.

With a header, as VLMEvalKit writes it: `index, image, question, answer`, perhaps options in columns `A`, `B`, …: an
answer that is the letter of such a column is the text in it. An image of a few characters is the `index` of an earlier
row with the same image.

Without, as OFA writes it: six cells, id, image id, question, answers, objects, image. Answers are
`score|!+answer&&score|!+answer`; the scores are those that the official metric gives, so each answer is listed as often
as annotators, of ten, must have given it.

    - name: bench
      format: tsv_base64
      files: raw/MMBench_DEV_EN.tsv     # DEV: these questions are val, as `splits: declared` reads it

Sources: https://github.com/open-compass/VLMEvalKit (docs/en/Development.md),
https://github.com/OFA-Sys/OFA (datasets.md)
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left
from collections.abc import Iterator
from functools import partial
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from pydantic import Field
from pydantic_core import from_json

from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import Locator, RawRecord
from vqa_pipeline.sources.delimited_records import DelimitedFile
from vqa_pipeline.sources.formats.embedded import (
    FILE_SPLITS,
    build_parser,
    build_record,
    describe_image,
    encode_row,
    guess_settings,
    take_image,
)
from vqa_pipeline.sources.formats.files import (
    FILES,
    Paths,
    declare_splits,
    find_base,
    find_paths,
    name_file,
    open_rows,
    reading,
)
from vqa_pipeline.sources.formats.format import MalformedRecord, Parser, Recognition, Sample
from vqa_pipeline.sources.formats.rows import Columns, Row, find_column_problem, name_columns
from vqa_pipeline.sources.settings import SourceSettings, SplitColumn, Splits

_OFA_CELLS = 6
_SHOWN = 400
_LONGEST_LINE = 1 << 28
_LONGEST_INDEX = 64
"""Characters of an image's cell; what is longer is the image. Source: VLMEvalKit, vlmeval/dataset/image_base.py."""

_BETWEEN_ANSWERS, _AFTER_SCORE = "&&", "|!+"
_CREDITS = (0.3, 0.6, 0.9, 1.0)
"""What the official metric gives an answer that 1, 2, 3, 4 or more of ten annotators gave."""

_TO_STANDARD = str.maketrans("-_", "+/")


class TsvBase64Source(SourceSettings):
    """Tab-separated rows with the image in base64, as VLMEvalKit (header) or OFA (none) write them."""

    format: Literal["tsv_base64"] = Field(description="Kind of source: tsv_base64.")
    files: Paths = Field(description=FILES)
    columns: Columns = Field(
        Columns(id="index", answers="answer"), description="Which column holds what, in files that have a header."
    )
    answer_separator: str | None = Field(
        None, min_length=1, description="Splits one text into several answers, such as `;`."
    )
    splits: Splits = Field("declared", description=FILE_SPLITS)


class TsvBase64Format:
    """Rows of TSV files, each with its image."""

    def find_files(self, settings: TsvBase64Source, root: Path) -> list[Path]:
        """The files that `files` names."""
        return find_paths(settings.name, "files", settings.files, root, without=settings.corrections)

    def find_image_root(self, settings: TsvBase64Source, root: Path) -> Path | None:  # noqa: ARG002 - as every format
        """None: the images are in the rows."""
        return None

    def read(self, settings: TsvBase64Source, root: Path, most: int | None = None) -> Iterator[RawRecord]:
        """Every row of every file."""
        paths = self.find_files(settings, root)
        base = find_base(paths, None)
        for path in paths:
            with reading(settings.name, "files", path), open_rows(path) as file:
                images = _Images(settings.columns)
                for number, line in enumerate(islice(_read_lines(settings, file, path), most)):
                    locator = Locator(name_file(path, base), number, None, line.byte_offset, line.number)
                    if line.row is None:
                        yield RawRecord("question", line.payload, locator)
                    else:
                        yield images.build_record(line.row, locator)

    def build_parser(self, settings: TsvBase64Source, root: Path) -> Parser:
        """The function from a row to its fields."""
        declared = declare_splits(settings.splits, self.find_files(settings, root), None, root)
        arrange = partial(_arrange, settings.columns)
        return build_parser(settings.columns, settings.splits, settings.answer_separator, declared, arrange)

    def recognize(self, sample: Sample) -> Recognition | None:
        """Rows with a question and a long cell of base64, or bare lines of six cells that end with one."""
        if sample.layout == "text" and sample.records:
            cells = str(sample.records[0]).split("\t")
            is_bare = len(cells) == _OFA_CELLS and _AFTER_SCORE in cells[3] and _is_image(cells[-1])
            return Recognition(0.95, {"files": sample.name}) if is_bare else None
        if sample.layout != "delimited" or not sample.records:
            return None
        held = next((column for column, cell in sample.records[0].items() if _is_image(cell)), None)
        settings = guess_settings(sample.records, held) if held else None
        return Recognition(0.95, {"files": sample.name, **settings}) if settings else None


# ------------------------------------------------------------------------------------------------------------ reading


class _Line(NamedTuple):
    """A row of a file."""

    number: int
    """Of the line that it begins in, from 1."""
    byte_offset: int
    payload: bytes
    row: dict[str, Any] | None
    """None: the payload is not a row of this layout."""


def _read_lines(settings: TsvBase64Source, file: BufferedReader, path: Path) -> Iterator[_Line]:
    first = file.peek().splitlines()[:1]
    named = name_columns(settings.columns, settings.splits)
    cells = b"".join(first).removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").rstrip("\r\n").split("\t")
    if len(cells) == _OFA_CELLS and not set(named) & set(cells):
        if isinstance(settings.splits, SplitColumn):
            reason = f"has no header, so there is no column {settings.splits.column!r}"
            raise SourceError(settings.name, "splits", path, reason, "Set train, val, test or by_image.", line=1)
        return _read_bare_lines(settings.columns, file)
    problem = find_column_problem(named, cells)
    if problem is None:
        return _read_headed_lines(file, path)
    fix = f"Correct the mapping in `columns`; a file without a header has {_OFA_CELLS} cells per line."
    raise SourceError(settings.name, "columns", path, problem[:_SHOWN], fix, line=1)


def _read_headed_lines(file: BinaryIO, path: Path) -> Iterator[_Line]:
    for row in DelimitedFile(file, path.name, "\t"):
        try:
            fields = from_json(row.payload, allow_inf_nan=False)
        except ValueError:
            fields = None
        yield _Line(row.line, row.byte_offset, row.payload, fields if isinstance(fields, dict) else None)


def _read_bare_lines(columns: Columns, file: BinaryIO) -> Iterator[_Line]:
    """Lines without quoting: their cells under the names that `columns` gives."""
    names = [columns.id or "id", "image_id", columns.question, columns.answers or "answers", "objects", columns.image]
    place = end = 0
    for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""), 1):
        place, end = end, end + len(line)
        whole = line.rstrip(b"\r\n")
        try:
            cells = whole.decode().split("\t")
        except UnicodeDecodeError:
            yield _Line(number, place, whole, None)
            continue
        if len(cells) == len(names):
            yield _Line(number, place, whole, dict(zip(names, cells, strict=True)))
        elif whole.strip():
            yield _Line(number, place, encode_row(cells), None)


class _Images:
    """The images of a file's rows: in the row itself, or in an earlier one that it names."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._earlier: dict[str, dict[str, Any]] = {}

    def build_record(self, row: dict[str, Any], locator: Locator) -> RawRecord:
        """The row with its image as bytes; what is not base64 stays the text it is."""
        column, index = self._columns.image, row.get(self._columns.id or "")
        text = row[column]
        if len(text) <= _LONGEST_INDEX:
            return build_record({**row, column: self._earlier.get(text, text)}, column, locator)
        record = build_record({**row, column: decode_base64(text) or text}, column, locator)
        if record.image is not None and isinstance(index, str):
            self._earlier[index] = describe_image(record.image)
        return record


def _is_image(cell: Any) -> bool:
    return isinstance(cell, str) and len(cell) > _LONGEST_INDEX and decode_base64(cell) is not None


def decode_base64(text: str) -> bytes | None:
    """The bytes that base64 stands for, in the standard or the URL-safe alphabet, with or without padding; else None.

    A `data:` prefix, as web pages have it, is skipped.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    text = text.strip().rstrip("=").translate(_TO_STANDARD)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True) or None
    except (binascii.Error, ValueError):
        return None


# ------------------------------------------------------------------------------------------------------------ parsing


def _arrange(columns: Columns, row: Row) -> Row:
    """The row with its image's reference, and its answers as texts."""
    if isinstance(row.get(columns.image), str):
        reason = f"`{columns.image}` holds {row[columns.image][:20]!r}, which is no image in base64"
        fix = "Export the row again; an image of another row must come after that row."
        raise MalformedRecord("image_not_base64", reason, fix)
    row = take_image(row, columns.image)
    if columns.answers is None or not isinstance(row.get(columns.answers), str):
        return row
    return {**row, columns.answers: _read_answers(columns.answers, row[columns.answers], row)}


def _read_answers(column: str, text: str, row: Row) -> str | list[dict[str, Any]]:
    if _AFTER_SCORE in text:
        return [answer for part in text.split(_BETWEEN_ANSWERS) for answer in _repeat(column, part)]
    if len(text) == 1 and "A" <= text <= "Z" and {"A", "B", text} <= row.keys():
        option = row[text]
        if not option:
            reason = f"`{column}` is {text}, but column {text} is empty"
            raise MalformedRecord("record_malformed", reason, "Correct the answer, or bring the option.")
        return str(option)
    return text


def _repeat(column: str, part: str) -> list[dict[str, Any]]:
    """An answer as often as annotators, of ten, must have given it to earn its score."""
    score, _, answer = part.partition(_AFTER_SCORE)
    try:
        credit = float(score)
    except ValueError:
        credit = -1.0
    if not 0 < credit <= 1:
        reason = f"`{column}` holds {part[:40]!r}, but a score in (0, 1] stands before `{_AFTER_SCORE}`"
        raise MalformedRecord("record_malformed", reason, "Correct the answers.")
    return [{"answer": answer}] * (bisect_left(_CREDITS, credit - 1e-6) + 1)
