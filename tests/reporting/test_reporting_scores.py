"""Headline figures: what was measured, in words, and what is bad about it."""

from __future__ import annotations

import pytest
from reporting_world import METRICS

from vqa_pipeline.reporting.scores import find_best_blind, list_headlines, list_scores


def test_only_what_was_measured_is_told():
    assert [one.label for one in list_headlines(METRICS)] == ["VQA accuracy", "Image reliance"]
    assert [one.label for one in list_scores(METRICS)][1] == "Question only"


def test_a_baseline_is_told_with_its_interval():
    interval = {"low": 0.1, "high": 0.4}
    measured = {"baseline_shuffled_image": 0.3, "baseline_shuffled_image_interval": interval}
    assert list_scores({**METRICS, **measured})[1][2:] == (0.3, interval)


def test_the_best_blind_is_the_one_that_metrics_name():
    assert find_best_blind(METRICS).label == "Question only"
    shuffled = {"baseline_shuffled_image": 0.41, "best_blind": "shuffled_image"}
    assert find_best_blind({**METRICS, **shuffled}).label == "Model on another image"


@pytest.mark.parametrize(("low", "is_bad"), [(0.1, False), (0.0, True), (-0.25, True)])
def test_image_reliance_is_bad_unless_it_is_above_zero(low, is_bad):
    told = list_headlines({**METRICS, "image_reliance_interval": {"low": low, "high": 0.6}})[1]
    text = f"accuracy above the best without the image, with 95 % confidence between {low:+.3f} and +0.600"
    assert told == ("Image reliance", "+0.350", text, is_bad)


def test_the_verdict_is_told_with_its_reasons():
    verdict = {"outcome": "held", "reasons": ["it is worse on yes/no questions", "by 0.100"]}
    assert list_headlines({**METRICS, "verdict": verdict})[2] == (
        "Verdict",
        "Held",
        "it is worse on yes/no questions; by 0.100",
        True,
    )
