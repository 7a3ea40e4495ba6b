"""Materializing assets from the command line, in this process, recorded in the project's own Dagster instance."""

import fcntl
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg

from vqa_pipeline import stages
from vqa_pipeline.files import make_folder
from vqa_pipeline.orchestration.assets import build_definitions
from vqa_pipeline.orchestration.console import build_console
from vqa_pipeline.orchestration.dead_runs import find_marks, hold_run, settle_dead_runs
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.progress import ProgressBar


@dataclass(frozen=True)
class Materialization:
    """An asset that a run materialized or observed."""

    asset: str
    """Key below the pipeline, such as `records/shapes`."""
    seconds: float
    """Of its step, Dagster's own time included."""
    reused: bool


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    success: bool
    run_id: str
    materializations: tuple[Materialization, ...]
    failures: tuple[tuple[str, str], ...]
    """(asset, message)."""


def run_assets(
    pipeline: Pipeline,
    assets: Sequence[str] | None = None,
    training: Mapping[str, Any] | None = None,
    steps: Any = stages,
    instance: dg.DagsterInstance | None = None,
) -> RunResult:
    """Materialize assets of a pipeline, sources observed first.

    Args:
        pipeline: The pipeline.
        assets: Keys below the pipeline; None: all of them. What they need upstream is not added.
        training: Training settings of this run that differ from the declared ones.
        steps: The stages; a module or object with the functions of `stages`.
        instance: Where the run is recorded, closed after it; None: in the project's own.
    """
    home = find_instance(pipeline.project_root)
    for category in (dg.BetaWarning, dg.PreviewWarning):
        warnings.filterwarnings("ignore", category=category)
    run_id, marks = str(uuid4()), find_marks(pipeline)
    with (
        _open_progress_bar() as progress,
        instance or open_instance(home) as opened,
        hold_run(marks, run_id),
    ):
        settle_dead_runs(opened, marks)
        built = build_definitions(pipeline, steps, progress=progress)
        curve = dg.AssetKey([pipeline.name, "training_curve"])
        chosen = {dg.AssetKey([pipeline.name, *asset.split("/")]) for asset in assets or ()}
        keys = chosen or built.resolve_asset_graph().get_all_asset_keys()
        console = build_console(partial(_find_holders, opened))
        definitions = dg.Definitions.merge(built, dg.Definitions(loggers={"console": console}))
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=opened,
            run_id=run_id,
            asset_selection=sorted(keys - {curve}),
            run_config=_build_config(pipeline, training or {}, trains=assets is None or "checkpoint" in assets),
            raise_on_error=False,
        )
    return _summarize(result, {key.to_python_identifier(): "/".join(key.path[1:]) for key in keys})


@contextmanager
def _open_progress_bar() -> Iterator[ProgressBar | None]:
    """A bar on the terminal, if there is one.

    It has a handle of its own: Dagster turns those of this process to files while a run goes on.
    """
    if not sys.stderr.isatty():
        yield None
        return
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding) as terminal:
        bar = ProgressBar(terminal)
        try:
            yield bar
        finally:
            bar.close()


def _build_config(pipeline: Pipeline, training: Mapping[str, Any], *, trains: bool) -> dict[str, Any]:
    config: dict[str, Any] = {"loggers": {"console": {}}}
    if training and trains:
        config["ops"] = {f"{pipeline.name}__checkpoint": {"config": dict(training)}}
    return config


def _find_holders(instance: dg.DagsterInstance, pool: str) -> list[str]:
    claimed = instance.event_log_storage.get_concurrency_info(pool).claimed_slots
    return sorted({slot.run_id for slot in claimed})


def find_instance(project: Path) -> Path:
    """Where the project's runs are recorded: as $DAGSTER_HOME or its dagster.yaml says, else in `.dagster`."""
    told = os.environ.get("DAGSTER_HOME")
    if told:
        return Path(told)
    return project if (project / "dagster.yaml").exists() else project / ".dagster"


def open_instance(home: Path) -> dg.DagsterInstance:
    """The instance of a folder, opened by one process at a time.

    Dagster looks whether its SQLite tables are there and then makes them: of two processes that open a new instance
    at once, one would fail because the other was faster.

    Raises:
        DiskError: there is no such folder, and none can be made.
    """
    make_folder(home)
    os.environ["DAGSTER_HOME"] = str(home)  # Dagster, and the workers that it starts, take it from here only
    folder = os.open(home, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        return dg.DagsterInstance.get()
    finally:
        os.close(folder)


def _summarize(result: dg.ExecuteInProcessResult, names: Mapping[str, str]) -> RunResult:
    """What became of each asset; `names` are the assets' keys by the steps that make them."""
    seconds: dict[str, float] = {}
    reused: dict[str, bool] = {}
    failures: list[tuple[str, str]] = []
    for event in result.all_events:
        step = event.step_key or ""
        if event.is_step_success:
            seconds[step] = event.step_success_data.duration_ms / 1000
        elif event.is_step_failure:
            failures.append((names[step], _explain_failure(event)))
        elif (metadata := _read_metadata(event)) is not None and "reused" in metadata:
            reused[step] = bool(metadata["reused"].value)
    made = tuple(Materialization(names[step], seconds.get(step, 0.0), again) for step, again in reused.items())
    return RunResult(result.success, result.run_id, made, tuple(failures))


def _read_metadata(event: dg.DagsterEvent) -> Mapping[str, Any] | None:
    if event.event_type_value == "ASSET_MATERIALIZATION":
        return event.step_materialization_data.materialization.metadata
    if event.event_type_value == "ASSET_OBSERVATION":
        return event.asset_observation_data.asset_observation.metadata
    return None


def _explain_failure(event: dg.DagsterEvent) -> str:
    failure = event.step_failure_data
    if failure.error_source.name == "INTERRUPT":
        return "stopped on request. What is published stays; run again to go on, a training from its saved progress."
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    return failure.error.to_string().strip() if failure.error else "no reason was given"
