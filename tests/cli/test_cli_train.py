"""Commands that compute, run on a small table of pictures; and settings for one run."""

from __future__ import annotations

import json

import pytest
from cli_world import Ended, Project
from PIL import Image

from vqa_pipeline.cli.train import parse_overrides
from vqa_pipeline.errors import NotPublished, SettingsError
from vqa_pipeline.modeling.settings import TrainingSettings

DECLARED = TrainingSettings(backbone="tiny", epochs=5)
COLOURS = ["red", "green", "blue", "yellow"]


def write_source(root, *, wrong: int = 0) -> None:
    """Twenty pictures of one colour each and a table that asks for it; the last questions name no picture."""
    images = root / "raw" / "images"
    images.mkdir(parents=True, exist_ok=True)
    lines = ["image,question,answer,split"]
    for number in range(20):
        colour = COLOURS[number % 4]
        Image.new("RGB", (16 + number, 16), colour).save(images / f"{number}.png")
        name = f"{number}.png" if number < 20 - wrong else f"\x1b[31m{number}.png"
        split = "train" if number % 5 < 3 else "val" if number % 5 == 3 else "test"
        lines.append(f"{name},what colour is it?,{colour},{split}")
    (root / "raw" / "scans.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def ready(project, monkeypatch) -> Project:
    """A project with its source, and an instance of its own."""
    write_source(project.root)
    monkeypatch.setenv("DAGSTER_HOME", str(project.root))
    (project.root / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return project


def summary(ended: Ended) -> dict[str, str]:
    """The lines of the summary by their label."""
    lines = ended.out.partition("\nclinic\n")[2].splitlines()
    return {line[2:14].strip(): line[16:] for line in lines}


def test_a_run_ends_with_the_summary_and_a_second_one_changes_nothing(call, ready):
    first = call("run", "--until", "vocabulary")
    assert (first.status, first.err) == (0, "")
    told = summary(first)
    assert told["rows"] == "20 read: 20 accepted, 0 rejected, 0 duplicate, 0 excluded"
    assert told["questions"] == "12 train, 4 val, 4 test, on 20 images"
    assert told["vocabulary"] == "4 answers; coverage 1.000 and ceiling 1.000 on test"
    assert "unchanged" not in told["seconds"]
    again = summary(call("run", "--until", "vocabulary"))
    assert again["seconds"].count("unchanged") == 4
    assert (again["rows"], again["vocabulary"]) == (told["rows"], told["vocabulary"])


def test_a_run_publishes_what_status_tells(call, ready, monkeypatch):
    monkeypatch.chdir(ready.root / "hospital")
    assert call("run", "--until", "dataset").status == 0
    told = json.loads(call("status", "--json").out)["assets"]
    assert list(told) == ["clinic/raw/scans", "clinic/records/scans", "clinic/dataset"]
    assert told["clinic/dataset"]["numbers"]["num_questions"] == 20
    assert told["clinic/dataset"]["path"].startswith("../data/store/clinic/dataset/versions/")


def test_a_gate_that_fails_ends_with_status_1_and_its_reason(call, ready):
    write_source(ready.root, wrong=3)
    ended = call("run", "--until", "vocabulary")
    assert ended.status == 1
    assert "clinic/dataset: dataset was not published:" in ended.err
    assert "3 of 20 rows (15.00%) are rejected, more than `dataset.max_reject_fraction: 0.01` allows" in ended.err
    assert "Traceback" not in ended.out + ended.err
    assert "clinic, a candidate that failed a gate: 3 rows were not accepted." in call("rejects").out
    assert "a newer candidate failed a gate" in call("status").out
    write_source(ready.root)
    assert call("run", "--until", "vocabulary").status == 0
    assert "the current dataset: 0 rows" in call("rejects").out
    assert "failed a gate" not in call("status").out


def test_a_missing_source_ends_with_status_1_and_how_to_go_on(call, ready):
    (ready.root / "raw" / "scans.csv").unlink()
    ended = call("train")
    assert ended.status == 1
    assert "clinic/raw/scans: source 'scans'" in ended.err
    assert "Traceback" not in ended.out + ended.err


def test_predicting_without_a_checkpoint_says_what_to_make_first(call, ready):
    assert call("run", "--until", "dataset").status == 0
    ended = call("predict")
    assert ended.status == 1
    assert f"clinic/predictions: {NotPublished('checkpoint', ready.root / 'data/store/clinic')}" in ended.err


def test_settings_for_one_run_are_typed_like_the_declared_ones(project):
    pairs = ["epochs=3", "learning_rate=0.01", "device=cpu"]
    assert parse_overrides(DECLARED, pairs) == {"epochs": 3, "learning_rate": 0.01, "device": "cpu"}


@pytest.mark.parametrize(("text", "value"), [("default", "default"), ("auto", "auto"), ("2e-4", 2e-4)])
def test_a_setting_of_several_types_takes_each(text, value):
    declared = TrainingSettings(backbone="vilt", strategy="head")
    assert parse_overrides(declared, [f"learning_rate={text}"]) == {"learning_rate": value}


def test_the_last_value_of_a_setting_counts_and_none_is_none(project):
    assert parse_overrides(DECLARED, ["epochs=3", "epochs=4"]) == {"epochs": 4}
    assert parse_overrides(DECLARED, []) == {}


def test_a_value_may_contain_an_equals_sign(project):
    assert parse_overrides(DECLARED, ["backbone=models/a=b"]) == {"backbone": "models/a=b"}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("epochs", "'epochs' has no value. Write NAME=VALUE"),
        (
            "epoch=3",
            "there is no training setting 'epoch'. Training settings are: backbone, warm_start, strategy, epochs",
        ),
        ("epochs=many", "epochs: Input should be a valid integer"),
        ("epochs=0", "epochs: Input should be greater than or equal to 1"),
        ("device=tpu", "device: Input should be 'auto', 'cpu' or 'cuda'"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_runs(call, ready, setting, words):
    with pytest.raises(SettingsError, match="--set"):
        parse_overrides(DECLARED, [setting])
    ended = call("train", "--set", setting)
    assert ended.status == 1
    assert ended.err.startswith("error: `--set`: ")
    assert words in ended.err
    assert not (ready.root / "data").exists()
