"""Raw records become records or rejects, by what the row alone can tell. Streams: memory is one block's.

Writes `questions-*.parquet`, `annotations-*.parquet` and `rejects-*.parquet` into a folder it is given, bucketed by
question id for the plan, and the images that the source's files hold. Reads only the source's own files.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from vqa_pipeline.curation.buckets import write_buckets
from vqa_pipeline.curation.correcting import Corrector, edit, leave_out
from vqa_pipeline.curation.corrections import read_corrections
from vqa_pipeline.curation.digest import format_digest, sum_rows
from vqa_pipeline.curation.image_roots import EmbeddedImagesWriter
from vqa_pipeline.curation.paths import check_reference
from vqa_pipeline.curation.reading_progress import ReadingProgress
from vqa_pipeline.curation.splits import parse_split
from vqa_pipeline.progress import Progress, silent
from vqa_pipeline.schemas import (
    ANNOTATION_RECORDS,
    LOCATOR,
    QUESTION_RECORDS,
    REJECTS,
    AnnotationFields,
    Answer,
    Frozen,
    QuestionFields,
    RawRecord,
    Reject,
    Repair,
    Split,
)
from vqa_pipeline.sources.encodings import Encoding
from vqa_pipeline.sources.formats import Source, get_format
from vqa_pipeline.sources.formats.format import MalformedRecord, Parser, find_json_problem
from vqa_pipeline.sources.formats.split_lists import SplitLists
from vqa_pipeline.sources.observation import FilesSummary, describe_files
from vqa_pipeline.sources.settings import SplitList

BLOCK_ROWS = 50_000
"""Records in memory at once; files have as many rows."""

_QUESTION_CONTENT = [name for name in QUESTION_RECORDS.names if name not in {"locator", "raw", "repairs"}]
_ANNOTATION_CONTENT = [name for name in ANNOTATION_RECORDS.names if name not in {"locator", "raw"}]
_REJECT_CONTENT = ["kind", "rule", "raw"]
_SHOWN_ERRORS = 3
_TOLD_EVERY = 1000


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
    reading = ReadingProgress(source, root, progress)
    corrector = _read_corrector(source, root)
    with _no_cyclic_collection(), _Writer(source.name, output, block_rows) as writer:
        with EmbeddedImagesWriter(output) as images:
            for number, (raw, outcome) in enumerate(validate_records(source, root, corrector=corrector)):
                if raw.image is not None:
                    images.add(raw.image)
                writer.add(raw, outcome)
                if number % _TOLD_EVERY == 0:
                    reading.reach(raw.locator)
        writer.flush()
        reading.end()
        summary = writer.summarize(len(images), describe_files(source, root))
    if corrector is None:
        return summary
    unfit = tuple(one.describe() for one in corrector.list_unfit())
    return summary.model_copy(update={"corrections_by_action": corrector.count(), "unfit_corrections": unfit})


def _read_corrector(source: Source, root: Path) -> Corrector | None:
    return None if source.corrections is None else Corrector(read_corrections(source.name, root / source.corrections))


def validate_records(
    source: Source, root: Path, most: int | None = None, corrector: Corrector | None = None
) -> Iterator[tuple[RawRecord, dict[str, Any] | Reject]]:
    """Each raw record of a source with what becomes of it: a row of its kind's records, or a reject.

    With `most`, only the first so many records of each file. With a corrector, corrections are applied.

    Raises:
        SourceError: a file is missing, unreadable or not of its format.
    """
    lists = SplitLists(source.name, source.splits, root) if isinstance(source.splits, SplitList) else None
    validate = _Validator(source, get_format(source).build_parser(source, root), lists, corrector)
    for raw in get_format(source).read(source, root, most):
        yield raw, validate(raw)


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


class _Validator:
    """The checks that all formats share, on one raw record at a time."""

    def __init__(
        self, source: Source, parse: Parser, lists: SplitLists | None = None, corrector: Corrector | None = None
    ) -> None:
        self.source, self.parse, self.lists, self.corrector = source, parse, lists, corrector
        self.forced: Split | None = parse_split(source.splits) if isinstance(source.splits, str) else None

    def __call__(self, raw: RawRecord) -> dict[str, Any] | Reject:
        question_id: str | None = None
        try:
            fields = self.parse(raw)
            _check_numbers(raw.payload)
            if raw.kind == "annotation":
                question_id = f"{self.source.name}/{fields['native_id']}"
                return self._build_annotation(cast("AnnotationFields", fields), raw, question_id)
            question_id = self._find_id(cast("QuestionFields", fields)) if self.corrector else None
            return self._build_question(cast("QuestionFields", fields), raw, question_id)
        except MalformedRecord as error:
            reject = Reject(error.rule, error.reason, error.fix, raw, question_id)
        except ValidationError as error:
            reject = _explain(error, raw)
        return self._correct_reject(reject)

    def _build_question(
        self, fields: QuestionFields, raw: RawRecord, question_id: str | None
    ) -> dict[str, Any] | Reject:
        """A question; a corrected one keeps the id that it has without correction, so that the two stay together."""
        correction = self.corrector.find(question_id, raw) if self.corrector else None
        corrections: list[Repair] = []
        if correction is not None:
            if correction.action == "drop":
                return leave_out(raw, question_id)
            fields, corrections = edit(fields, correction)
        question = fields["question"]
        if not question.strip():
            raise MalformedRecord("question_empty", "the question is empty", "Write the question, or remove the row.")
        image, repairs = check_reference(fields["image"])
        return {
            "question_id": question_id or self._name_question(fields["native_id"], image, question),
            "native_id": _write_id(fields["native_id"]),
            "image": image,
            "question": question,
            "split": (correction and correction.split) or self.forced or _read_split(self._find_split(fields, image)),
            "question_type": fields["question_type"],
            "answer_type": fields["answer_type"],
            "answers": _check_answers(fields["answers"]),
            "repairs": corrections + repairs,
            "locator": raw.locator,
            "raw": raw.payload,
        }

    def _correct_reject(self, reject: Reject) -> Reject:
        """A row that stays rejected, unless a correction drops it; what else a correction says of it cannot be done."""
        correction = self.corrector.find(reject.question_id, reject.raw) if self.corrector else None
        if self.corrector is None or correction is None:
            return reject
        if correction.action == "drop":
            return leave_out(reject.raw, reject.question_id)
        advice = "waived" if correction.action == "accept" else "mended so: mend the record itself, or drop it"
        self.corrector.refuse(correction, f"{reject.rule}, {reject.reason}; that cannot be {advice}")
        return reject

    def _find_id(self, fields: QuestionFields) -> str | None:
        """The id of a question before it is corrected; None where it has none and none can be made."""
        try:
            image = fields["image"] if fields["native_id"] is not None else check_reference(fields["image"])[0]
        except MalformedRecord:
            return None
        return self._name_question(fields["native_id"], image, fields["question"])

    def _build_annotation(self, fields: AnnotationFields, raw: RawRecord, question_id: str) -> dict[str, Any] | Reject:
        if self.corrector is not None and self.corrector.drops(question_id, raw):
            return leave_out(raw, question_id)
        return {
            "question_id": question_id,
            "question_type": fields["question_type"],
            "answer_type": fields["answer_type"],
            "answers": _check_answers(fields["answers"]),
            "locator": raw.locator,
            "raw": raw.payload,
        }

    def _find_split(self, fields: QuestionFields, image: str) -> str | None:
        return self.lists.find(image, fields["native_id"]) if self.lists else fields["split"]

    def _name_question(self, native_id: int | str | None, image: str, question: str) -> str:
        if native_id is None:
            native_id = hashlib.sha256(f"{len(image)}:{image}{question}".encode()).hexdigest()[:16]
        return f"{self.source.name}/{native_id}"


def _write_id(native_id: int | str | None) -> str | None:
    """An id as JSON; a number, which most are, without the encoder's calls."""
    if native_id is None:
        return None
    return str(native_id) if type(native_id) is int else json.dumps(native_id, ensure_ascii=False)


