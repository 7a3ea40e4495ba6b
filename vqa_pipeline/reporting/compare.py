"""How a change in accuracy is told: its parts in words, rounded so that they still sum, and a page with the flips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vqa_pipeline.evaluation.intervals import FEWEST_IMAGES
from vqa_pipeline.reporting.galleries import count_references
from vqa_pipeline.reporting.pages import render

if TYPE_CHECKING:
    import pandas as pd

    from vqa_pipeline.evaluation.changes import AccuracyChange

_DIGITS = 4

_PARTS = {
    "policy": ("Metric policy", "the answers before, scored by the policy after"),
    "removed": ("Questions removed", "without the questions that are not asked any more"),
    "edited": ("Answers edited", "against the annotators' answers as they are after"),
    "model": ("Model", "with the answers after, on the questions that both were asked"),
    "added": ("Questions added", "with the questions that were not asked before"),
}


class ToldPart(NamedTuple):
    """A part of a change, for people."""

    label: str
    text: str
    change: float
    """Of the accuracies as they are shown, so that what is shown sums to what is shown."""
    accuracy: float
    num_questions: int


class Flip(NamedTuple):
    """A question that one side answered right and the other wrong."""

    question_id: str
    question: str
    references: list[str]
    before: str | None
    after: str | None
    picture: str
    """A data URI; empty where none is to be shown."""


class ComparedPage(NamedTuple):
    """What the page of a comparison tells."""

    name: str
    """The pipeline's."""
    sides: Sequence[Mapping[str, Any]]
    """`lineage.answered.Side` as JSON: before and after."""
    change: AccuracyChange
    lost: Sequence[Flip]
    won: Sequence[Flip]
    """The first of them."""
    num_lost: int
    num_won: int


def list_parts(change: AccuracyChange) -> list[ToldPart]:
    """The parts of a change in their order."""
    parts, before = [], round(change.before, _DIGITS)
    for step in change.steps:
        accuracy = round(step.accuracy, _DIGITS)
        label, text = _PARTS[step.part]
        parts.append(ToldPart(label, text, round(accuracy - before, _DIGITS), accuracy, step.num_questions))
        before = accuracy
    return parts


def explain_model_part(change: AccuracyChange) -> str:
    """What may be concluded of the model, in a sentence."""
    interval = change.model_interval
    if interval is None:
        return "No question is shared, so nothing can be said of the model."
    told = f"With 95 % confidence the model's part is between {interval.low:+.4f} and {interval.high:+.4f}"
    if change.num_images < FEWEST_IMAGES:
        return f"{told}; that is of {change.num_images} images, which say too little."
    if interval.low > 0:
        return f"{told}: the model is better."
    return f"{told}: the model is worse." if interval.high < 0 else f"{told}: it may be chance."


def describe_flips(rows: pd.DataFrame, pictures: Mapping[str, str]) -> list[Flip]:
    """Rows of `evaluation.changes.find_flips`; pictures are data URIs by the rows' `image`."""
    return [
        Flip(
            question_id=row["question_id"],
            question=row["question"],
            references=count_references([reference["answer"] for reference in row["references"]]),
            before=row["answer_before"] if isinstance(row["answer_before"], str) else None,
            after=row["answer_after"] if isinstance(row["answer_after"], str) else None,
            picture=pictures.get(row["image"], ""),
        )
        for row in rows.to_dict("records")
    ]


def render_comparison(page: ComparedPage) -> str:
    """The page as HTML; it loads nothing from anywhere, and equal input gives equal bytes."""
    parts = list_parts(page.change)
    return render(
        "compare.html",
        **page._asdict(),
        parts=parts,
        total=round(parts[-1].accuracy - round(page.change.before, _DIGITS), _DIGITS),
        widest=max(1e-9, *(abs(part.change) for part in parts)),
        model_part=explain_model_part(page.change),
    )
