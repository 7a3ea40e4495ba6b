"""The committed instance and workspace: what a clone's `dg dev` runs with, without any manual step."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import dagster as dg
import pytest
import yaml

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def instance(tmp_path, monkeypatch):
    """The committed dagster.yaml in another folder, which is the current one as for a clone."""
    shutil.copy(PROJECT / "dagster.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def test_runs_events_and_logs_live_below_the_folder_that_git_ignores(instance, tmp_path):
    @dg.asset
    def thing() -> None:
        print("told by the asset")

    assert dg.materialize([thing], instance=instance).success
    assert {path.name for path in tmp_path.iterdir()} == {"dagster.yaml", ".dagster"}
    assert ".dagster/" in (PROJECT / ".gitignore").read_text().splitlines()
    assert "told by the asset" in [
        line for file in (tmp_path / ".dagster" / "logs").rglob("*.out") for line in file.read_text().splitlines()
    ]
    assert (tmp_path / ".dagster" / "history").is_dir()


def test_a_second_start_sees_the_runs_of_the_first(instance, tmp_path):
    @dg.asset
    def thing() -> None: ...

    run = dg.materialize([thing], instance=instance).run_id
    with dg.DagsterInstance.from_config(str(tmp_path)) as again:
        assert [one.run_id for one in again.get_runs()] == [run]


def test_one_step_at_a_time_uses_the_gpu(instance):
    limits = instance.get_concurrency_config().pool_config
    assert limits.default_pool_limit == 1
    assert limits.pool_granularity.value == "op"
    storage = instance.event_log_storage
    assert storage.initialize_concurrency_limit_to_default("gpu")
    claims = [storage.claim_concurrency_slot("gpu", run, "demo__checkpoint") for run in ("first", "second")]
    assert [claim.is_claimed for claim in claims] == [True, False]
    storage.free_concurrency_slots_for_run("first")
    assert storage.claim_concurrency_slot("gpu", "second", "demo__checkpoint").is_claimed


def test_a_run_that_died_is_noticed_and_frees_its_slot(instance):
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] == 60


def test_nothing_is_sent_anywhere(instance):
    assert not instance.telemetry_enabled


def test_the_workspace_names_the_module_that_has_the_definitions():
    [declared] = yaml.safe_load((PROJECT / "workspace.yaml").read_text())["load_from"]
    assert declared == {"python_module": {"module_name": "vqa_pipeline.definitions", "location_name": "vqa_pipeline"}}
    module = importlib.import_module("vqa_pipeline.definitions")
    assert [name for name, value in vars(module).items() if type(value).__name__ == "LazyDefinitions"] == ["defs"]
