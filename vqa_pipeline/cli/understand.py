"""Commands that tell what there is: status here, the others in their modules. They read, and change nothing."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from vqa_pipeline.cli.compare import compare
from vqa_pipeline.cli.history import history
from vqa_pipeline.cli.options import AsJson, DeclarationFile, PipelineName, find_pipelines
from vqa_pipeline.cli.tables import format_table
from vqa_pipeline.cli.trace import trace
from vqa_pipeline.cli.why import tell_daemon, tell_schedule, why
from vqa_pipeline.errors import DamagedVersion
from vqa_pipeline.lineage.decisions import find_next_training
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.project import choose_pipeline
from vqa_pipeline.store import Store, Version

if TYPE_CHECKING:
    from vqa_pipeline.orchestration.instance_state import Daemon

_GROUP = "Understand"
_ASSETS = ("dataset", "vocabulary", "checkpoint", "predictions", "metrics", "champion")

_HEADLINES = {
    "raw": (("num_files", "files"),),
    "records": (("num_questions", "questions"), ("num_rejects", "rejected")),
    "dataset": (("num_questions", "questions"), ("num_images", "images"), ("num_rejected", "rejected")),
    "vocabulary": (("num_answers", "answers"), ("coverage_train", "coverage")),
    "checkpoint": (("best_val_accuracy", "validation accuracy"),),
    "predictions": (("num_predictions", "predictions"),),
    "metrics": (("vqa_accuracy", "VQA accuracy"), ("baseline_question_only", "from the question alone")),
    "champion": (("vqa_accuracy", "VQA accuracy"), ("difference", "against the champion")),
}
"""The numbers that a line of the table shows, by stage."""


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this group."""
    for command in (status, history, why, compare, trace):
        app.command(rich_help_panel=_GROUP)(command)


def status(pipeline: PipelineName = None, file: DeclarationFile = None, as_json: AsJson = False) -> None:
    """What is published: version, time, numbers and folder of every asset; when the next training is due."""
    found = find_pipelines(file)
    chosen = [choose_pipeline(found, pipeline)] if pipeline else found
    if as_json:
        assets = {
            f"{one.name}/{asset}": _describe(version)
            for one in chosen
            for asset, version in list_versions(one).items()
            if version is not None
        }
        schedules = {one.name: _describe_schedule(one) for one in chosen}
        print(json.dumps({"assets": assets, "pipelines": schedules}, indent=1))
        return
    rows = [_format(one.name, asset, version) for one in chosen for asset, version in list_versions(one).items()]
    print(format_table(rows, ("asset", "published (UTC)", "data version", "")))
    if any("damaged" in row for row in rows):
        print("\nThe next run makes again what is damaged.")
    for one in chosen:
        _warn_of_candidate(one)
        _tell_schedule(one)


def list_versions(pipeline: Pipeline) -> dict[str, Version | DamagedVersion | None]:
    """The current version of every asset, in the order of the graph; what is wrong with it, or None: there is none."""
    store = Store(pipeline.store_folder, pipeline.scratch_folder)
    sources = [f"{kind}/{source.name}" for source in pipeline.settings.sources for kind in ("raw", "records")]
    return {asset: _find_version(store, asset) for asset in (*sources, *_ASSETS)}


def _tell_schedule(pipeline: Pipeline) -> None:
    now = datetime.now(UTC)
    print(f"\n{pipeline.name}: {tell_schedule(pipeline, find_next_training(pipeline, now))}")
    if pipeline.settings.retrain != "manual":
        print(f"Dagster's daemon {tell_daemon(_read_daemon(pipeline, now))}.")


def _describe_schedule(pipeline: Pipeline) -> dict[str, Any]:
    now = datetime.now(UTC)
    due_at, daemon = find_next_training(pipeline, now), _read_daemon(pipeline, now)
    return {
        "retrain": pipeline.settings.model_dump(mode="json")["retrain"],
        "next_training_at": due_at.isoformat() if due_at else None,
        "daemon_is_running": daemon.is_running,
    }


def _read_daemon(pipeline: Pipeline, now: datetime) -> Daemon:
    from vqa_pipeline.orchestration.instance_state import read_state

    return read_state(pipeline, now).daemon


def _find_version(store: Store, asset: str) -> Version | DamagedVersion | None:
    try:
        return store.current_whole(asset)
    except DamagedVersion as damage:
        return damage


def _describe(version: Version | DamagedVersion) -> dict[str, Any]:
    if isinstance(version, DamagedVersion):
        return {"damaged": _explain_damage(version)}
    return {
        "data_version": version.manifest.data_version,
        "materialized_at": version.manifest.created_at.isoformat(),
        "numbers": version.manifest.numbers,
        "path": os.path.relpath(version.path),
    }


def _explain_damage(damage: DamagedVersion) -> str:
    return f"{os.path.relpath(damage.path)} {damage.reason}"


def _format(name: str, asset: str, version: Version | DamagedVersion | None) -> tuple[str, str, str, str]:
    if version is None:
        return f"{name}/{asset}", "not yet", "", ""
    if isinstance(version, DamagedVersion):
        return f"{name}/{asset}", "damaged", "", _explain_damage(version)
    manifest = version.manifest
    told = [(manifest.numbers.get(number), word) for number, word in _HEADLINES[asset.partition("/")[0]]]
    headline = ", ".join(f"{_format_number(value)} {word}" for value, word in told if value is not None)
    return f"{name}/{asset}", f"{manifest.created_at:%Y-%m-%d %H:%M}", manifest.data_version[:12], headline


def _format_number(value: float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}"


def _warn_of_candidate(pipeline: Pipeline) -> None:
    candidate = Store(pipeline.store_folder, pipeline.scratch_folder).find_failed("dataset")
    if candidate is not None:
        page = os.path.relpath(candidate / "page.html")
        print(f"\n{pipeline.name}/dataset: a newer candidate failed a gate and was not published: {page}")
