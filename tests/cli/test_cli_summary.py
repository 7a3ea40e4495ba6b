"""The summary that ends a run."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from reporting_world import TRAINING
from test_cli_status import METRICS

from vqa_pipeline.cli.options import find_pipeline
from vqa_pipeline.cli.summary import format_summary
from vqa_pipeline.reporting.training import list_facts


class Made(NamedTuple):
    asset: str
    seconds: float = 0.04
    reused: bool = False


DATASET = {
    "num_rows": 6019,
    "num_questions": 6001,
    "num_rejected": 17,
    "num_duplicate": 1,
    "num_excluded": 0,
    "num_images": 1501,
    "num_questions_train": 4473,
    "num_questions_val": 340,
    "num_questions_test": 1188,
}
VOCABULARY = {
    "num_answers": 11,
    "num_answers_seen": 12,
    "coverage_train": 0.99,
    "ceiling_train": 0.98,
    "coverage_test": 0.97,
    "ceiling_test": 0.96,
}
CHECKPOINT = {"best_val_accuracy": 0.885, "best_epoch": 17, "num_train_questions": 4473}


@pytest.fixture
def published(project):
    project.publish("dataset", DATASET)
    project.publish("vocabulary", VOCABULARY)
    project.publish("checkpoint", CHECKPOINT, details={"training": TRAINING})
    intervals = {"interval_low": 0.88, "interval_high": 0.92, "baseline_shuffled_image": 0.252}
    project.publish("metrics", METRICS | intervals)
    return project


def test_everything_is_told_in_short(published):
    made = [
        Made("raw/scans", reused=True),
        Made("dataset", 1.047),
        Made("vocabulary"),
        Made("checkpoint", 59.96),
        Made("metrics", 1.9),
    ]
    assert format_summary(find_pipeline(None, None), made).splitlines() == [
        "",
        "clinic",
        "  rows          6,019 read: 6,001 accepted, 17 rejected, 1 duplicate, 0 excluded",
        "  questions     4,473 train, 340 val, 1,188 test, on 1,501 images",
        "  vocabulary    11 answers; coverage 0.970 and ceiling 0.960 on test",
        "  checkpoint    validation accuracy 0.885 in epoch 17; trained on 4,473 questions",
        "  VQA accuracy  0.901 (0.880 to 0.920) on 1,188 questions",
        "    baselines   0.252  the model itself, shown other images",
        "                0.376  from the question alone",
        "                0.370  most common answer per question type",
        "                0.250  most common answer",
        "  seconds       raw/scans unchanged, dataset 1.0, vocabulary 0.0, checkpoint 60.0, metrics 1.9; 63.0 in all",
        "  report        data/store/clinic/metrics/versions/v1/report.html",
    ]


def test_only_what_was_made_is_told_and_a_training_in_full_where_nothing_comes_after_it(published):
    curves = published.root / "data" / "scratch" / "clinic" / "training" / "f00d" / "tensorboard"
    curves.mkdir(parents=True)
    told = format_summary(find_pipeline(None, None), [Made("checkpoint", 60)])
    facts = [f"  {label:<12}  {text}" for label, text in list_facts(TRAINING)]
    assert told.splitlines() == [
        "",
        "clinic",
        "  checkpoint    validation accuracy 0.885 in epoch 17; trained on 4,473 questions",
        *facts,
        "  curves        tensorboard --logdir data/scratch/clinic/training/f00d/tensorboard",
        "  seconds       checkpoint 60.0; 60.0 in all",
    ]


def test_the_report_is_found_from_a_folder_of_the_project(published, monkeypatch):
    monkeypatch.chdir(published.root / "hospital")
    told = format_summary(find_pipeline(None, None), [Made("metrics")])
    assert told.endswith("report        ../data/store/clinic/metrics/versions/v1/report.html")


def test_a_vocabulary_without_evaluated_split_is_told_for_the_last_one(project):
    project.publish("vocabulary", {**VOCABULARY, "coverage_test": 0.5} | {"coverage_val": 0.7})
    assert "coverage 0.500" in format_summary(find_pipeline(None, None), [Made("vocabulary")])
