"""Why an asset runs or does not: each reason once, by the names that a person knows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from colours_world import Runner, declare_source, make_pipeline, write_source

from vqa_pipeline import stages
from vqa_pipeline.errors import GateFailed
from vqa_pipeline.lineage.decisions import Decision, decide, find_next_training
from vqa_pipeline.pipeline import Pipeline

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
NIGHTLY = {"cron": "0 2 * * *", "timezone": "Europe/Berlin"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project where everything is published."""
    write_source(tmp_path)
    Runner(declare(tmp_path)).run("champion")
    return tmp_path


def declare(root: Path, **settings) -> Pipeline:
    return make_pipeline(root, **({"retrain": NIGHTLY} | settings))


def tell(pipeline: Pipeline) -> dict[str, Decision]:
    return {one.asset: one for one in decide(pipeline, NOON)}


def list_changed(pipeline: Pipeline) -> dict[str, list[str]]:
    """What changed, by asset of which something did."""
    told = {name: [one.describe() for one in decision.differences] for name, decision in tell(pipeline).items()}
    return {name: differences for name, differences in told.items() if differences}


def rewrite(root: Path, old: str, new: str) -> None:
    file = root / "raw" / "questions.csv"
    file.write_text(file.read_text().replace(old, new))


def test_where_nothing_changed_everything_is_up_to_date(root):
    told = tell(declare(root))
    assert list(told) == [
        *("raw/colours", "records/colours", "dataset", "vocabulary"),
        *("checkpoint", "predictions", "metrics", "champion"),
    ]
    assert {(one.outcome, one.differences, one.obstacles) for one in told.values()} == {("up to date", (), ())}
    assert told["checkpoint"].due_at.isoformat() == "2026-11-27T02:00:00+01:00"


def test_looking_changes_nothing(root):
    def read() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in (root / "data" / "store").rglob("*") if path.is_file()}

    before = read()
    rewrite(root, "what colour", "which colour")
    decide(declare(root), NOON)
    assert read() == before


def test_before_the_first_run_everything_is_missing(tmp_path):
    write_source(tmp_path)
    told = tell(declare(tmp_path))
    assert [one.kind for one in told["raw/colours"].differences] == ["missing"]
    assert told["raw/colours"].outcome == "runs soon"
    assert told["checkpoint"].outcome == "waits"
    assert told["checkpoint"].obstacles == ("dataset waits", "vocabulary waits")
    assert told["checkpoint"].made_at is None


@pytest.mark.parametrize(
    ("retrain", "expected"),
    [(NIGHTLY, "runs at the next tick"), ("on_change", "runs soon"), ("manual", "runs by hand")],
)
def test_a_setting_of_the_training_is_named_with_both_values(root, retrain, expected):
    pipeline = declare(root, training={"backbone": "tiny", "epochs": 6}, retrain=retrain)
    told = tell(pipeline)
    assert list_changed(pipeline) == {"checkpoint": ["setting epochs: 10, now 6"]}
    assert told["checkpoint"].outcome == expected
    assert told["predictions"].outcome == "waits"
    assert told["predictions"].obstacles == (f"checkpoint {expected}",)


def test_a_setting_that_decides_nothing_is_no_change(root):
    assert list_changed(declare(root, training={"backbone": "tiny", "threads": 3})) == {}


def test_a_setting_that_a_release_no_longer_has_is_a_change(root):
    """Dagster's conditions see it as one, too: it is a part of the stage's code version."""
    [version] = stages.open_store(declare(root)).versions("vocabulary")
    change_manifest(root, "vocabulary", settings={**version.manifest.settings, "stemming": "porter", "quiet": None})
    assert list_changed(declare(root)) == {
        "vocabulary": [
            "setting quiet (no setting any more)",
            "setting stemming: porter, now none (no setting any more)",
        ]
    }


def test_a_setting_that_a_version_never_knew_is_a_change_even_where_it_is_null(root):
    [version] = stages.open_store(declare(root)).versions("records/colours")
    known = {name: value for name, value in version.manifest.settings.items() if name != "corrections"}
    change_manifest(root, "records/colours", settings=known)
    assert list_changed(declare(root)) == {"records/colours": ["setting corrections (new)"]}


