"""What only Dagster's instance knows: whether its daemon lives, which runs go on, how the last ended. Reads only."""

from collections.abc import Iterator
from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import dagster as dg
from dagster import DagsterRunStatus as Status

from vqa_pipeline.orchestration.running import find_instance, open_instance
from vqa_pipeline.pipeline import Pipeline

_DAEMON = "ASSET"
"""The one that evaluates the conditions of assets."""
_SILENT_SECONDS = 120.0
"""A daemon that lives shows it twice a minute."""
_GOING_ON = [Status.QUEUED, Status.NOT_STARTED, Status.STARTING, Status.STARTED, Status.CANCELING]
_ENDED = [Status.SUCCESS, Status.FAILURE, Status.CANCELED]
_LAST_RUNS = 50


class Daemon(NamedTuple):
    """Dagster's daemon, without which nothing runs by itself."""

    is_running: bool
    seen_at: datetime | None
    """When it last showed that it lives; None: never here."""


class Failure(NamedTuple):
    """The last run of an asset, which did not end well."""

    run_id: str
    message: str


class InstanceState(NamedTuple):
    """What the instance knows of one pipeline."""

    daemon: Daemon
    running: dict[str, str]
    """Ids of runs that go on or are queued, by the assets that they make."""
    failures: dict[str, Failure]
    """By asset whose last run failed."""


def read_state(pipeline: Pipeline, now: datetime) -> InstanceState:
    """What the project's own instance knows; where there is none yet, nothing."""
    home = find_instance(pipeline.project_root)
    if not _was_used(home, pipeline.project_root):
        return InstanceState(Daemon(is_running=False, seen_at=None), {}, {})
    with chdir(pipeline.project_root), open_instance(home) as instance:
        assets = {"/".join(key.path[1:]): key for key in instance.all_asset_keys() if key.path[0] == pipeline.name}
        running = {asset: run.run_id for run in _list_runs(instance, _GOING_ON) for asset in _name_assets(run, assets)}
        return InstanceState(_read_daemon(instance, now), running, _find_failures(instance, assets))


def _was_used(home: Path, project: Path) -> bool:
    """Whether anything was ever recorded; opening would make the files. A database elsewhere is asked.

    The folders that our dagster.yaml names are relative to the project.
    """
    declared = home / "dagster.yaml"
    elsewhere = declared.is_file() and "sqlite" not in declared.read_text(encoding="utf-8")
    return elsewhere or any(folder.is_dir() for folder in (project / ".dagster", home / "history", home / "storage"))


def _read_daemon(instance: dg.DagsterInstance, now: datetime) -> Daemon:
    heartbeat = instance.get_daemon_heartbeats().get(_DAEMON)
    if heartbeat is None:
        return Daemon(is_running=False, seen_at=None)
    seen_at = datetime.fromtimestamp(heartbeat.timestamp, UTC)
    return Daemon(is_running=(now - seen_at).total_seconds() < _SILENT_SECONDS, seen_at=seen_at)


def _list_runs(instance: dg.DagsterInstance, statuses: list[Status]) -> list[dg.DagsterRun]:
    """The newest first."""
    return list(instance.get_runs(filters=dg.RunsFilter(statuses=statuses), limit=_LAST_RUNS))


def _name_assets(run: dg.DagsterRun, assets: dict[str, dg.AssetKey]) -> Iterator[str]:
    for asset, key in assets.items():
        if run.asset_selection is None or key in run.asset_selection:
            yield asset


def _find_failures(instance: dg.DagsterInstance, assets: dict[str, dg.AssetKey]) -> dict[str, Failure]:
    """Of each asset, the newest run that was to make it and has ended, if its step failed."""
    left, found = dict(assets), dict[str, Failure]()
    for run in _list_runs(instance, _ENDED):
        made = list(_name_assets(run, left))
        messages = _read_failures(instance, run) if run.status == Status.FAILURE else {}
        for asset in made:
            message = messages.get(left.pop(asset).to_python_identifier())
            if message is not None:
                found[asset] = Failure(run.run_id, message)
        if not left:
            break
    return found


def _read_failures(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, str]:
    """What each failed step said, in a line."""
    told: dict[str, str] = {}
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.get_dagster_event()
        failure = event.step_failure_data
        explained = failure.user_failure_data and failure.user_failure_data.description
        text = explained or (failure.error.message if failure.error else "")
        told[event.step_key or ""] = text.strip().partition("\n")[0]
    return told
