"""A project over the years: pruned, on another machine, with a newer package. Real stages, a worker without torch."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest
from colours_world import Runner, make_pipeline, write_source

from vqa_pipeline import stages
from vqa_pipeline.deployment import Deployment
from vqa_pipeline.orchestration.assets import build_definitions
from vqa_pipeline.retention.pruning import list_disposables, prune
from vqa_pipeline.stages import open_store

ASSETS = ("records/colours", "dataset", "vocabulary", "checkpoint", "predictions", "metrics", "champion")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    write_source(root)
    return root


def grow(root: Path, generations: int, **settings) -> None:
    """A run for each state of the data: more pictures every time."""
    for number in range(generations):
        write_source(root, rows=20 + number)
        Runner(make_pipeline(root, **settings)).run("champion")


def list_current(root: Path) -> dict[str, str]:
    store = open_store(make_pipeline(root))
    return {asset: store.require(asset).manifest.data_version for asset in ASSETS}


def list_files(root: Path) -> set[Path]:
    return {path.relative_to(root) for path in root.rglob("*") if path.is_file()}


def test_after_pruning_nothing_is_computed_again_and_little_is_left(project):
    pipeline = make_pipeline(project, keep=1)
    store = open_store(pipeline)
    grow(project, 1, keep=1)
    first = store.require("checkpoint")
    Deployment(store).deploy(first, "card", "pinned", "somebody chose it")
    grow(project, 4, keep=1)
    before = list_current(project)
    num_files = len(list_files(project / "data"))
    gone = prune(pipeline, store)
    assert {one.what.split()[0] for one in gone} >= {"dataset", "records/colours", "checkpoint", "metrics"}
    assert len(list_files(project / "data")) < num_files
    assert all(outcome.reused for outcome in Runner(pipeline).run("champion").values())
    assert list_current(project) == before
    assert Deployment(store).require_champion().version == first.manifest.version
    assert store.versions("checkpoint") == [first, store.require("checkpoint")]
    assert list_disposables(pipeline, store) == []


def copy_project(root: Path, target: Path) -> Path:
    """What people copy: everything but scratch."""
    shutil.copytree(root, target, ignore=shutil.ignore_patterns("scratch"))
    return target


def test_on_another_machine_everything_is_reused_and_the_store_names_no_place_of_the_old_one(project, tmp_path):
    grow(project, 2)
    moved, old = copy_project(project, tmp_path / "elsewhere"), str(project).encode()
    shutil.rmtree(project)
    assert [path for path in list_files(moved) if old in (moved / path).read_bytes()] == []
    runner = Runner(make_pipeline(moved))
    assert all(outcome.reused for outcome in runner.run("champion").values())
    assert runner.worker.jobs == []


def test_dagsters_fresh_instance_on_another_machine_shows_what_is_published(project, tmp_path):
    grow(project, 1)
    before = list_current(project)
    moved = copy_project(project, tmp_path / "elsewhere")
    files = list_files(moved / "data" / "store")
    instance = dg.DagsterInstance.ephemeral()
    job = build_definitions(make_pipeline(moved)).resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=instance).success
    shown = {}
    for asset in ASSETS:
        event = instance.get_latest_materialization_event(dg.AssetKey(["clinic", *asset.split("/")]))
        shown[asset] = event.asset_materialization.tags["dagster/data_version"]
    assert shown == before
    assert list_files(moved / "data" / "store") == files


@pytest.mark.parametrize(
    ("raised", "again"),
    [
        ("metrics", {"metrics"}),
        ("vocabulary", {"vocabulary"}),  # the same list: nobody downstream sees a change
        ("checkpoint", {"checkpoint", "predictions", "metrics"}),
    ],
)
def test_after_an_upgrade_only_stages_with_another_number_and_what_they_change_are_made_again(
    project, monkeypatch, raised, again
):
    grow(project, 1)
    monkeypatch.setitem(stages.STAGE_NUMBERS, raised, stages.STAGE_NUMBERS[raised] + 1)
    outcomes = Runner(make_pipeline(project)).run()
    assert {name for name, outcome in outcomes.items() if not outcome.reused} == again
