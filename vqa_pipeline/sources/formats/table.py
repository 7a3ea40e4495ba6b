"""`table`: any table with one question per row: JSON, JSON Lines, CSV, TSV or Parquet, with a column mapping.

Reading is streamed. Values stay what the file says: a CSV cell "None" or "NA" is an answer, not a missing one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import Field

from vqa_pipeline.errors import SourceError
from vqa_pipeline.files import open_file
from vqa_pipeline.schemas import Answer, Frozen, Locator, QuestionFields, RawRecord
from vqa_pipeline.sources.formats.files import Paths, find_base, find_folder, find_paths, name_file, reading
from vqa_pipeline.sources.formats.format import MalformedRecord, Parser
from vqa_pipeline.sources.json_records import split_array, split_lines
from vqa_pipeline.sources.settings import SourcePath, SourceSettings, SplitColumn

_BATCH_ROWS = 4096
_CSV_FIELD_LIMIT = 1 << 24  # Python's own 131,072 is too small for cells that people really have


class Columns(Frozen):
    """Which field of a row holds what."""

    question: str = Field("question", description="The question.")
    image: str = Field("image", description="Image reference, relative to `image_root`.")
    answers: str | None = Field(
        "answers", description="One answer, a list of answers, or a list of objects with `answer`; null: unanswered."
    )
    id: str | None = Field(None, description="The row's own id; null: made from image and question.")
    question_type: str | None = Field(None, description="Kind of question, for tables of accuracy.")
    answer_type: str | None = Field(None, description="Kind of answer, for tables of accuracy.")


class TableSource(SourceSettings):
    """A table with one question per row: JSON, JSON Lines, CSV, TSV or Parquet, with a column mapping."""

    format: Literal["table"]
    files: Paths = Field(description="Files or globs, relative to the project; gzip is recognised by content.")
    image_root: SourcePath | None = Field(None, description="Folder that image references are relative to.")
    columns: Columns = Field(Columns(), description="Which field of a row holds what.")
    answer_separator: str | None = Field(
        None, min_length=1, description="Splits one text into several answers, such as `;`."
    )


class TableFormat:
    """Rows of any of five kinds of file, told apart by content and, for TSV, suffix."""

    def find_files(self, settings: TableSource, root: Path) -> list[Path]:
        """The files that `files` names."""
        return find_paths(settings.name, "files", settings.files, root)

    def find_image_root(self, settings: TableSource, root: Path) -> Path | None:
        """The folder that `image_root` names."""
        return find_folder(settings.name, "image_root", settings.image_root, root)

    def read(self, settings: TableSource, root: Path) -> Iterator[RawRecord]:
        """Every row of every file; payloads are JSON objects, or the line as it is where it is not one."""
        base = find_base(self.find_files(settings, root), self.find_image_root(settings, root))
        for path in self.find_files(settings, root):
            with reading(settings.name, "files", path):
                yield from _read_file(settings, path, name_file(path, base))

    def build_parser(self, settings: TableSource, root: Path) -> Parser:  # noqa: ARG002 - every format is given its root
        """The function from a row to its fields."""
        columns = settings.columns
        split_column = settings.splits.column if isinstance(settings.splits, SplitColumn) else None

        def parse(raw: RawRecord) -> QuestionFields:
            row = _parse_object(raw.payload)
            return QuestionFields(
                native_id=_take_id(row, columns.id),
                image=_take_text(row, columns.image, "image"),
                question=_take_text(row, columns.question, "question"),
                split=_take_optional_text(row, split_column),
                question_type=_take_optional_text(row, columns.question_type),
                answer_type=_take_optional_text(row, columns.answer_type),
                answers=_take_answers(row, columns.answers, settings.answer_separator),
            )

        return parse


# ------------------------------------------------------------------------------------------------------------ reading


def _read_file(settings: TableSource, path: Path, name: str) -> Iterator[RawRecord]:
    with open_file(path) as file:
        start = file.read(4)
        if start == b"PAR1":
            yield from _read_parquet(settings, path, name)
            return
        file.seek(0)
        first = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if first == b"[":
            for number, part in enumerate(split_array(file)):
                yield RawRecord("question", part.payload, Locator(name, number, byte_offset=part.byte_offset))
        elif first == b"{":
            for number, (line, part) in enumerate(split_lines(file)):
                yield RawRecord("question", part.payload, Locator(name, number, None, part.byte_offset, line))
        else:
            yield from _read_delimited(settings, file, path, name)


def _read_delimited(settings: TableSource, file: BinaryIO, path: Path, name: str) -> Iterator[RawRecord]:
    """CSV or TSV with a header. The csv module keeps line numbers through quoted line breaks; memory is one row's."""
    csv.field_size_limit(_CSV_FIELD_LIMIT)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    is_tsv = ".tsv" in [suffix.lower() for suffix in path.suffixes]
    rows = csv.reader(text, delimiter="\t" if is_tsv else ",")
    header = next(rows, [])
    _check_columns(settings, path, header)
    begin = rows.line_num + 1
    number = 0
    for cells in rows:
        if cells:
            payload = json.dumps(dict(zip(header, cells, strict=False)), ensure_ascii=False).encode()
            if len(cells) != len(header):
                payload = json.dumps(cells, ensure_ascii=False).encode()  # not a row of this table; rejected as it is
            yield RawRecord("question", payload, Locator(name, number, line=begin))
            number += 1
        begin = rows.line_num + 1


