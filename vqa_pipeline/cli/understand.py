"""Commands that tell what there is: status. Read manifests only."""

from __future__ import annotations

import json
import os
from typing import Any

import typer

from vqa_pipeline.cli.options import AsJson, DeclarationFile, PipelineName, find_pipelines
from vqa_pipeline.cli.tables import format_table
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.project import choose_pipeline
from vqa_pipeline.store import Store

_GROUP = "Understand"
_STAGES = ("dataset", "vocabulary", "checkpoint", "predictions", "metrics")
_HEADLINES = ("vqa_accuracy", "best_val_accuracy", "num_answers", "num_predictions", "num_questions", "num_files")


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command(rich_help_panel=_GROUP)(status)


def status(pipeline: PipelineName = None, file: DeclarationFile = None, as_json: AsJson = False) -> None:
    """What is published: version, time, numbers and folder of every asset."""
    found = find_pipelines(file)
    chosen = [choose_pipeline(found, pipeline)] if pipeline else found
    assets = {key: told for one in chosen for key, told in describe_assets(one).items()}
    if as_json:
        print(json.dumps({"assets": assets}, indent=1, ensure_ascii=False))
        return
    rows = [
        (key, told["materialized_at"][:16], told["data_version"][:12], _headline(told)) for key, told in assets.items()
    ]
    print(format_table(rows, ("asset", "published (UTC)", "data version", "")) if rows else "nothing is published yet")


def describe_assets(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """Every published asset of a pipeline, in the order of the graph."""
    store = Store(pipeline.store_folder, pipeline.scratch_folder)
    names = [f"{kind}/{source.name}" for source in pipeline.settings.sources for kind in ("raw", "records")]
    told: dict[str, dict[str, Any]] = {}
    for asset in [*names, *_STAGES]:
        version = store.current(asset)
        if version is not None:
            told[f"{pipeline.name}/{asset}"] = {
                "data_version": version.manifest.data_version,
                "materialized_at": version.manifest.created_at.isoformat(),
                "numbers": version.manifest.numbers,
                "path": os.path.relpath(version.path),
            }
    return told


def _headline(told: dict[str, Any]) -> str:
    for name in _HEADLINES:
        value = told["numbers"].get(name)
        if value is not None:
            return f"{name} {value:,.3f}" if isinstance(value, float) else f"{name} {value:,}"
    return ""
