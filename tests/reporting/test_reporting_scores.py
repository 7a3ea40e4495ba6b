"""Headline figures: what was measured, in words, and what is bad about it."""

from __future__ import annotations

import pytest
from reporting_world import METRICS

from vqa_pipeline.reporting.scores import find_best_blind, list_headlines, list_scores

RELIANCE = {"image_reliance": 0.35, "image_reliance_interval": {"low": 0.1, "high": 0.6}}


def test_only_what_was_measured_is_told():
    assert [one.label for one in list_headlines(METRICS)] == ["VQA accuracy"]
    assert [one.label for one in list_scores(METRICS)][1] == "Question only"


def test_a_baseline_is_told_with_its_interval():
    interval = {"low": 0.1, "high": 0.4}
    measured = {"baseline_shuffled_image": 0.3, "baseline_shuffled_image_interval": interval}
    assert list_scores({**METRICS, **measured})[1][2:] == (0.3, interval)


def test_the_best_blind_is_the_best_of_all_baselines():
    assert find_best_blind(METRICS).label == "Question only"
    assert find_best_blind({**METRICS, "baseline_shuffled_image": 0.41}).label == "Model on another image"


@pytest.mark.parametrize(
    ("low", "text", "is_bad"),
    [
        (0.1, "+0.100 to +0.600 above question only", False),
        (0.0, "+0.000 to +0.600 above question only: nothing shows that it looks at the images", True),
    ],
)
def test_image_reliance_is_bad_unless_it_is_above_zero(low, text, is_bad):
    reliance = RELIANCE | {"image_reliance_interval": {"low": low, "high": 0.6}}
    assert list_headlines({**METRICS, **reliance})[1] == ("Image reliance", "+0.350", text, is_bad)


def test_the_verdict_is_told_with_its_reasons():
    verdict = {"outcome": "held", "reasons": ["it is worse on yes/no questions", "by 0.100"]}
    assert list_headlines({**METRICS, "verdict": verdict})[1] == (
        "Verdict",
        "Held",
        "it is worse on yes/no questions; by 0.100",
        True,
    )
