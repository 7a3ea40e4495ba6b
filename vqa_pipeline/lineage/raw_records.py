"""The raw records behind a question: where they lie, what they hold, and whether their file is still what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow.dataset as ds

from vqa_pipeline.errors import SourceError
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.schemas import Frozen, Locator, RecordKind
from vqa_pipeline.sources.containers import MARK
from vqa_pipeline.stages.raw import list_raw_files, read_observed
from vqa_pipeline.store import Version

if TYPE_CHECKING:
    from vqa_pipeline.sources.formats import Source

Row = dict[str, Any]
"""A row of a table, by column."""

FileState = Literal["unchanged", "changed", "missing", "unknown"]
"""Of a source's file since it was read; unknown: the source is no longer declared, or its raw version is gone."""


class RawPlace(Frozen):
    """A raw record and its file."""

    source: str
    kind: RecordKind
    locator: str
    file_state: FileState
    raw: str
    r"""The record as it was read; bytes that are not UTF-8 as `\xff`."""


def find_rows(files: Sequence[Path], condition: ds.Expression, columns: list[str] | None = None) -> list[Row]:
    """Rows of Parquet files that fulfil a condition; row groups that cannot hold one are not read."""
    if not files:
        return []
    rows: list[Row] = ds.dataset([str(file) for file in files]).to_table(columns, filter=condition).to_pylist()
    return rows


def show_raw(raw: bytes) -> str:
    r"""A payload as text; bytes that are not UTF-8 are written out as `\xff`."""
    return raw.decode("utf-8", errors="backslashreplace")


def describe_place(pipeline: Pipeline, source: str, raw: Version | None, row: Mapping[str, Any]) -> RawPlace:
    """A row with `kind`, `locator` and `raw`, and the state of its file."""
    locator = Locator(**row["locator"])
    return RawPlace(
        source=source,
        kind=row["kind"],
        locator=str(locator),
        file_state=find_file_state(pipeline, source, raw, locator.file),
        raw=show_raw(row["raw"]),
    )


def find_file_state(pipeline: Pipeline, source: str, raw: Version | None, name: str) -> FileState:
    """Whether the file of a locator is what the raw version saw; bytes are read only if its size or time moved."""
    if raw is None or _find_settings(pipeline, source) is None:
        return "unknown"
    base = find_base(pipeline, source, raw)
    if base == raw.path:  # generated: published, so it never changes
        return "unchanged"
    file = base / name.partition(MARK)[0] if base else None
    if base is None or file is None or not file.is_file():
        return "missing"
    return "unchanged" if _digest(pipeline, source, base, file) == _recorded(raw, base, file) else "changed"


def find_base(pipeline: Pipeline, source: str, raw: Version) -> Path | None:
    """The folder that the locators of a source start from; None: it is not declared, or its files are not there."""
    from vqa_pipeline.sources.formats.shapes import ShapesSource
    from vqa_pipeline.sources.observation import source_base

    settings = _find_settings(pipeline, source)
    if settings is None or isinstance(settings, ShapesSource):
        return raw.path if settings else None
    try:
        return source_base(settings, pipeline.project_root)
    except SourceError:
        return None


def _find_settings(pipeline: Pipeline, source: str) -> Source | None:
    return next((settings for settings in pipeline.settings.sources if settings.name == source), None)


def _recorded(raw: Version, base: Path, file: Path) -> str | None:
    return list_raw_files(raw).get(file.relative_to(base).as_posix())


def _digest(pipeline: Pipeline, source: str, base: Path, file: Path) -> str:
    from vqa_pipeline.sources.observation import observe_files

    [state] = observe_files([file], base, read_observed(pipeline, source)).values()
    return state.sha256
