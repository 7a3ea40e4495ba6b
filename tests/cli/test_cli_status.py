"""`vqa-pipeline status`: what is published, for people and for programs."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cli_world import DECLARATION
from reporting_world import make_reject

METRICS = {
    "vqa_accuracy": 0.9012,
    "baseline_majority": 0.25,
    "baseline_question_type": 0.37,
    "baseline_question_only": 0.376,
    "num_scored": 1188,
}


def publish_all(project) -> None:
    project.publish("raw/scans", {"num_files": 1506})
    project.publish("records/scans", {"num_questions": 6009, "num_rejects": 10})
    project.publish("dataset", {"num_questions": 6001, "num_images": 1501, "num_rejected": 17})
    project.publish("vocabulary", {"num_answers": 11, "coverage_train": 1.0})
    project.publish("checkpoint", {"best_val_accuracy": 0.885, "num_steps": 1260})
    project.publish("predictions", {"num_predictions": 1188})
    project.publish("metrics", METRICS, minute=5)
    project.publish("champion", {"vqa_accuracy": 0.901, "difference": 0.021}, minute=6)


def test_json_has_every_published_asset_under_dagsters_key(call, project):
    project.publish("dataset", {"num_questions": 6001})
    project.publish("metrics", METRICS, minute=5)
    ended = call("status", "--json")
    assert (ended.status, ended.err) == (0, "")
    assert json.loads(ended.out) == {
        "assets": {
            "clinic/dataset": {
                "data_version": "data version of dataset",
                "materialized_at": "2026-01-02T12:00:00+00:00",
                "numbers": {"num_questions": 6001},
                "path": "data/store/clinic/dataset/versions/v1",
            },
            "clinic/metrics": {
                "data_version": "data version of metrics",
                "materialized_at": "2026-01-02T12:05:00+00:00",
                "numbers": METRICS,
                "path": "data/store/clinic/metrics/versions/v1",
            },
        },
        "pipelines": {"clinic": {"retrain": "manual", "next_training_at": None, "daemon_is_running": False}},
    }


def test_the_table_has_the_graphs_order_and_the_headline_of_each_asset(call, project):
    publish_all(project)
    ended = call("status")
    assert [line.rstrip() for line in ended.out.splitlines()] == [
        "asset                 published (UTC)   data version",
        "clinic/raw/scans      2026-01-02 12:00  data version  1,506 files",
        "clinic/records/scans  2026-01-02 12:00  data version  6,009 questions, 10 rejected",
        "clinic/dataset        2026-01-02 12:00  data version  6,001 questions, 1,501 images, 17 rejected",
        "clinic/vocabulary     2026-01-02 12:00  data version  11 answers, 1.000 coverage",
        "clinic/checkpoint     2026-01-02 12:00  data version  0.885 validation accuracy",
        "clinic/predictions    2026-01-02 12:00  data version  1,188 predictions",
        "clinic/metrics        2026-01-02 12:05  data version  0.901 VQA accuracy, 0.376 from the question alone",
        "clinic/champion       2026-01-02 12:06  data version  0.901 VQA accuracy, 0.021 against the champion",
        "",
        "clinic: nothing runs by itself (`retrain: manual`)",
    ]


@pytest.mark.parametrize("home", ["", str(Path(__file__).parents[2])])
def test_when_the_next_training_is_due_and_that_no_daemon_runs(call, project, monkeypatch, home):
    monkeypatch.setenv("DAGSTER_HOME", home)
    project.declare("ward", DECLARATION + "  retrain: {{cron: '0 2 * * *', timezone: Europe/Berlin}}\n")
    project.declare("lab", DECLARATION + "  retrain: on_change\n")
    lines = call("status").out.splitlines()
    assert "clinic: nothing runs by itself (`retrain: manual`)" in lines
    assert "lab: trains when the content changed" in lines
    [ward] = [line for line in lines if line.startswith("ward: ")]
    pattern = r"ward: trains at a tick of the cron, if the content changed; the next is (.*) \(Europe/Berlin\)"
    due = datetime.strptime(re.fullmatch(pattern, ward)[1], "%Y-%m-%d %H:%M").replace(tzinfo=ZoneInfo("Europe/Berlin"))
    assert timedelta(0) < due - datetime.now(UTC) <= timedelta(hours=25)
    assert due.hour == 2
    assert lines.count("Dagster's daemon does not run: `make ui`, or `dagster dev`, starts it.") == 2
    told = json.loads(call("status", "--json").out)["pipelines"]["ward"]
    assert datetime.fromisoformat(told["next_training_at"]) == due
    assert not (project.root / ".dagster").exists(), "looking leaves nothing behind"


def test_what_is_missing_is_shown_as_missing(call, project):
    project.publish("raw/scans")
    lines = call("status").out.splitlines()
    assert lines[1].split() == ["clinic/raw/scans", "2026-01-02", "12:00", "data", "version"]
    assert [line.split() for line in lines[2:9]] == [
        [f"clinic/{asset}", "not", "yet"]
        for asset in ("records/scans", "dataset", "vocabulary", "checkpoint", "predictions", "metrics", "champion")
    ]


def test_paths_lead_there_from_a_folder_of_the_project(call, project, monkeypatch):
    published = project.publish("dataset")
    folder = project.root / "hospital" / "defs"
    monkeypatch.chdir(folder)
    (told,) = json.loads(call("status", "--json").out)["assets"].values()
    assert (folder / told["path"]).resolve() == published.resolve()


def test_several_pipelines_are_told_together_and_one_by_name(call, project):
    project.declare("ward")
    project.publish("dataset")
    project.publish("dataset", pipeline="ward")
    assert list(json.loads(call("status", "--json").out)["assets"]) == ["clinic/dataset", "ward/dataset"]
    assert list(json.loads(call("status", "--json", "--pipeline", "ward").out)["assets"]) == ["ward/dataset"]


def test_an_unknown_pipeline_is_a_mistake_that_names_the_known_ones(call, project):
    ended = call("status", "--pipeline", "nope")
    assert ended.status == 1
    assert ended.err == "error: `--pipeline`: there is no pipeline nope. Pipelines declared: clinic.\n"


def test_a_declaration_outside_of_the_project_is_read_by_path(call, project):
    file = project.declare("ward").rename(project.root / "elsewhere.yaml")
    project.publish("dataset", pipeline="ward")
    assert list(json.loads(call("status", "--json", "--file", str(file)).out)["assets"]) == ["ward/dataset"]


def damage(project) -> dict[str, str]:
    """Four assets damaged in four ways; returns what is to be told of each."""
    publish_all(project)
    store = project.root / "data" / "store" / "clinic"
    (store / "dataset" / "versions" / "v1" / "manifest.json").write_text("{}")
    (store / "vocabulary" / "versions" / "v1" / "manifest.json").unlink()
    (store / "checkpoint" / "current.json").write_text("[]")
    manifest = json.loads((store / "predictions" / "versions" / "v1" / "manifest.json").read_bytes())
    manifest["files"] = {"predictions.parquet": 7}
    (store / "predictions" / "versions" / "v1" / "manifest.json").write_text(json.dumps(manifest))
    return {
        "clinic/dataset": "data/store/clinic/dataset/versions/v1/manifest.json is not a manifest "
        "(asset: Field required)",
        "clinic/vocabulary": "data/store/clinic/vocabulary/versions/v1/manifest.json is missing",
        "clinic/checkpoint": "data/store/clinic/checkpoint/current.json is not a pointer "
        "(list indices must be integers or slices, not str)",
        "clinic/predictions": "data/store/clinic/predictions/versions/v1/predictions.parquet is missing",
    }


def test_damaged_versions_are_told_in_their_rows_and_the_others_as_always(call, project):
    told = damage(project)
    ended = call("status")
    assert (ended.status, ended.err) == (0, "")
    lines = [line.rstrip() for line in ended.out.splitlines()]
    rows = dict(line.split(maxsplit=1) for line in lines[1:9])
    for asset, reason in told.items():
        assert rows[asset].split(maxsplit=1) == ["damaged", reason]
    assert rows["clinic/raw/scans"].endswith("1,506 files")
    assert rows["clinic/metrics"].endswith("0.901 VQA accuracy, 0.376 from the question alone")
    assert lines[9:11] == ["", "The next run makes again what is damaged."]


def test_json_says_of_a_damaged_version_what_is_wrong_and_nothing_that_could_be_taken_for_a_result(call, project):
    told = damage(project)
    ended = call("status", "--json")
    assert (ended.status, ended.err) == (0, "")
    assets = json.loads(ended.out)["assets"]
    assert {asset: found for asset, found in assets.items() if "damaged" in found} == {
        asset: {"damaged": reason} for asset, reason in told.items()
    }
    assert assets["clinic/metrics"]["numbers"] == METRICS


def test_without_damage_nothing_is_said_of_it(call, project):
    publish_all(project)
    assert "damage" not in call("status").out


def test_a_number_that_is_not_known_is_left_out(call, project):
    project.publish("metrics", {"vqa_accuracy": None, "baseline_question_only": 0.4})
    assert call("status").out.splitlines()[7].endswith("  0.400 from the question alone")


def test_a_candidate_that_failed_a_gate_is_told_with_its_page(call, project):
    project.publish("dataset")
    assert "gate" not in call("status").out
    project.fail_gate(make_reject())
    told = "clinic/dataset: a newer candidate failed a gate and was not published: "
    assert call("status").out.splitlines()[-3] == f"{told}data/store/clinic/dataset/candidates/c1/page.html"
