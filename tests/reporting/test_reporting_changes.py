"""What changed: numbers and settings that differ, and nothing else."""

from __future__ import annotations

from vqa_pipeline.reporting.changes import Change, Facts, list_changes


def test_numbers_are_told_as_they_were_and_are_with_their_difference():
    before = Facts({"num_questions": 1000, "vqa_accuracy": 0.5, "num_images": 3, "stage_seconds": 1}, {})
    now = Facts({"num_questions": 1200, "vqa_accuracy": 0.4375, "num_images": 3, "stage_seconds": 2}, {})
    assert list_changes(before, now) == [
        Change("accepted questions", "1,000", "1,200", "+200"),
        Change("VQA accuracy", "0.500", "0.438", "-0.062"),
    ]


def test_a_number_that_was_not_told_before_is_no_change():
    assert list_changes(Facts({}, {}), Facts({"num_images": 3}, {})) == []


def test_settings_are_told_that_differ_came_or_went():
    before = Facts({}, {"training.epochs": 1, "training.patience": 2, "training.lora": 8})
    now = Facts(
        {},
        {"training.epochs": 3, "training.patience": 2, "evaluation.images": True, "evaluation.splits": ["test", "val"]},
    )
    assert list_changes(before, now) == [
        Change("training.epochs", "1", "3", ""),
        Change("evaluation.images", "", "true", ""),
        Change("evaluation.splits", "", '["test", "val"]', ""),
        Change("training.lora", "8", "", ""),
    ]
