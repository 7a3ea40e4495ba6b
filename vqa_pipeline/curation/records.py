"""A source's records as files: read, validated and written block by block, with a summary. Memory is one block's.

Writes `questions-*.parquet`, `annotations-*.parquet` and `rejects-*.parquet` into a folder it is given, bucketed by
question id for the plan, and the images that the source's files hold.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from vqa_pipeline.curation.buckets import write_buckets
from vqa_pipeline.curation.correcting import Corrector
from vqa_pipeline.curation.corrections import read_corrections
from vqa_pipeline.curation.digest import format_digest, sum_rows
from vqa_pipeline.curation.embedded_images import EmbeddedImagesWriter
from vqa_pipeline.curation.reading_progress import ReadingProgress
from vqa_pipeline.curation.record_fields import FieldTally
from vqa_pipeline.curation.validation import validate_records
from vqa_pipeline.progress import Progress, silent
from vqa_pipeline.schemas import (
    ANNOTATION_RECORDS,
    LOCATOR,
    QUESTION_RECORDS,
    REJECTS,
    Frozen,
    RawRecord,
    Reject,
)
from vqa_pipeline.sources.encodings import Encoding
from vqa_pipeline.sources.formats import Source
from vqa_pipeline.sources.observation import FilesSummary, describe_files

BLOCK_ROWS = 50_000
"""Records in memory at once; files have as many rows."""

_QUESTION_CONTENT = [name for name in QUESTION_RECORDS.names if name not in {"locator", "raw", "repairs"}]
_ANNOTATION_CONTENT = [name for name in ANNOTATION_RECORDS.names if name not in {"locator", "raw"}]
_REJECT_CONTENT = ["kind", "rule", "raw"]
_TOLD_EVERY = 1000

_TABLES = {
    "questions": (QUESTION_RECORDS, _QUESTION_CONTENT),
    "annotations": (ANNOTATION_RECORDS, _ANNOTATION_CONTENT),
    "rejects": (REJECTS, _REJECT_CONTENT),
}
"""Kinds of rows with their schema and the columns that their digest covers, in the order of the summary's digest."""


class RecordsSummary(Frozen):
    """What became of a source's raw records."""

    num_question_records: int = Field(description="Question records read, valid or not.")
    num_annotation_records: int = Field(description="Annotation records read, valid or not.")
    num_questions: int = Field(description="Valid question records.")
    num_annotations: int = Field(description="Valid annotation records.")
    num_rejects: int = Field(description="Records rejected by what they alone tell.")
    num_embedded_images: int = Field(description="Distinct images that the source's own files hold.")
    has_annotations: bool = Field(description="Whether answers are in records of their own.")
    num_files: int = Field(description="Files and members of archives that the records were read from.")
    num_junk_files: int = Field(description="Files passed by in their folders and archives, such as Thumbs.db.")
    encodings: dict[str, Encoding] = Field(description="Of files that are not plain UTF-8, by name in locators.")
    rejects_by_rule: dict[str, int]
    repairs_by_kind: dict[str, int]
    corrections_by_action: dict[str, int] = Field({}, description="Corrections that were applied.")
    unfit_corrections: tuple[str, ...] = Field((), description="Corrections that fit no row, and why.")
    fields: dict[str, dict[str, int]] = Field(description="Of the first raw records, see `record_fields.Fields`.")
    data_version: str = Field(description="Order-independent digest of the rows, without locators.")


def validate_source(
    source: Source, root: Path, output: Path, *, block_rows: int = BLOCK_ROWS, progress: Progress = silent
) -> RecordsSummary:
    """Read a source and write its records and rejects into `output`.

    Args:
        source: Settings of the source.
        root: Folder that relative paths in the settings start from.
        output: An empty folder.
        block_rows: Records to collect before they are written.
        progress: Is told how much of the files is read.

    Raises:
        SourceError: a file is missing, unreadable or not of its format.
    """
    reading, fields = ReadingProgress(source, root, progress), FieldTally()
    corrector = _read_corrector(source, root)
    with _no_cyclic_collection(), _Writer(source.name, output, block_rows) as writer:
        with EmbeddedImagesWriter(output) as images:
            for number, (raw, outcome) in enumerate(validate_records(source, root, corrector=corrector)):
                if raw.image is not None:
                    images.add(raw.image)
                fields.look(raw)
                writer.add(raw, outcome)
                if number % _TOLD_EVERY == 0:
                    reading.reach(raw.locator)
        writer.flush()
        reading.end()
        summary = writer.summarize(len(images), describe_files(source, root), fields.describe())
    if corrector is None:
        return summary
    unfit = tuple(one.describe() for one in corrector.list_unfit())
    return summary.model_copy(update={"corrections_by_action": corrector.count(), "unfit_corrections": unfit})


