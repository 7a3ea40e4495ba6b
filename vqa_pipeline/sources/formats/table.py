"""`table`: any table with one question per row: JSON, JSON Lines, CSV, TSV or Parquet, with a column mapping.

Reading is streamed. Values stay what the file says: a CSV cell "None" or "NA" is an answer, not a missing one.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import AfterValidator, Field
from pydantic_core import from_json

from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import Answer, Frozen, Locator, QuestionFields, RawRecord
from vqa_pipeline.sources.columns import guess_columns, guess_split_column
from vqa_pipeline.sources.delimited_records import DelimitedFile
from vqa_pipeline.sources.formats.files import Paths, find_base, find_folder, find_paths, name_file, open_rows, reading
from vqa_pipeline.sources.formats.format import MalformedRecord, Parser, Recognition, Sample, find_json_problem
from vqa_pipeline.sources.json_records import split_array, split_lines
from vqa_pipeline.sources.settings import ColumnSplits, SourcePath, SourceSettings, SplitColumn
from vqa_pipeline.sources.split_words import find_split_word

_BATCH_ROWS = 4096
_LAYOUTS = {"list", "lines", "delimited", "parquet"}
_BLANK = b"\xef\xbb\xbf \t\r\n"
_INT64 = range(-(2**63), 2**63)


def _check_delimiter(delimiter: str) -> str:
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise ValueError("must be one character, and neither a quote nor a line break")
    return delimiter


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

    format: Literal["table"] = Field(description="Kind of source: table.")
    files: Paths = Field(description="Files or globs, relative to the project; gzip is recognised by content.")
    image_root: SourcePath | None = Field(None, description="Folder that image references are relative to.")
    columns: Columns = Field(Columns(), description="Which field of a row holds what.")
    delimiter: Annotated[str, AfterValidator(_check_delimiter)] | None = Field(
        None, description="Character between the cells of CSV; null: a tab in TSV, else a comma."
    )
    answer_separator: str | None = Field(
        None, min_length=1, description="Splits one text into several answers, such as `;`."
    )
    splits: ColumnSplits = Field(
        "by_image", description="by_image (a pure function of the image), {column: NAME}, train, val or test."
    )


class TableFormat:
    """Rows of any of five kinds of file, told apart by content and, for TSV, suffix."""

    def find_files(self, settings: TableSource, root: Path) -> list[Path]:
        """The files that `files` names."""
        return find_paths(settings.name, "files", settings.files, root)

    def find_image_root(self, settings: TableSource, root: Path) -> Path | None:
        """The folder that `image_root` names."""
        return find_folder(settings.name, "image_root", settings.image_root, root)

    def read(self, settings: TableSource, root: Path, most: int | None = None) -> Iterator[RawRecord]:
        """Every row of every file; payloads are JSON objects, or the line as it is where it is not one."""
        base = find_base(self.find_files(settings, root), self.find_image_root(settings, root))
        for path in self.find_files(settings, root):
            with reading(settings.name, "files", path):
                yield from itertools.islice(_read_file(settings, path, name_file(path, base)), most)

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

    def recognize(self, sample: Sample) -> Recognition | None:
        """Rows with a question and an image, by the names of their columns; every other format is surer of its own."""
        rows = [record for record in sample.records if isinstance(record, Mapping)]
        columns = guess_columns(rows) if sample.layout in _LAYOUTS else {}
        if not {"question", "image"} <= columns.keys():
            return None
        column, word = guess_split_column(rows), find_split_word(sample.name)
        splits = {"splits": {"column": column} if column else word} if column or word else {}
        named = columns if "answers" in columns else {**columns, "answers": None}
        return Recognition(0.3, {"files": sample.name, "columns": named, **_guess_delimiter(sample, columns), **splits})


def _guess_delimiter(sample: Sample, columns: Mapping[str, str]) -> dict[str, str]:
    if sample.layout != "delimited":
        return {}
    rows = DelimitedFile(io.BytesIO(sample.start), sample.name)
    other = None if set(columns.values()) <= set(rows.header) else rows.suggest_delimiter(columns.values())
    return {"delimiter": other} if other else {}


# ------------------------------------------------------------------------------------------------------------ reading


def _read_file(settings: TableSource, path: Path, name: str) -> Iterator[RawRecord]:
    with open_rows(path) as file:
        start = file.peek()
        first = start.lstrip(_BLANK)[:1]
        if not first:
            raise SourceError(settings.name, "files", path, "is blank", "Bring the file, or correct `files`.")
        if start.startswith(b"PAR1"):
            yield from _read_parquet(settings, file, path, name)
        elif first == b"[":
            for number, part in enumerate(split_array(file)):
                yield RawRecord("question", part.payload, Locator(name, number, byte_offset=part.byte_offset))
        elif first == b"{":
            yield from _read_lines(settings, file, path, name)
        else:
            yield from _read_delimited(settings, file, path, name)


def _read_lines(settings: TableSource, file: BinaryIO, path: Path, name: str) -> Iterator[RawRecord]:
    lines = split_lines(file)
    begin = list(itertools.islice(lines, 2))
    if not any(part.payload.endswith(b"}") for _, part in begin):  # one bad line may be, two are another format
        reason = "is neither a list of objects nor one object per line"
        raise SourceError(settings.name, "files", path, reason, "Export it as a JSON list or as JSON Lines.", line=1)
    for number, (line, part) in enumerate(itertools.chain(begin, lines)):
        yield RawRecord("question", part.payload, Locator(name, number, None, part.byte_offset, line))


def _read_delimited(settings: TableSource, file: BinaryIO, path: Path, name: str) -> Iterator[RawRecord]:
    rows = DelimitedFile(file, path.name, settings.delimiter)
    _check_delimited(settings, path, rows)
    _check_columns(settings, path, rows.header)
    for number, row in enumerate(rows):
        yield RawRecord("question", row.payload, Locator(name, number, line=row.line))


def _read_parquet(settings: TableSource, file: BinaryIO, path: Path, name: str) -> Iterator[RawRecord]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            schema = parquet.schema_arrow
            _check_columns(settings, path, schema.names)
            _check_types(settings, path, {field.name: field.type for field in schema})
            batches = parquet.iter_batches(batch_size=_BATCH_ROWS, columns=_name_columns(settings))
            rows = itertools.chain.from_iterable(batch.to_pylist() for batch in batches)
            for number, row in enumerate(rows):
                payload = json.dumps(row, ensure_ascii=False, default=_describe_unreadable).encode()
                yield RawRecord("question", payload, Locator(name, number))
    except pa.ArrowException as error:
        reason = f"is damaged Parquet ({error})"
        raise SourceError(settings.name, "files", path, reason, "Write or download it again.") from error


def _check_types(settings: TableSource, path: Path, types: Mapping[str, Any]) -> None:
    """Refuse columns of texts that hold something else, such as images as bytes, before each row is rejected."""
    import pyarrow as pa

    columns = settings.columns
    for column in (columns.image, columns.question):
        kind = types[column].value_type if pa.types.is_dictionary(types[column]) else types[column]
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
            reason = f"column {column!r} holds {types[column]}, but this format reads texts there"
            fix = "Map a column of texts in `columns`; images are named by their path below `image_root`."
            raise SourceError(settings.name, "columns", path, reason, fix)


def _describe_unreadable(value: Any) -> dict[str, str]:
    """Stands for a cell that JSON cannot hold (bytes, dates); no column may be one, so its row is rejected."""
    return {"unreadable": type(value).__name__}


def _name_columns(settings: TableSource) -> list[str]:
    named = [column for column in settings.columns.model_dump().values() if column is not None]
    return named + ([settings.splits.column] if isinstance(settings.splits, SplitColumn) else [])


def _check_delimited(settings: TableSource, path: Path, rows: DelimitedFile) -> None:
    """Refuse a header whose columns are only there by another delimiter."""
    named = _name_columns(settings)
    if set(named) <= set(rows.header):
        return
    other = rows.suggest_delimiter(named)
    if other is not None:
        reason = f"its header has {other!r} between its columns, but it was read by {rows.delimiter!r}"
        fix = f"Give the source `delimiter: {json.dumps(other)}`."
        raise SourceError(settings.name, "delimiter", path, reason, fix, line=1)


def _check_columns(settings: TableSource, path: Path, present: list[str]) -> None:
    named = _name_columns(settings)
    missing = [column for column in named if column not in present]
    doubled = [column for column in named if present.count(column) > 1]
    problem = "no column" if missing else "more than one column"
    if missing or doubled:
        culprits = ", ".join(map(repr, missing or doubled))
        reason = f"has {problem} {culprits}; its columns are {', '.join(map(repr, present))}"
        raise SourceError(settings.name, "columns", path, reason, "Correct the mapping in `columns`.", line=1)


# ------------------------------------------------------------------------------------------------------------ parsing


def _parse_object(payload: bytes) -> Mapping[str, Any]:
    try:
        row = from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        raise _explain_unreadable(payload) from error
    if isinstance(row, dict):
        return row
    reason = f"the row is {_name_type(row)}, not an object"
    if isinstance(row, list):
        reason = f"the row has {len(row)} cells, another number than the header"
    raise MalformedRecord("record_malformed", reason, "Give the row the fields that the others have.")


def _explain_unreadable(payload: bytes) -> MalformedRecord:
    problem = find_json_problem(payload)
    if problem is not None and (problem.rule == "record_not_utf_8" or payload.lstrip()[:1] in (b"", b"{", b"[")):
        return problem
    reason = "the row's cells cannot be told: a quote is not closed, or stands in a quoted cell without being doubled"
    return MalformedRecord("record_malformed", reason, "Close each quote; write a quote inside a cell twice.")


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
        value = [part.strip() for part in value.split(separator) if part.strip()]
    listed = value if isinstance(value, list) else [value]
    return [_take_answer(column, number, item) for number, item in enumerate(listed, 1)]


def _take_answer(column: str, number: int, value: Any) -> Answer:
    """An answer as text; a number is written out, as people write "3".

    An answer without id gets its position, `number`: equal answers of several annotators must not count as one.
    """
    fields = value if isinstance(value, dict) else {"answer": value}
    answer = _write_out(fields.get("answer"))
    answer_id, confidence = fields.get("answer_id"), fields.get("answer_confidence")
    if answer is None:
        given = _name_type(fields.get("answer"))
        reason = f"answer {number} in `{column}` is {given}, but an answer is a text or a number"
        raise MalformedRecord("record_malformed", reason, f"Make every answer in `{column}` a text.")
    if answer_id is not None and not (type(answer_id) is int and answer_id in _INT64):
        reason = f"`answer_id` of answer {number} in `{column}` is {_name_type(answer_id)}, but it is a 64-bit integer"
        raise MalformedRecord("record_malformed", reason, "Number the answers, or leave `answer_id` out.")
    if not isinstance(confidence, str | None):
        reason = f"`answer_confidence` of answer {number} in `{column}` is {_name_type(confidence)}, but it is a text"
        raise MalformedRecord("record_malformed", reason, "Write yes, maybe or no, or leave it out.")
    return Answer(answer=answer, answer_id=number if answer_id is None else answer_id, answer_confidence=confidence)


def _write_out(value: Any) -> str | None:
    """A text or number as text; None for what is neither."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


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