def test_files_that_were_not_looked_at_yet_are_named(root):
    rewrite(root, "what colour", "which colour")
    (root / "raw" / "images" / "new.png").write_bytes(b"x")
    told = tell(declare(root))
    [difference] = told["raw/colours"].differences
    assert difference.describe() == "files (1 added, such as images/new.png; 1 changed, such as questions.csv)"
    assert told["raw/colours"].outcome == "runs soon"
    assert told["records/colours"].obstacles == ("raw/colours runs soon",)


def test_new_data_is_told_by_its_rows(root):
    rewrite(root, "11,11.png,what colour is it?,yellow", "11,11.png,what colour is it?,red")
    Runner(declare(root)).run("vocabulary")
    told = list_changed(declare(root))
    assert list(told) == ["checkpoint", "predictions", "metrics", "champion"]
    dataset, vocabulary = told["checkpoint"]
    assert vocabulary.startswith("input vocabulary: ")
    assert dataset.startswith("input dataset: ")
    assert dataset.endswith("(1 questions with other answers)")
    told = tell(declare(root))
    assert told["checkpoint"].outcome == "runs at the next tick"
    assert told["predictions"].outcome == "runs soon", "the checkpoint there is answers the new questions meanwhile"
    assert told["metrics"].obstacles == ("predictions runs soon",)


def test_a_gate_that_was_not_passed_stands_in_the_way_of_all_that_follows(root):
    rewrite(root, "11.png,", "gone.png,")
    with pytest.raises(GateFailed):
        Runner(declare(root)).run("dataset")
    told = tell(declare(root))
    assert told["dataset"].outcome == "waits"
    [obstacle] = told["dataset"].obstacles
    assert obstacle.startswith("its newest candidate did not pass a blocking check; see data/store/clinic/dataset/cand")
    assert (root / obstacle.rpartition(" ")[2]).is_file()
    assert told["checkpoint"].obstacles == ("dataset waits", "vocabulary waits")


def test_newer_data_on_its_way_is_told_beside_a_gate_that_was_not_passed(root):
    rewrite(root, "11.png,", "gone.png,")
    with pytest.raises(GateFailed):
        Runner(declare(root)).run("dataset")
    rewrite(root, "gone.png,", "11.png,")
    told = tell(declare(root))["dataset"]
    gate, *coming = told.obstacles
    assert gate.startswith("its newest candidate did not pass a blocking check; see ")
    assert coming == ["records/colours waits", "raw/colours runs soon"]


def change_manifest(root: Path, asset: str, **changes) -> None:
    [file] = (root / "data" / "store" / "clinic" / asset / "versions").glob("*/manifest.json")
    file.write_text(json.dumps(json.loads(file.read_bytes()) | changes))


def test_another_stage_number_is_told_as_an_upgrade_raises_it(root):
    change_manifest(root, "vocabulary", stage_number=0)
    number = stages.STAGE_NUMBERS["vocabulary"]
    assert list_changed(declare(root)) == {"vocabulary": [f"stage number: 0, now {number}"]}


def test_a_check_that_a_version_never_saw_is_named(root):
    change_manifest(root, "vocabulary", checks=[])
    assert list_changed(declare(root)) == {"vocabulary": ["checks (new: coverage)"]}
    dropped = {"name": "spelling", "passed": True, "blocking": False, "message": ""}
    change_manifest(root, "vocabulary", checks=[dropped])
    assert list_changed(declare(root)) == {"vocabulary": ["checks (new: coverage; gone: spelling)"]}


def test_what_was_set_for_one_run_is_told_so(root):
    runner = Runner(declare(root))
    runner.training = runner.training.model_copy(update={"epochs": 3})
    runner.run("checkpoint")
    assert list_changed(declare(root))["checkpoint"] == ["setting epochs: 3, now 10 (it was set for one run)"]