def _read_corrector(source: Source, root: Path) -> Corrector | None:
    return None if source.corrections is None else Corrector(read_corrections(source.name, root / source.corrections))


@contextmanager
def _no_cyclic_collection() -> Iterator[None]:
    """Millions of live dictionaries make the cyclic collector the dearest part of reading; none of them is a cycle."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Writer:
    """Collects rows in blocks and counts them; a block is digested and written while the next one is collected."""

    def __init__(self, source: str, output: Path, block_rows: int) -> None:
        self.source, self.output, self.block_rows = source, output, block_rows
        self.rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _TABLES}
        self.num_rows = self.num_blocks = 0
        self.read: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()
        self.rules: Counter[str] = Counter()
        self.repairs: Counter[str] = Counter()
        self.sums = dict.fromkeys(_TABLES, 0)
        self._behind = ThreadPoolExecutor(max_workers=1, thread_name_prefix="records")
        self._in_work: dict[str, Future[int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._behind.shutdown(cancel_futures=True)

    def add(self, raw: RawRecord, outcome: dict[str, Any] | Reject) -> None:
        self.read[raw.kind] += 1
        if isinstance(outcome, Reject):
            self.rules[outcome.rule] += 1
            self.rows["rejects"].append(describe_reject(self.source, outcome))
        elif raw.kind == "question":
            if outcome["repairs"]:
                self.repairs.update(repair["kind"] for repair in outcome["repairs"])
            self.rows["questions"].append(outcome)
        else:
            self.rows["annotations"].append(outcome)
        self.num_rows += 1
        if self.num_rows >= self.block_rows:
            self._start_block()

    def _start_block(self) -> None:
        """Hand the rows over; there is one block in work, so that memory does not depend on who is faster."""
        tables = {kind: build_table(rows, _TABLES[kind][0]) for kind, rows in self.rows.items() if rows}
        self.rows, self.num_rows = {kind: [] for kind in _TABLES}, 0
        self._end_block()
        for kind, table in tables.items():
            self.kept[kind] += table.num_rows
            path = self.output / f"{kind}-{self.num_blocks:05d}.parquet"
            self._in_work[kind] = self._behind.submit(_write_table, table, kind, path)
        self.num_blocks += 1

    def _end_block(self) -> None:
        for kind, written in self._in_work.items():
            self.sums[kind] += written.result()
        self._in_work = {}

    def flush(self) -> None:
        self._start_block()
        self._end_block()

    def summarize(
        self, num_embedded_images: int, files: FilesSummary, fields: dict[str, dict[str, int]]
    ) -> RecordsSummary:
        return RecordsSummary(
            num_question_records=self.read["question"],
            num_annotation_records=self.read["annotation"],
            num_questions=self.kept["questions"],
            num_annotations=self.kept["annotations"],
            num_rejects=self.kept["rejects"],
            num_embedded_images=num_embedded_images,
            has_annotations=self.read["annotation"] > 0,
            **files._asdict(),
            rejects_by_rule=dict(sorted(self.rules.items())),
            repairs_by_kind=dict(sorted(self.repairs.items())),
            fields=fields,
            data_version=format_digest(*self.sums.values()),
        )


def build_table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """The rows as a table, column by column: in half the time of `from_pylist`."""
    columns = [_build_column([row[field.name] for row in rows], field) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _build_column(values: list[Any], field: pa.Field) -> pa.Array:
    if field.name != "locator":
        return pa.array(values, field.type)
    parts = [pa.array(part, kind.type) for part, kind in zip(zip(*values, strict=True), LOCATOR, strict=True)]
    return pa.StructArray.from_arrays(parts, fields=list(LOCATOR))


def _write_table(table: pa.Table, kind: str, path: Path) -> int:
    """Write a table; returns the sum of its rows' hashes."""
    if kind == "rejects":
        pq.write_table(table, path, compression="zstd", compression_level=1)
    else:
        write_buckets(table, "question_id", path)
    return sum_rows(table, _TABLES[kind][1])


def describe_reject(source: str, reject: Reject) -> dict[str, Any]:
    """A reject as a row of `schemas.REJECTS`."""
    return {
        "source": source,
        "kind": reject.raw.kind,
        "question_id": reject.question_id,
        "fate": reject.fate,
        "rule": reject.rule,
        "reason": reject.reason,
        "fix": reject.fix,
        "image": reject.image,
        "locator": reject.raw.locator,
        "raw": reject.raw.payload,
    }
