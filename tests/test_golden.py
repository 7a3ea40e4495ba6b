"""What stages made of the same inputs and settings when their numbers were last raised.

When one of these fails, results have changed: raise the stage's number in `STAGE_NUMBERS` and write the new value here,
or find out why they have. Trainings have their golden losses in tests/modeling/training/test_train.py, generated files
their digest in tests/sources/test_shapes.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_worker import FakeWorker

from vqa_pipeline import stages
from vqa_pipeline.pipeline import Pipeline, PipelineSettings

COLOURS = ("red", "Blue.", "the green", "yellow", "T-shirt", "1,000")
ASKED = ("what is it?", "which one is it", "is it this one?", "how many are there?")
METRICS = {
    "vqa_accuracy": 0.0,
    "baseline_question_only": 0.833333333333,
    "baseline_question_type": 0.5,
    "baseline_majority": 0.333333333333,
    "image_reliance": -0.833333333333,
    "ceiling": 1.0,
    "coverage": 1.0,
    "exact_match": 0.0,
    "num_questions": 24,
    "num_scored": 24,
    "num_unanswered": 24,
    "num_images": 8,
    "interval_low": 0.0,
    "interval_high": 0.444067,
}


def write_rows(folder: Path) -> None:
    """120 questions with three answers each, ten in images that other questions ask about; a few broken rows."""
    rows = [
        {
            "id": number,
            "image": f"{number // 3}.png",
            "question": f"{ASKED[number % 4]} {'again ' * (number % 3)}".strip(),
            "answers": [COLOURS[(number + shift * (number % 2)) % len(COLOURS)] for shift in range(3)],
            "kind": ASKED[number % 4].split()[0],
            "split": ("train", "train", "train", "val", "test")[number // 3 % 5],
        }
        for number in range(120)
    ]
    rows[5]["image"] = "..\\up.png"
    rows[6]["image"] = "a\\b.png"
    rows[7]["answers"] = []
    rows[8]["id"] = 9
    lines = [json.dumps(row) for row in rows]
    lines[10] = lines[10][:-4]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, stages.Outcome]:
    """Every stage from the rows on; the images are not there, so that no image library has a say."""
    folder = tmp_path_factory.mktemp("golden")
    write_rows(folder)
    source = {
        "name": "toys",
        "format": "table",
        "files": "rows.jsonl",
        "columns": {
            "id": "id",
            "image": "image",
            "question": "question",
            "answers": "answers",
            "question_type": "kind",
        },
        "splits": {"column": "split"},
    }
    dataset = {"images_required": False, "max_reject_fraction": 0.1}
    settings = {"sources": [source], "dataset": dataset, "training": {"backbone": "tiny"}}
    pipeline = Pipeline("golden", PipelineSettings.model_validate(settings), folder)
    worker, log = FakeWorker(), [].append
    return {
        "raw": stages.observe_source(pipeline, "toys", log),
        "records": stages.build_records(pipeline, "toys", log),
        "dataset": stages.build_dataset(pipeline, log),
        "vocabulary": stages.build_vocabulary(pipeline, log),
        "checkpoint": stages.train_checkpoint(pipeline, pipeline.settings.training, worker, log),
        "predictions": stages.predict(pipeline, worker, log),
        "metrics": stages.evaluate(pipeline, log),
    }


@pytest.mark.parametrize(
    ("asset", "number", "data_version"),
    [
        ("raw", 2, "f0fa728168c028af0621af04da95f7a6"),
        ("records", 3, "5702730aedb3c70203ee047c377f54ec"),
        ("dataset", 4, "b7208af5da599aa3bd5b5ceb2f544f3e"),
        ("vocabulary", 1, "79ae19be8f47c98f"),
    ],
)
def test_a_stage_makes_what_it_made_under_this_number(versions, asset, number, data_version):
    assert stages.STAGE_NUMBERS[asset] == number
    assert versions[asset].version.manifest.data_version == data_version


@pytest.mark.parametrize(("asset", "number"), [("checkpoint", 3), ("predictions", 3)])
def test_what_a_model_makes_has_its_number(asset, number):
    """A training's golden losses are in tests/modeling/training/test_train.py; predictions follow from it."""
    assert stages.STAGE_NUMBERS[asset] == number


def test_metrics_are_what_they_were_under_this_number(versions):
    assert stages.STAGE_NUMBERS["metrics"] == 4
    assert versions["metrics"].version.manifest.numbers == pytest.approx(METRICS, abs=1e-9)