def test_what_was_trained_before_is_used_again_and_that_is_told(root):
    """A, B, and A again: Dagster asks for a run, and the run trains nothing."""
    first = stages.open_store(declare(root)).require("checkpoint").manifest.version
    Runner(declare(root, training={"backbone": "tiny", "epochs": 6})).run("checkpoint")
    told = tell(declare(root))["checkpoint"]
    assert (told.outcome, told.reuses) == ("runs at the next tick", first)
    other = tell(declare(root, training={"backbone": "tiny", "epochs": 7}))["checkpoint"]
    assert (other.outcome, other.reuses) == ("runs at the next tick", None)


@pytest.mark.parametrize(
    ("retrain", "expected"),
    [(NIGHTLY, "runs at the next tick"), ("on_change", "runs at the night's retry"), ("manual", "up to date")],
)
def test_a_training_that_failed_is_tried_again_though_nothing_changed(root, retrain, expected):
    current = stages.open_store(declare(root)).require("checkpoint").manifest.version
    told = {one.asset: one for one in decide(declare(root, retrain=retrain), NOON, failed=["checkpoint"])}
    assert told["checkpoint"].outcome == expected
    assert told["checkpoint"].differences == ()
    assert told["checkpoint"].reuses == (None if retrain == "manual" else current)
    assert {told[asset].outcome for asset in ("predictions", "metrics", "champion")} == {"up to date"}


def test_what_failed_on_a_change_by_hand_runs_by_hand(root):
    pipeline = declare(root, training={"backbone": "tiny", "epochs": 6}, retrain="manual")
    told = {one.asset: one.outcome for one in decide(pipeline, NOON, failed=["checkpoint"])}
    assert told["checkpoint"] == "runs by hand"


def test_a_damaged_version_is_named_by_its_file(root):
    [file] = (root / "data" / "store" / "clinic" / "vocabulary" / "versions").glob("*/vocabulary.json")
    file.unlink()
    told = tell(declare(root))["vocabulary"]
    assert [one.describe() for one in told.differences] == ["damaged (vocabulary.json is missing)"]
    assert told.outcome == "runs soon"


def test_a_source_that_came_or_went_is_an_input_that_came_or_went(root):
    two = declare(root, sources=[declare_source(), declare_source(name="more")])
    assert "raw/more" in list_changed(two)
    Runner(declare(root)).run("dataset")
    renamed = declare(root, sources=[declare_source(name="other")])
    told = list_changed(renamed)["dataset"]
    assert [one.partition(":")[0] for one in told] == ["input raw/colours", "input records/colours"]
    assert all(one.endswith("now none (no source any more)") for one in told)


@pytest.mark.parametrize(
    ("timezone", "now", "expected"),
    [
        ("UTC", "2026-11-26T12:00+00:00", "2026-11-27T02:00:00+00:00"),
        ("Europe/Berlin", "2026-11-27T00:59+00:00", "2026-11-27T02:00:00+01:00"),
        ("Europe/Berlin", "2026-11-27T01:01+00:00", "2026-11-28T02:00:00+01:00"),
        ("America/New_York", "2026-11-27T01:01+00:00", "2026-11-27T02:00:00-05:00"),
        ("Asia/Kolkata", "2026-11-26T20:29+00:00", "2026-11-27T02:00:00+05:30"),
        ("Asia/Kolkata", "2026-11-26T22:00+01:00", "2026-11-28T02:00:00+05:30"),
        ("Europe/Berlin", "2026-10-24T12:00+00:00", "2026-10-25T02:00:00+02:00"),
        ("Europe/Berlin", "2027-03-27T12:00+00:00", "2027-03-28T03:00:00+02:00"),
    ],
)
def test_the_next_training_is_told_in_the_schedules_time_zone(tmp_path, timezone, now, expected):
    pipeline = declare(tmp_path, retrain={"cron": "0 2 * * *", "timezone": timezone})
    due_at = find_next_training(pipeline, datetime.fromisoformat(now))
    assert due_at.isoformat() == expected


@pytest.mark.parametrize("retrain", ["manual", "on_change"])
def test_without_a_cron_there_is_no_next_time(tmp_path, retrain):
    assert find_next_training(declare(tmp_path, retrain=retrain), NOON) is None
