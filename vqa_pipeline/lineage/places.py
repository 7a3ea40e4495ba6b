"""What became of the raw records at a place: a line of a source's file, or a record by its number."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.lineage.raw_records import RawPlace, Row, describe_place, find_base, find_rows
from vqa_pipeline.lineage.versions import follow, tell_candidate
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.schemas import Fate
from vqa_pipeline.sources.containers import open_content
from vqa_pipeline.sources.encodings import read_as_utf_8
from vqa_pipeline.stages.stage import open_store
from vqa_pipeline.store import Store, Version

_PLACE = re.compile(r"(?P<file>.+?)(?::(?P<line>\d+)|\[(?P<record>\d+)\])(?:\.(?P<item>\d+))?", re.DOTALL)


class Place(NamedTuple):
    """A line or record of a file, as a person or a locator writes it: `a.csv:3`, `a.json[2]`, `a.json[2].1`."""

    file: str
    line: int | None
    record: int | None
    item: int | None


class Became(RawPlace):
    """A raw record, and what became of it."""

    question_id: str | None = Field(description="Of the question, or the one that an annotation answers.")
    fate: Fate
    rule: str | None = Field(description="The rule that settled it; null: it is accepted.")
    reason: str | None
    fix: str | None


def parse_place(text: str) -> Place:
    """Read a place.

    Raises:
        SettingsError: it names no line and no record.
    """
    match = _PLACE.fullmatch(text)
    if match is None:
        fix = "Write FILE:LINE, or FILE[RECORD] with the record's number from 0, as every page and command does."
        raise SettingsError("--source", f"{text} names no line or record of a file", fix)
    line, record, item = (None if match[name] is None else int(match[name]) for name in ("line", "record", "item"))
    return Place(match["file"], line, record, item)


def trace_place(pipeline: Pipeline, text: str) -> list[Became]:
    """The raw records at a place and their fates in the current dataset, in the order of the file.

    Args:
        pipeline: Whose sources.
        text: `FILE:LINE`, `FILE[RECORD]` or `FILE[RECORD].ITEM`; the file as locators name it, or a path to it.

    Raises:
        SettingsError: the place is not written as one, or nothing was read there.
        NotPublished: there is no dataset.
    """
    place, store = parse_place(text), open_store(pipeline)
    dataset = store.require("dataset")
    sources = [asset.partition("/")[2] for asset in dataset.manifest.inputs if asset.startswith("records/")]
    found = [one for source in sources for one in _trace_in(pipeline, store, dataset, source, place)]
    if not found:
        fix = "Locators in pages, `rejects` and `trace QUESTION_ID` show how the files of each source are named."
        raise SettingsError("--source", f"no record of the dataset was read at {text}", fix + tell_candidate(store))
    return found


def _trace_in(pipeline: Pipeline, store: Store, dataset: Version, source: str, place: Place) -> Iterator[Became]:
    """What became of the records of one source at a place."""
    records, raw = follow(store, dataset, f"records/{source}"), follow(store, dataset, f"raw/{source}")
    base = find_base(pipeline, source, raw) if raw else None
    name = _name_in_source(place.file, base)
    is_in_file = pc.field("locator", "file") == name
    tables = _list_tables(dataset, records, source)
    locators = [row["locator"] for one in tables for row in one.find(is_in_file, ["locator"])]
    numbers = _choose_records(locators, place, base / name if base else None)
    is_here = is_in_file & pc.field("locator", "record").isin(pa.array(numbers, pa.int64()))
    if place.item is not None:
        is_here &= pc.field("locator", "item") == place.item
    rows: dict[tuple[str, str], Row] = {}
    for row in (row for one in tables for row in one.find(is_here) if numbers):
        rows.setdefault((row["kind"], str(row["locator"])), row)  # what a reject says comes first
    for row in sorted(rows.values(), key=lambda row: (row["locator"]["record"], row["locator"]["item"] or 0)):
        told = {name: row[name] for name in ("question_id", "fate", "rule", "reason", "fix")}
        yield Became(**dict(describe_place(pipeline, source, raw, row)), **told)


class _Table(NamedTuple):
    """Files with rows of one source, and what is the same of them all."""

    files: Sequence[Path]
    condition: pc.Expression
    said: Row

    def find(self, condition: pc.Expression, columns: list[str] | None = None) -> list[Row]:
        return [{**self.said, **row} for row in find_rows(self.files, self.condition & condition, columns)]


def _list_tables(dataset: Version, records: Version | None, source: str) -> list[_Table]:
    """The source's rows that were not accepted, then all its records; of those that are no rejects, accepted."""
    rejects = sorted((dataset.path / "rejects").glob("*.parquet"))
    tables = [_Table(rejects, pc.field("source") == source, {})]
    if records is None:
        return tables
    for kind in ("question", "annotation"):
        files = sorted(records.path.glob(f"{kind}s-*.parquet"))
        accepted = {"kind": kind, "fate": "accepted", "rule": None, "reason": None, "fix": None}
        tables.append(_Table(files, pc.field("question_id").is_valid(), accepted))
    return tables


def _name_in_source(file: str, base: Path | None) -> str:
    """A file as locators name it: as it is, unless it is a path to a file below the source's base."""
    path = Path(os.path.abspath(file))  # noqa: PTH100 - resolve() would follow links
    return path.relative_to(base).as_posix() if base is not None and path.is_relative_to(base) else file


def _choose_records(locators: Sequence[Mapping[str, Any]], place: Place, file: Path | None) -> list[int]:
    """Numbers of the records at a place, out of the locators in its file.

    A format without lines tells where its records' bytes begin: those on the line are meant, else the one around it.
    """
    if place.line is None:
        return [] if place.record is None else [place.record]
    by_line = sorted({one["record"] for one in locators if one["line"] == place.line})
    begins = sorted({(one["byte_offset"], one["record"]) for one in locators if one["byte_offset"] is not None})
    span = _find_line(file, place.line) if file and begins and not by_line else None
    if span is None:
        return by_line
    here = [record for offset, record in begins if span[0] <= offset < span[1]]
    return here or [record for offset, record in begins if offset < span[0]][-1:]


def _find_line(file: Path, line: int) -> tuple[int, int] | None:
    """Where a line begins and ends, in bytes of the file as UTF-8; None where there is no such line or file."""
    begin = 0
    with suppress(OSError), open_content(file) as content:
        for number, text in enumerate(read_as_utf_8(content), 1):
            if number == line:
                return begin, begin + len(text)
            begin += len(text)
    return None
