"""`vqa-pipeline why`: the decision, in words, of what runs by itself; with what Dagster alone knows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_world import COLOURS_DECLARATION
from colours_world import Runner, make_pipeline, write_source
from fake_stages import FakeStages

from vqa_pipeline.errors import TrainingError
from vqa_pipeline.orchestration.instance_state import read_state
from vqa_pipeline.orchestration.running import run_assets

DECLARED = COLOURS_DECLARATION + "  retrain: {retrain}\n"
NIGHTLY = "{cron: '0 2 * * *', timezone: Europe/Berlin}"


@pytest.fixture
def root(project, monkeypatch) -> Path:
    """Everything is published, and nothing was recorded by Dagster."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    write_source(project.root)
    Runner(make_pipeline(project.root, training={"backbone": "tiny", "epochs": 5})).run("champion")
    return project.root


def declare(root: Path, epochs: int = 5, retrain: str = NIGHTLY) -> None:
    file = root / "hospital" / "defs" / "clinic" / "defs.yaml"
    file.write_text(DECLARED.format(epochs=epochs, retrain=retrain))


def fail(root: Path, asset: str) -> None:
    """A run whose step for an asset failed, which changed nothing in the store."""
    steps = FakeStages(root / "fake", {"colours": ["what is it|cat"]})
    steps.failures[asset] = TrainingError("the GPU is on fire")
    pipeline = make_pipeline(root, training={"backbone": "tiny", "epochs": 5})
    assert not run_assets(pipeline, steps=steps).success


def test_that_nothing_changed_and_when_the_next_look_is_are_told(call, root):
    declare(root)
    ended = call("why")
    assert (ended.status, ended.err) == (0, "")
    first, schedule, nothing, daemon = ended.out.splitlines()
    assert first.startswith("clinic/checkpoint: up to date (made 20")
    assert schedule.startswith("  trains at a tick of the cron, if the content changed; the next is 20")
    assert schedule.endswith(" 02:00 (Europe/Berlin)")
    assert nothing == "  no content changed since the last request"
    assert daemon == "Dagster's daemon does not run: `make ui`, or `dagster dev`, starts it."


def test_what_changed_and_what_waits_for_it_are_told(call, root):
    declare(root, epochs=6)
    lines = call("why").out.splitlines()
    assert lines[0].startswith("clinic/checkpoint: runs at the next tick (made ")
    assert lines[2:4] == ["  content changed since the last request:", "    setting epochs: 5, now 6"]
    assert lines[4].startswith("clinic/predictions: waits (made ")
    assert lines[6] == "  not yet: inputs are there, settled and passed their checks: checkpoint runs at the next tick"


def test_one_asset_can_be_asked_for(call, root):
    declare(root, epochs=6)
    assert [line for line in call("why", "dataset").out.splitlines() if line.startswith("clinic")] == [
        line for line in call("why", "dataset").out.splitlines() if line.startswith("clinic/dataset: up to date")
    ]
    ended = call("why", "datasets")
    assert ended.status == 1
    assert (
        "error: `ASSET`: there is no asset 'datasets'. Name one of raw/colours, records/colours, dataset," in ended.err
    )


@pytest.mark.parametrize(
    ("retrain", "told"),
    [("manual", "nothing runs by itself (`retrain: manual`)"), ("on_change", "trains when the content changed")],
)
def test_how_it_is_retrained_is_told(call, root, retrain, told):
    declare(root, epochs=6, retrain=retrain)
    lines = call("why").out.splitlines()
    assert lines[1] == f"  {told}"
    assert lines[-1].startswith("Dagster's daemon") == (retrain != "manual")


def test_programs_get_the_same_as_json(call, root):
    declare(root, epochs=6)
    told = json.loads(call("why", "checkpoint", "--json").out)
    assert told["pipeline"] == "clinic"
    [decision] = told["decisions"]
    assert decision["outcome"] == "runs at the next tick"
    assert [(one["kind"], one["name"], one["before"], one["now"]) for one in decision["differences"]] == [
        ("setting", "epochs", "5", "6")
    ]
    assert datetime.fromisoformat(decision["due_at"]) > datetime.now(UTC)
    assert told["daemon"] == {"is_running": False, "seen_at": None}
    assert (told["running"], told["failures"]) == ({}, {})


def test_a_run_that_failed_is_told_with_its_reason_until_one_succeeds(call, root):
    declare(root)
    (root / "raw" / "questions.csv").rename(root / "raw" / "gone.csv")
    pipeline = make_pipeline(root, training={"backbone": "tiny", "epochs": 5})
    result = run_assets(pipeline, ["raw/colours", "records/colours"])
    assert not result.success
    failures = read_state(pipeline, datetime.now(UTC)).failures
    assert set(failures) <= {"raw/colours", "records/colours"}
    (root / "raw" / "gone.csv").rename(root / "raw" / "questions.csv")
    [line] = [line for line in call("why", "raw/colours").out.splitlines() if "the last run failed" in line]
    assert line.startswith(f"  the last run failed (run {result.run_id[:8]}): source 'colours', `files`: ")
    assert run_assets(pipeline, ["raw/colours"]).success
    assert "the last run failed" not in call("why", "raw/colours").out


@pytest.mark.parametrize(
    ("retrain", "told"),
    [
        (NIGHTLY, "it is tried again at the next tick"),
        ("on_change", "it is tried again at 02:00 UTC, or once the content changes"),
        ("manual", "it is not tried again by itself"),
    ],
)
def test_a_training_that_failed_is_told_with_when_it_is_tried_again(call, root, retrain, told):
    declare(root, retrain=retrain)
    fail(root, "checkpoint")
    lines = call("why").out.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("  the last run failed (run "))
    assert lines[place].endswith(": the GPU is on fire")
    assert lines[place + 1] == f"  {told}"


@pytest.mark.parametrize(
    ("retrain", "told"),
    [(NIGHTLY, "runs at the next tick"), ("on_change", "runs at the night's retry"), ("manual", "up to date")],
)
def test_a_training_that_failed_is_not_up_to_date_though_nothing_changed_where_it_is_tried_again(
    call, root, retrain, told
):
    declare(root, retrain=retrain)
    fail(root, "checkpoint")
    said = call("why").out.splitlines()
    lines = said[next(number for number, line in enumerate(said) if line.startswith("clinic/")) :]
    assert lines[0].startswith(f"clinic/checkpoint: {told} (made 20")
    assert lines[2] == "  no content changed since the last request"
    assert [line for line in lines if line.startswith("clinic/")] == lines[:1], "what follows has nothing to wait for"
    used_again = [line for line in lines if line.startswith("  trained before on the same: version ")]
    assert len(used_again) == (retrain != "manual")


@pytest.mark.parametrize(
    ("asset", "told"),
    [
        ("raw/colours", "it is tried again at the next look at the files"),
        ("dataset", "it is tried again at 02:00 UTC, or once the content changes"),
    ],
)
def test_each_other_asset_that_failed_is_told_with_when_it_is_tried_again(call, root, asset, told):
    declare(root)
    fail(root, asset)
    lines = call("why").out.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith(f"clinic/{asset}: "))
    assert lines[place + 2].endswith(": the GPU is on fire")
    assert lines[place + 3] == f"  {told}"


def test_what_failed_and_has_to_wait_is_tried_again_after_that(call, root):
    declare(root)
    fail(root, "checkpoint")
    write_source(root, change={3: {"answer": "red"}})
    assert call("why", "checkpoint").out.splitlines()[-2] == "  it is tried again when it no longer has to wait"
