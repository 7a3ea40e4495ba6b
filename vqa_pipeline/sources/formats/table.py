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

from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import Locator, RawRecord
from vqa_pipeline.sources.columns import guess_columns, guess_split_column
from vqa_pipeline.sources.delimited_records import DelimitedFile
from vqa_pipeline.sources.formats.files import (
    FILES,
    Paths,
    find_base,
    find_image_root,
    find_paths,
    name_file,
    open_rows,
    reading,
)
from vqa_pipeline.sources.formats.format import Parser, Recognition, Sample
from vqa_pipeline.sources.formats.rows import Columns, build_row_parser, find_column_problem, name_columns
from vqa_pipeline.sources.json_records import split_array, split_lines
from vqa_pipeline.sources.settings import ColumnSplits, SourcePath, SourceSettings
from vqa_pipeline.sources.split_words import find_split_word

_BATCH_ROWS = 4096
_LAYOUTS = {"list", "lines", "delimited", "parquet"}
_BLANK = b"\xef\xbb\xbf \t\r\n"
_CORRECTIONS = {"locator", "action", "reason", "raw"}
"""Columns that only a file of corrections has, which lies beside rows and is none of them."""


def _check_delimiter(delimiter: str) -> str:
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise ValueError("must be one character, and neither a quote nor a line break")
    return delimiter


class TableSource(SourceSettings):
    """A table with one question per row: JSON, JSON Lines, CSV, TSV or Parquet, with a column mapping."""

    format: Literal["table"] = Field(description="Kind of source: table.")
    files: Paths = Field(description=FILES)
    image_root: SourcePath | None = Field(
        None, description="Folder, or zip or tar archive, that image references are relative to."
    )
    columns: Columns = Field(Columns(), description="Which field of a row holds what.")
    delimiter: Annotated[str, AfterValidator(_check_delimiter)] | None = Field(
        None, description="Character between the cells of CSV; null: a tab in TSV, else a comma."
    )
    answer_separator: str | None = Field(
        None, min_length=1, description="Splits one text into several answers, such as `;`."
    )
    splits: ColumnSplits = Field(
        "by_image",
        description="by_image (a pure function of the image), {column: NAME}, train, val, test or {list: FILES}.",
    )


class TableFormat:
    """Rows of any of five kinds of file, told apart by content and, for TSV, suffix."""

    def find_files(self, settings: TableSource, root: Path) -> list[Path]:
        """The files that `files` names."""
        return find_paths(settings.name, "files", settings.files, root, without=settings.corrections)

    def find_image_root(self, settings: TableSource, root: Path) -> Path | None:
        """The folder or archive that `image_root` names."""
        return find_image_root(settings.name, settings.image_root, root)

    def read(self, settings: TableSource, root: Path, most: int | None = None) -> Iterator[RawRecord]:
        """Every row of every file; payloads are JSON objects, or the line as it is where it is not one."""
        base = find_base(self.find_files(settings, root), self.find_image_root(settings, root))
        for path in self.find_files(settings, root):
            with reading(settings.name, "files", path):
                yield from itertools.islice(_read_file(settings, path, name_file(path, base)), most)

    def build_parser(self, settings: TableSource, root: Path) -> Parser:  # noqa: ARG002 - every format is given its root
        """The function from a row to its fields."""
        return build_row_parser(settings.columns, settings.splits, settings.answer_separator)

    def recognize(self, sample: Sample) -> Recognition | None:
        """Rows with a question and an image, by the names of their columns; every other format is surer of its own."""
        rows = [record for record in sample.records if isinstance(record, Mapping)]
        is_corrections = bool(rows) and rows[0].keys() >= _CORRECTIONS
        columns = guess_columns(rows) if sample.layout in _LAYOUTS and not is_corrections else {}
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
        yield RawRecord("question", row.payload, Locator(name, number, None, row.byte_offset, row.line))


def _read_parquet(settings: TableSource, file: BinaryIO, path: Path, name: str) -> Iterator[RawRecord]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            schema = parquet.schema_arrow
            _check_columns(settings, path, schema.names)
            _check_types(settings, path, {field.name: field.type for field in schema})
            batches = parquet.iter_batches(
                batch_size=_BATCH_ROWS, columns=name_columns(settings.columns, settings.splits)
            )
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
            fix = "Map a column of texts in `columns`; images as bytes are read by `format: hf_parquet`."
            raise SourceError(settings.name, "columns", path, reason, fix)


def _describe_unreadable(value: Any) -> dict[str, str]:
    """Stands for a cell that JSON cannot hold (bytes, dates); no column may be one, so its row is rejected."""
    return {"unreadable": type(value).__name__}


def _check_delimited(settings: TableSource, path: Path, rows: DelimitedFile) -> None:
    """Refuse a header whose columns are only there by another delimiter."""
    named = name_columns(settings.columns, settings.splits)
    if set(named) <= set(rows.header):
        return
    other = rows.suggest_delimiter(named)
    if other is not None:
        reason = f"its header has {other!r} between its columns, but it was read by {rows.delimiter!r}"
        fix = f"Give the source `delimiter: {json.dumps(other)}`."
        raise SourceError(settings.name, "delimiter", path, reason, fix, line=1)


def _check_columns(settings: TableSource, path: Path, present: list[str]) -> None:
    problem = find_column_problem(name_columns(settings.columns, settings.splits), present)
    if problem:
        raise SourceError(settings.name, "columns", path, problem, "Correct the mapping in `columns`.", line=1)