def _check_numbers(payload: bytes) -> None:
    """Refuse NaN and Infinity, which parsers take for numbers.

    Looks for one letter first, which is found in a quarter of the time and is in few of the long records.
    """
    is_odd = (b"N" in payload and b"NaN" in payload) or (b"I" in payload and b"Infinity" in payload)
    if is_odd and payload.startswith((b"{", b"[")):
        problem = find_json_problem(payload)
        if problem is not None:
            raise problem


def _read_split(word: str | None) -> Split | None:
    if word is None:
        return None
    split = parse_split(word)
    if split is None:
        reason = f"{word!r:.40} is no split"
        raise MalformedRecord("split_unknown", reason, "Write train, val (valid, validation, dev) or test.")
    return split


def _check_answers(answers: list[Answer] | None) -> list[Answer] | None:
    if answers is not None and not any(answer["answer"].strip() for answer in answers):
        raise MalformedRecord("answers_empty", "there is no answer in it", "Write an answer, or remove the row.")
    return answers


def _explain(error: ValidationError, raw: RawRecord) -> Reject:
    """What Pydantic found, in a sentence."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    problem = find_json_problem(raw.payload) if found[0]["type"] == "json_invalid" else None
    if problem is not None:
        return Reject(problem.rule, problem.reason, problem.fix, raw)
    told = [f"{'.'.join(map(str, one['loc'])) or 'the record'}: {one['msg']}" for one in found[:_SHOWN_ERRORS]]
    more = f"; and {len(found) - _SHOWN_ERRORS} more" if len(found) > _SHOWN_ERRORS else ""
    return Reject("record_malformed", "; ".join(told) + more, "Give the record the form of the others.", raw)


_TABLES = {
    "questions": (QUESTION_RECORDS, _QUESTION_CONTENT),
    "annotations": (ANNOTATION_RECORDS, _ANNOTATION_CONTENT),
    "rejects": (REJECTS, _REJECT_CONTENT),
}
"""Kinds of rows with their schema and the columns that their digest covers, in the order of the summary's digest."""


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
        tables = {kind: _build_table(rows, _TABLES[kind][0]) for kind, rows in self.rows.items() if rows}
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

    def summarize(self, num_embedded_images: int, files: FilesSummary) -> RecordsSummary:
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
            data_version=format_digest(*self.sums.values()),
        )


def _build_table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
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
        "locator": reject.raw.locator,
        "raw": reject.raw.payload,
    }
