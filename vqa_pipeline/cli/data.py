"""Commands about data: rejects."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from vqa_pipeline.cli.options import AsJson, DeclarationFile, PipelineName, find_pipeline
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.reporting.escaping import escape_control, shorten
from vqa_pipeline.store import Store

_GROUP = "Data"
_RAW_CHARACTERS = 300


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command(rich_help_panel=_GROUP)(rejects)


class Selection(NamedTuple):
    """Rows that were not accepted, some of them shown."""

    folder: Path
    """The dataset's version, or its candidate."""
    is_candidate: bool
    """It failed a gate and was not published."""
    rules: Sequence[str]
    """Every rule that a row of this dataset broke."""
    num_matching: int
    shown: Sequence[dict[str, Any]]


def rejects(
    pipeline: PipelineName = None,
    file: DeclarationFile = None,
    rule: Annotated[str | None, typer.Option("--rule", help="Only rows that break this rule.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Only rows of this source.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many rows.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Rows that were not accepted: where, which rule, why, how to mend them, and the row itself."""
    chosen = find_pipeline(pipeline, file)
    selection = select_rejects(chosen, rule, source, limit)
    if as_json:
        told = {
            "pipeline": chosen.name,
            "path": os.path.relpath(selection.folder),
            "published": not selection.is_candidate,
            "num_matching": selection.num_matching,
            "rejects": selection.shown,
        }
        print(json.dumps(told, indent=1))
        return
    print(_describe_selection(chosen.name, selection))
    for row in selection.shown:
        print(_format(row))
    if not selection.shown and selection.rules:
        print(f"rules of rows that were not accepted: {', '.join(selection.rules)}")


def select_rejects(pipeline: Pipeline, rule: str | None, source: str | None, limit: int) -> Selection:
    """Rows of the current dataset that were not accepted, or of the candidate that failed a gate since.

    Raises:
        SettingsError: the pipeline has no such source.
        NotPublished: there is neither.
    """
    from vqa_pipeline.reporting.rejects import count_rejects, read_rejects

    names = [declared.name for declared in pipeline.settings.sources]
    if source not in {None, *names}:
        raise SettingsError("--source", f"there is no source {source}", f"Sources declared: {', '.join(names)}.")
    store = Store(pipeline.store_folder, pipeline.scratch_folder)
    candidate = store.find_failed("dataset")
    folder = candidate or store.require("dataset").path
    counts = count_rejects(folder / "rejects")
    wanted = {key: count for key, count in counts.items() if rule in {None, key[2]} and source in {None, key[0]}}
    rows = (row for row in read_rejects(folder / "rejects") if (row["source"], row["fate"], row["rule"]) in wanted)
    shown = list(islice(rows, limit)) if wanted else []
    return Selection(folder, candidate is not None, sorted({key[2] for key in counts}), sum(wanted.values()), shown)


def _describe_selection(name: str, selection: Selection) -> str:
    whose = "a candidate that failed a gate" if selection.is_candidate else "the current dataset"
    rows = f"{selection.num_matching:,} row{' was' if selection.num_matching == 1 else 's were'} not accepted"
    more = selection.num_matching > len(selection.shown)
    first = f"; here are the first {len(selection.shown)} (--limit)" if more else ""
    return f"{name}, {whose}: {rows}{first}. By rule: {os.path.relpath(selection.folder / 'page.html')}"


def _format(row: dict[str, Any]) -> str:
    raw = shorten(row["raw"], _RAW_CHARACTERS)
    lines = [
        f"{row['source']}: {row['locator']}  {row['fate']}, {row['rule']}",
        f"  why  {row['reason']}",
        f"  fix  {row['fix']}",
        f"  raw  {raw}",
    ]
    return "\n" + "\n".join(escape_control(line) for line in lines)
