"""Every checkpoint and every champion carries the account of what it was made from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from colours_world import Runner, make_pipeline, write_source
from fake_worker import FakeWorker

from vqa_pipeline import stages
from vqa_pipeline.deployment import Deployment
from vqa_pipeline.stages import open_store
from vqa_pipeline.stages.provenance import collect_manifests, write_provenance

MADE_FROM = ["raw/colours", "records/colours", "dataset", "vocabulary"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_source(tmp_path)
    return tmp_path


def test_a_checkpoint_s_card_names_each_version_that_it_was_made_from(project):
    made = Runner(make_pipeline(project)).run("checkpoint")
    card = made["checkpoint"].provenance
    for outcome in made.values():
        assert f"| {outcome.version.manifest.version} |" in card
    assert "| colours | not stated | 12 | 4 | 4 |" in card


def test_what_was_made_from_comes_in_the_order_it_was_made(project):
    runner = Runner(make_pipeline(project))
    checkpoint = runner.run("checkpoint")["checkpoint"].version
    found = collect_manifests(open_store(runner.pipeline), checkpoint)
    assert list(found) == [*MADE_FROM, "checkpoint"]
    assert all(manifest.asset == asset for asset, manifest in found.items())


def test_an_earlier_checkpoint_keeps_its_own_account_when_the_data_moved_on(project):
    runner = Runner(make_pipeline(project))
    before = runner.run("checkpoint")["checkpoint"]
    write_source(project, change={0: {"answer": "crimson"}})
    runner.run("checkpoint")
    assert write_provenance(open_store(runner.pipeline), before.version) == before.provenance


def test_a_version_of_the_same_content_stands_for_one_that_is_gone_and_no_version_for_none(project):
    runner = Runner(make_pipeline(project))
    checkpoint = runner.run("checkpoint")["checkpoint"].version
    store = open_store(runner.pipeline)
    shutil.rmtree(store.root / "records" / "colours" / "versions")
    found = collect_manifests(store, checkpoint)
    assert [asset for asset, manifest in found.items() if manifest is None] == ["records/colours"]
    assert "| records/colours | gone from the store |" in write_provenance(store, checkpoint)


def test_scored_on_newer_data_a_checkpoint_still_names_the_data_that_it_learned_from(project):
    runner = Runner(make_pipeline(project))
    before = runner.run("checkpoint")
    write_source(project, change={16: {"answer": "crimson"}})
    runner.run("dataset")
    p, store = runner.pipeline, open_store(runner.pipeline)
    stages.predict(p, runner.worker, runner.said.append)
    metrics = stages.evaluate(p, runner.said.append).version
    card = write_provenance(store, before["checkpoint"].version, metrics)
    assert f"| dataset | {before['dataset'].version.manifest.version} |" in card
    assert f"| metrics | {metrics.manifest.version} |" in card


def test_a_champion_s_card_is_of_the_checkpoint_in_use_with_its_own_score(project):
    first = Runner(make_pipeline(project), FakeWorker({f"colours/{n}": c for n, c in _ANSWERS.items()}))
    promoted = first.run("champion")
    accuracy = promoted["metrics"].version.manifest.numbers["vqa_accuracy"]
    assert accuracy == 1.0
    settings = {"training": {"backbone": "tiny", "seed": 1}}
    held = Runner(make_pipeline(project, **settings), FakeWorker()).run("champion")
    assert held["checkpoint"].version != promoted["checkpoint"].version
    for outcome in (promoted["champion"], held["champion"]):
        assert outcome.provenance.startswith(f"**Checkpoint {promoted['checkpoint'].version.manifest.version}**")
        assert "VQA accuracy 1.000" in outcome.provenance


def test_the_folder_to_deploy_says_where_it_comes_from(project):
    runner = Runner(make_pipeline(project), FakeWorker({f"colours/{n}": c for n, c in _ANSWERS.items()}))
    made = runner.run("champion")
    card = (Deployment(open_store(runner.pipeline)).current / "README.md").read_text()
    assert card.endswith(f"## Where it comes from\n\n{made['champion'].provenance}\n")


_ANSWERS = {16: "red", 17: "green", 18: "blue", 19: "yellow"}
"""The right answers to the test questions."""
