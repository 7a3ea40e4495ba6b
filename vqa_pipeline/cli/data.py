"""Commands about data: new, inspect, validate, rejects."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from vqa_pipeline.cli.options import AsJson, DeclarationFile, PipelineName, find_pipeline
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.progress import show_on
from vqa_pipeline.project import find_defs_folder, find_project_at
from vqa_pipeline.reporting.escaping import escape_control, shorten
from vqa_pipeline.scaffold import check_name, render_declaration, write_new, write_project
from vqa_pipeline.store import Store

if TYPE_CHECKING:
    from vqa_pipeline.curation.findings import Inspection

_GROUP = "Data"
_RAW_CHARACTERS = 300

CorrectionsFile = Annotated[
    Path | None, typer.Option("--as-corrections", metavar="FILE", help="Write all of them into a CSV to fill in.")
]
InspectedPath = Annotated[
    Path, typer.Argument(metavar="PATH", help="A file or folder of raw data.", show_default=False)
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this group."""
    for command in (new, inspect, validate, rejects):
        app.command(rich_help_panel=_GROUP)(command)


def inspect(path: InspectedPath, as_json: AsJson = False) -> None:
    """What a file or folder is: format, counts, first rows, images, problems to expect, the lines to declare it."""
    from vqa_pipeline.cli.inspection import format_inspection, render_block

    inspection = _inspect(path, find_project_at(Path.cwd()) or Path.cwd())
    if as_json:
        block = render_block(inspection) if inspection.sources else None
        print(json.dumps(inspection.model_dump(mode="json") | {"block": block}, indent=1))
    else:
        print(format_inspection(inspection))


def _inspect(path: Path, project: Path) -> Inspection:
    from vqa_pipeline.curation.inspection import inspect as inspect_path

    return inspect_path(path, project)


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the pipeline.", show_default=False)],
    path: InspectedPath,
    as_json: AsJson = False,
) -> None:
    """A pipeline that reads a file or folder: its declaration, and a project around it where there is none."""
    from vqa_pipeline.cli.inspection import render_sources

    found = find_project_at(Path.cwd())
    project = found or Path.cwd() / name
    check_name(name)
    inspection = _inspect(path, project)
    if not inspection.sources:
        fix = f"`vqa-pipeline inspect {path}` tells what was seen and how to map it."
        raise SettingsError("PATH", f"no source was recognised in {path}", fix)
    if found is None:
        write_project(project, name)
    file = find_defs_folder(project) / name / "defs.yaml"
    write_new(file, render_declaration(name, render_sources(inspection, teach=True)))
    if as_json:
        print(json.dumps({"pipeline": name, "file": str(file), "made_project": found is None}, indent=1))
        return
    print(escape_control(f"{os.path.relpath(file)} declares the pipeline {name}; read it, then:"))
    print(f"  {'' if found else f'cd {name} && '}vqa-pipeline validate --pipeline {name}")


def validate(pipeline: PipelineName = None, file: DeclarationFile = None, as_json: AsJson = False) -> None:
    """Read, validate and join the sources, publish nothing: what becomes of every row. Fails where a gate would."""
    from vqa_pipeline.cli.ledger import format_dry_run
    from vqa_pipeline.reporting.rejects import group_rejects
    from vqa_pipeline.stages.dry_run import dry_run

    chosen = find_pipeline(pipeline, file)
    run = dry_run(chosen, lambda _: None, show_on(sys.stderr))
    groups = group_rejects(run.folder / "rejects")
    if as_json:
        told = {
            "pipeline": chosen.name,
            "path": os.path.relpath(run.folder),
            "would_publish": not run.failures,
            "checks": [check.model_dump(mode="json") for check in run.checks],
            "ledger": run.ledger.model_dump(mode="json"),
            "rejects": groups,
        }
        print(json.dumps(told, indent=1))
    else:
        print(format_dry_run(chosen.name, run, groups))
    if run.failures:
        raise typer.Exit(1)


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
    as_corrections: CorrectionsFile = None,
    as_json: AsJson = False,
) -> None:
    """Rows that were not accepted: where, which rule, why, how to mend them, and the row itself."""
    chosen = find_pipeline(pipeline, file)
    selection = select_rejects(chosen, rule, source, None if as_corrections else limit)
    if as_corrections:
        _write_corrections(selection, as_corrections, as_json=as_json)
        return
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


def _write_corrections(selection: Selection, file: Path, *, as_json: bool) -> None:
    """Write the rows as a file to fill in; one that is there may hold somebody's work and stays."""
    from vqa_pipeline.curation.corrections import write_corrections

    if file.exists():
        raise SettingsError("--as-corrections", f"{file} is there already", "Choose another name, or move it away.")
    sources = sorted({row["source"] for row in selection.shown})
    if len(sources) > 1:
        reason = f"the rows are of {' and '.join(sources)}, but the file belongs to one source"
        raise SettingsError("--as-corrections", reason, "Name it: `--source NAME`.")
    write_corrections(file, selection.shown)
    if as_json:
        print(json.dumps({"file": str(file), "num_rows": len(selection.shown)}, indent=1))
        return
    told = f"{file}: {len(selection.shown):,} rows. Write edit, drop or accept into `action`"
    print(escape_control(f"{told}, and name the file in `corrections` of the source {' '.join(sources)}."))


def select_rejects(pipeline: Pipeline, rule: str | None, source: str | None, limit: int | None) -> Selection:
    """Rows of the current dataset that were not accepted, or of the candidate that failed a gate since.

    At most `limit` of them are shown; None: all.

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
    question = f"  {row['question_id']}" if row["question_id"] else ""
    lines = [
        f"{row['source']}: {row['locator']}{question}  {row['fate']}, {row['rule']}",
        f"  why  {row['reason']}",
        f"  fix  {row['fix']}",
        f"  raw  {raw}",
    ]
    return "\n" + "\n".join(escape_control(line) for line in lines)
