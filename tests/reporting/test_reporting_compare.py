"""How a change is told: what is shown sums to what is shown, and what may be concluded of the model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.evaluation.changes import AccuracyChange, Step
from vqa_pipeline.evaluation.intervals import Interval
from vqa_pipeline.reporting.compare import explain_model_part, list_parts

PARTS = ("policy", "removed", "edited", "model", "added")


def change(before: float, *accuracies: float, **told: object) -> AccuracyChange:
    steps, start = [], before
    for part, accuracy in zip(PARTS, accuracies, strict=True):
        steps.append(Step(part=part, change=round(accuracy - start, 6), accuracy=accuracy, num_questions=1))
        start = accuracy
    facts = {"model_interval": Interval(low=0, high=0), "num_images": 100, **told}
    return AccuracyChange(before=before, after=start, change=round(start - before, 6), steps=tuple(steps), **facts)


def test_parts_are_told_of_the_accuracies_as_they_are_shown():
    parts = list_parts(change(0.33335, 0.33335, 0.33344, 0.33353, 0.66662, 0.66662))
    assert [part.label for part in parts] == [
        "Metric policy",
        "Questions removed",
        "Answers edited",
        "Model",
        "Questions added",
    ]
    assert [part.change for part in parts] == [0, 0.0001, 0.0001, 0.3331, 0]
    assert [part.accuracy for part in parts] == [0.3333, 0.3334, 0.3335, 0.6666, 0.6666]


@given(st.lists(st.floats(0, 1).map(lambda share: round(share, 6)), min_size=6, max_size=6))
def test_what_is_shown_sums_to_what_is_shown(accuracies):
    told = change(*accuracies)
    shown = [f"{part.change:+.4f}" for part in list_parts(told)]
    whole = round(10_000 * round(told.after, 4)) - round(10_000 * round(told.before, 4))
    assert sum(round(10_000 * float(text)) for text in shown) == whole


@pytest.mark.parametrize(
    ("low", "high", "conclusion"),
    [(0.01, 0.03, "the model is better."), (-0.03, -0.01, "the model is worse."), (-0.01, 0.03, "it may be chance.")],
)
def test_the_interval_decides_what_is_concluded(low, high, conclusion):
    told = explain_model_part(change(0.5, 0.5, 0.5, 0.5, 0.6, 0.6, model_interval=Interval(low=low, high=high)))
    assert told == f"With 95 % confidence the model's part is between {low:+.4f} and {high:+.4f}: {conclusion}"


def test_of_few_images_and_of_none_nothing_is_concluded():
    same = (0.5,) * 6
    assert explain_model_part(change(*same, num_images=29)).endswith("that is of 29 images, which say too little.")
    assert explain_model_part(change(*same, model_interval=None, num_images=0)) == (
        "No question is shared, so nothing can be said of the model."
    )
