"""The figures of metrics arranged for people: the headlines, and the model beside what guessing reaches.

For the report and for the asset's page. A figure that was not measured is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vqa_pipeline.reporting.verdicts import tell_verdict

_SCORES = {
    "vqa_accuracy": ("Model", "the trained ViLT"),
    "baseline_shuffled_image": ("Model on another image", "the same model, shown the image of another question"),
    "baseline_question_only": ("Question only", "a linear model that reads the question's words"),
    "baseline_question_type": (
        "Most common answer per question type",
        "the most frequent training answer to that type",
    ),
    "baseline_majority": ("Most common answer", "always the most frequent training answer"),
    "ceiling": ("Ceiling", "what the best choice from the answer vocabulary would score"),
}
"""Label and meaning, by the name in `evaluation.metrics.Metrics`."""

_SHARES = {
    "exact_match": ("Exact match", "questions answered with the annotators' most common answer"),
    "coverage": ("Coverage", "questions with an annotator's answer in the answer vocabulary"),
}


class Score(NamedTuple):
    """A score beside others."""

    label: str
    text: str
    share: float
    """In [0, 1]."""
    interval: Mapping[str, float] | None
    """`low` and `high`, where it is known."""


class Headline(NamedTuple):
    """A figure that everybody looks at first."""

    label: str
    figure: str
    text: str
    """What it means, in a sentence without its full stop."""
    is_bad: bool


def list_scores(metrics: Mapping[str, Any]) -> list[Score]:
    """The model, the baselines and the ceiling.

    Args:
        metrics: `evaluation.metrics.Metrics` as JSON.
    """
    return list(_name_scores(metrics).values())


def find_best_blind(metrics: Mapping[str, Any]) -> Score:
    """The best that was reached without the question's image."""
    return _name_scores(metrics)[f"baseline_{metrics['best_blind']}"]


def _name_scores(metrics: Mapping[str, Any]) -> dict[str, Score]:
    intervals = {"vqa_accuracy": metrics["interval"]}
    return {
        name: Score(label, text, metrics[name], intervals.get(name) or metrics.get(f"{name}_interval"))
        for name, (label, text) in _SCORES.items()
        if metrics.get(name) is not None
    }


def list_shares(metrics: Mapping[str, Any]) -> list[Score]:
    """Shares of questions, of one kind or another."""
    return [Score(label, text, metrics[name], None) for name, (label, text) in _SHARES.items()]


def list_headlines(metrics: Mapping[str, Any]) -> list[Headline]:
    """Accuracy, image reliance, calibration error and the verdict."""
    low, high = metrics["interval"]["low"], metrics["interval"]["high"]
    accuracy = Headline(
        "VQA accuracy",
        f"{metrics['vqa_accuracy']:.3f}",
        f"with 95 % confidence between {low:.3f} and {high:.3f}",
        False,
    )
    return [accuracy, _tell_reliance(metrics), *_tell_calibration(metrics), *_tell_verdict(metrics)]


def _tell_reliance(metrics: Mapping[str, Any]) -> Headline:
    low, high = metrics["image_reliance_interval"]["low"], metrics["image_reliance_interval"]["high"]
    sure = f"with 95 % confidence between {low:+.3f} and {high:+.3f}"
    text = f"accuracy above the best without the image, {sure}"
    return Headline("Image reliance", f"{metrics['image_reliance']:+.3f}", text, low <= 0)


def _tell_calibration(metrics: Mapping[str, Any]) -> list[Headline]:
    calibration = metrics.get("calibration")
    if calibration is None:
        return []
    text = f"how far its confidence is from how often it is right; {calibration['ece_before']:.3f} before calibration"
    return [Headline("Calibration error", f"{calibration['ece']:.3f}", text, False)]


def _tell_verdict(metrics: Mapping[str, Any]) -> list[Headline]:
    told = tell_verdict(metrics)
    if told is None:
        return []
    return [Headline("Verdict", told.outcome, "; ".join(told.reasons), told.outcome == "Held")]