def _read_parquet(settings: TableSource, path: Path, name: str) -> Iterator[RawRecord]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        _check_columns(settings, path, file.schema_arrow.names)
        wanted = [column for column in _name_columns(settings) if column in file.schema_arrow.names]
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
            for row in batch.to_pylist():
                payload = json.dumps(row, ensure_ascii=False, default=_describe_unreadable).encode()
                yield RawRecord("question", payload, Locator(name, number))
                number += 1


def _describe_unreadable(value: Any) -> dict[str, str]:
    """Stands for a cell that JSON cannot hold (bytes, dates); no column may be one, so its row is rejected."""
    return {"unreadable": type(value).__name__}


def _name_columns(settings: TableSource) -> list[str]:
    named = [column for column in settings.columns.model_dump().values() if column is not None]
    return named + ([settings.splits.column] if isinstance(settings.splits, SplitColumn) else [])


def _check_columns(settings: TableSource, path: Path, present: list[str]) -> None:
    missing = [column for column in _name_columns(settings) if column not in present]
    if missing:
        reason = f"has no column {', '.join(map(repr, missing))}; its columns are {', '.join(map(repr, present))}"
        raise SourceError(settings.name, "columns", path, reason, "Correct the mapping in `columns`.", line=1)


# ------------------------------------------------------------------------------------------------------------ parsing


def _parse_object(payload: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(payload, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedRecord("record_not_json", f"the row is not JSON ({error})", "Mend or remove the row.") from error
    if not isinstance(row, dict):
        reason = f"the row is a {type(row).__name__} of {len(row)} cells, not a record with the header's fields"
        if not isinstance(row, list):
            reason = f"the row is {row!r:.60}, not an object"
        raise MalformedRecord("record_malformed", reason, "Give the row the fields that the others have.")
    return row


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _take(row: Mapping[str, Any], column: str) -> Any:
    if column not in row:
        raise MalformedRecord("record_malformed", f"the row has no `{column}`", f"Add the field `{column}`.")
    return row[column]


def _take_text(row: Mapping[str, Any], column: str, meaning: str) -> str:
    value = _take(row, column)
    if isinstance(value, str):
        return value
    reason = f"`{column}` is {_name_type(value)}, but a {meaning} is a text"
    raise MalformedRecord("record_malformed", reason, f"Make `{column}` a text.")


def _take_optional_text(row: Mapping[str, Any], column: str | None) -> str | None:
    if column is None or row.get(column) is None or row.get(column) == "":
        return None
    return _take_text(row, column, "category")


def _take_id(row: Mapping[str, Any], column: str | None) -> int | str | None:
    if column is None:
        return None
    value = _take(row, column)
    if isinstance(value, int | str) and not isinstance(value, bool) and value != "":
        return value
    reason = f"`{column}` is {_name_type(value)}, but an id is a text or an integer"
    raise MalformedRecord("record_malformed", reason, f"Give the row an id in `{column}`.")


def _take_answers(row: Mapping[str, Any], column: str | None, separator: str | None) -> list[Answer] | None:
    if column is None:
        return None
    value = _take(row, column)
    if value is None:
        return None
    if isinstance(value, str) and separator is not None:
        value = [part.strip() for part in value.split(separator)]
    listed = value if isinstance(value, list) else [value]
    return [_take_answer(column, number, item) for number, item in enumerate(listed, 1)]


def _take_answer(column: str, number: int, value: Any) -> Answer:
    """An answer as text; a number is written out, as people write "3"."""
    answer_id: Any = number
    confidence: Any = None
    if isinstance(value, dict):
        answer_id, confidence = value.get("answer_id"), value.get("answer_confidence")
        value = value.get("answer")
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value:g}" if isinstance(value, float) else str(value)
    if not isinstance(value, str) or not isinstance(answer_id, int | None) or not isinstance(confidence, str | None):
        reason = f"answer {number} in `{column}` is {_name_type(value)}, but an answer is a text or a number"
        raise MalformedRecord("record_malformed", reason, f"Make every answer in `{column}` a text.")
    return Answer(answer=value, answer_id=answer_id, answer_confidence=confidence)


_TYPE_NAMES = {
    "NoneType": "null",
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
    "str": "a text",
    "list": "a list",
    "dict": "an object",
}


def _name_type(value: Any) -> str:
    return _TYPE_NAMES[type(value).__name__]
