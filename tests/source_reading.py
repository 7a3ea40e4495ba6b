"""Reads a source as curation does, for the tests of formats: every row with its fields, or with what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from vqa_pipeline.schemas import AnnotationFields, QuestionFields, RawRecord
from vqa_pipeline.sources.formats import Source, get_format
from vqa_pipeline.sources.formats.format import MalformedRecord, Sample

SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


class Row(NamedTuple):
    raw: RawRecord
    fields: QuestionFields | AnnotationFields | None
    error: MalformedRecord | ValidationError | None


def read_rows(root: Path, kind: str, files: Any = None, **settings: Any) -> list[Row]:
    """Every row of a source called `s`, of a kind of format; `files` are settings too, left out where the format has none."""
    given = {"name": "s", "format": kind, **({"files": files} if files else {}), **settings}
    source = SOURCE.validate_python(given)
    parse = get_format(source).build_parser(source, root)
    rows = []
    for raw in get_format(source).read(source, root):
        try:
            rows.append(Row(raw, parse(raw), None))
        except (MalformedRecord, ValidationError) as error:
            rows.append(Row(raw, None, error))
    return rows


def read_fields(root: Path, kind: str, files: Any = None, **settings: Any) -> list[Any]:
    """The fields of every row, none of which is wrong."""
    rows = read_rows(root, kind, files, **settings)
    assert [row.error for row in rows] == [None] * len(rows)
    return [row.fields for row in rows]


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def write_lines(path: Path, *records: Any) -> None:
    """JSON Lines, without a line break at the end, as some are published."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")


def number_answers(*texts: str) -> list[dict[str, Any]]:
    """Answers as a format gives them when the file knows no ids."""
    return [{"answer": text, "answer_id": number, "answer_confidence": None} for number, text in enumerate(texts, 1)]


def sample_list(name: str, records: list[Any]) -> Sample:
    """A sample of a file with a JSON array."""
    return Sample(name, json.dumps(records).encode(), "list", {}, tuple(records))


def sample_object(name: str, members: dict[str, Any], records: list[Any]) -> Sample:
    """A sample of a file with a JSON object; its records are those of an array inside, or its values."""
    return Sample(name, json.dumps(members).encode(), "object", members, tuple(records))


def sample_lines(name: str, *records: Any) -> Sample:
    """A sample of a JSON Lines file."""
    return Sample(name, b"\n".join(json.dumps(record).encode() for record in records), "lines", {}, records)


def sample_text(name: str, text: str) -> Sample:
    """A sample of a file of lines that are not JSON."""
    return Sample(name, text.encode(), "text", {}, tuple(text.splitlines()))
