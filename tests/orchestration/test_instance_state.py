"""What the instance alone knows: read back from a real one, in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat
from fake_stages import FakeStages, make_pipeline

from vqa_pipeline.errors import TrainingError
from vqa_pipeline.orchestration.assets import build_definitions
from vqa_pipeline.orchestration.instance_state import Daemon, InstanceState, read_state
from vqa_pipeline.orchestration.running import find_instance, open_instance, run_assets

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
MADE = ["raw/scans", "records/scans", "dataset", "vocabulary", "checkpoint", "predictions", "metrics", "champion"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the instance of a project at `tmp_path` is; whoever opens one names it in the environment."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    return find_instance(tmp_path)


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(home) as instance:
        yield instance


def read(root: Path, name: str = "clinic") -> InstanceState:
    return read_state(make_pipeline(root, name), NOON)


def beat(instance: dg.DagsterInstance, seconds_ago: float, daemon: str = "ASSET") -> datetime:
    """A daemon shows that it lives, some seconds before noon."""
    at = NOON - timedelta(seconds=seconds_ago)
    instance.add_daemon_heartbeat(DaemonHeartbeat(at.timestamp(), daemon, daemon_id="d1", errors=[]))
    return at


def test_before_anything_was_recorded_nothing_is_known_and_no_file_is_made(tmp_path, home):
    assert read(tmp_path) == InstanceState(Daemon(is_running=False, seen_at=None), {}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seconds_ago", [0, 30, 119])
def test_a_daemon_that_was_seen_just_now_runs(tmp_path, instance, seconds_ago):
    at = beat(instance, seconds_ago)
    assert read(tmp_path).daemon == Daemon(is_running=True, seen_at=at)


@pytest.mark.parametrize("seconds_ago", [120, 86_400])
def test_a_daemon_that_was_last_seen_minutes_ago_does_not_run(tmp_path, instance, seconds_ago):
    at = beat(instance, seconds_ago)
    assert read(tmp_path).daemon == Daemon(is_running=False, seen_at=at)


def test_without_a_daemon_none_was_ever_seen(tmp_path, instance):
    assert read(tmp_path).daemon == Daemon(is_running=False, seen_at=None)


def test_only_the_daemon_that_evaluates_conditions_counts(tmp_path, instance):
    beat(instance, 0, daemon="SENSOR")
    assert read(tmp_path).daemon == Daemon(is_running=False, seen_at=None)


def test_a_run_in_progress_is_told_by_what_it_makes_and_only_while_it_goes_on(tmp_path, home):
    """Even the first of all, when nothing that it makes was ever made before."""
    steps, seen = FakeStages(tmp_path), list[InstanceState]()
    steps.while_training = lambda: seen.extend([read(tmp_path), read(tmp_path, name="other")])
    ended = run_assets(make_pipeline(tmp_path), steps=steps)
    assert [state.running for state in seen] == [dict.fromkeys(MADE, ended.run_id), {}]
    assert read(tmp_path).running == {}


def test_a_run_that_is_about_to_start_goes_on(tmp_path, home):
    run_assets(make_pipeline(tmp_path), steps=FakeStages(tmp_path))
    job = build_definitions(make_pipeline(tmp_path), FakeStages(tmp_path)).resolve_implicit_global_asset_job_def()
    with open_instance(home) as instance:
        waiting = instance.create_run_for_job(job, asset_selection=frozenset({dg.AssetKey(["clinic", "dataset"])}))
    assert read(tmp_path).running == {"dataset": waiting.run_id}


def test_of_a_run_that_failed_the_step_that_failed_is_told_with_its_reason(tmp_path, home):
    steps = FakeStages(tmp_path)
    steps.failures["vocabulary"] = TrainingError("no words\nnot a single one")
    ended = run_assets(make_pipeline(tmp_path), steps=steps)
    failures = read(tmp_path).failures
    assert failures == {"vocabulary": (ended.run_id, "no words")}
    assert read(tmp_path, name="other").failures == {}


def test_a_failure_is_forgotten_once_the_asset_was_made_again_and_not_before(tmp_path, home):
    steps, pipeline = FakeStages(tmp_path), make_pipeline(tmp_path)
    steps.failures["vocabulary"] = TrainingError("no words")
    run_assets(pipeline, steps=steps)
    steps.failures.clear()
    assert run_assets(pipeline, ["raw/scans", "records/scans", "dataset"], steps=steps).success
    assert list(read(tmp_path).failures) == ["vocabulary"]
    assert run_assets(pipeline, ["vocabulary"], steps=steps).success
    assert read(tmp_path).failures == {}
