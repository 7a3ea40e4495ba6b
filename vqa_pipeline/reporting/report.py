"""The report: one self-contained HTML file that tells how good a model is, where it fails and what made it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vqa_pipeline.evaluation.intervals import FEWEST_IMAGES
from vqa_pipeline.reporting.images import make_thumbnail
from vqa_pipeline.reporting.ledger import sum_sources
from vqa_pipeline.reporting.pages import render
from vqa_pipeline.reporting.plots import draw_curve_svg
from vqa_pipeline.reporting.rejects import group_rejects
from vqa_pipeline.reporting.training import list_rates
from vqa_pipeline.schemas import Locator

if TYPE_CHECKING:
    import pandas as pd

GALLERY_SIZE = 12
_SHOWN_SLICES = 25

_METRIC_TEXTS = {
    "official": "an answer that three of ten annotators gave is right, one that fewer gave is partly right; averaged "
    "over the ten ways of leaving one annotator out.",
    "normalized": "spelling is normalized on both sides, and an answer that m of a question's n annotators gave counts "
    "min(1, m / (0.3 n)); with one annotator, that is right or wrong.",
}

_SCORES = (
    ("vqa_accuracy", "Model", "the trained ViLT"),
    ("baseline_question_only", "Question only", "a linear model that reads the question's words"),
    (
        "baseline_question_type",
        "Most common answer per question type",
        "the most frequent training answer to that type",
    ),
    ("baseline_majority", "Most common answer", "always the most frequent training answer"),
    ("ceiling", "Ceiling", "what the best choice from the answer vocabulary would score"),
)
_SHARES = (
    ("exact_match", "Exact match", "questions answered with the annotators' most common answer"),
    ("coverage", "Coverage", "questions with an annotator's answer in the answer vocabulary"),
)


class ReportInput(NamedTuple):
    """What a report tells."""

    name: str
    """The pipeline's."""
    splits: Sequence[str]
    """The evaluated ones."""
    metrics: Mapping[str, Any]
    """`evaluation.metrics.Metrics` as JSON."""
    training: Mapping[str, Any]
    """The checkpoint's training.json."""
    ledger: Mapping[str, Any]
    """`curation.ledger.Ledger` of the dataset as JSON."""
    rejects: Path
    """Folder of the dataset's rejects."""
    right: list[dict[str, Any]]
    wrong: list[dict[str, Any]]
    """Both from `pick_gallery`."""
    provenance: Mapping[str, str]
    """Versions, settings, packages, commit: label and text."""


def render_report(told: ReportInput) -> str:
    """The report as HTML; it loads nothing from anywhere, and equal input gives equal bytes."""
    metrics = told.metrics
    blind = max(score for name, score in metrics.items() if name.startswith("baseline_"))
    return render(
        "report.html",
        name=told.name,
        splits=told.splits,
        metrics=metrics,
        metric_text=_METRIC_TEXTS[metrics["metric"]],
        verdict=f"The best guess without looking at the image reaches {blind:.3f}.",
        looks=metrics["vqa_accuracy"] > blind,
        scores=[(label, text, metrics[name]) for name, label, text in _SCORES],
        shares=[(label, text, metrics[name]) for name, label, text in _SHARES],
        slices_by_column=_group_slices(metrics["slices"]),
        shown_slices=_SHOWN_SLICES,
        fewest_images=FEWEST_IMAGES,
        right=told.right,
        wrong=told.wrong,
        training=told.training,
        curve=draw_curve_svg(told.training["curve"]),
        rates=list_rates(told.training),
        accounts=sum_sources(told.ledger),
        reject_groups=group_rejects(told.rejects),
        provenance=told.provenance,
    )


def _group_slices(slices: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Slices under the title of their column, in their order."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for one in slices:
        grouped.setdefault(one["column"], []).append(one)
    return [(column.replace("_", " ").capitalize(), rows) for column, rows in grouped.items()]


def pick_gallery(
    questions: pd.DataFrame,
    scored: pd.DataFrame,
    predictions: pd.DataFrame,
    read_image: Callable[[str], bytes],
    size: int = GALLERY_SIZE,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Questions answered right and wrong, with their pictures: the surest mistakes, and right answers sure and unsure.

    The same choice for the same rows in any order. An image is shown once; the same mistake to the same question is
    shown once.

    Args:
        questions: Columns of `schemas.QUESTIONS`.
        scored: question_id, score (credit in [0, 1]).
        predictions: question_id, answer, score (the model's confidence); where there is a variant, only `model` counts.
        read_image: Bytes of an image by its sha256.
        size: At most this many of each.
    """
    rows = _join(questions, scored, predictions)
    right = _spread(rows[rows["credit"] >= 1], size).drop_duplicates("image_sha256")
    wrong = rows[rows["credit"] == 0].drop_duplicates("image_sha256").drop_duplicates(["question", "answer"])
    return (
        [_describe(row, read_image) for row in right.to_dict("records")],
        [_describe(row, read_image) for row in wrong.head(size).to_dict("records")],
    )


def _join(questions: pd.DataFrame, scored: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Scored questions that have an image, the surest answer first."""
    if "variant" in predictions.columns:
        predictions = predictions[predictions["variant"] == "model"]
    answered = predictions[["question_id", "answer", "score"]].rename(columns={"score": "confidence"})
    credited = scored[["question_id", "score"]].rename(columns={"score": "credit"})
    rows = questions.merge(credited, on="question_id").merge(answered, on="question_id")
    shown = rows[rows["image_sha256"].notna()]
    return shown.sort_values(["confidence", "question_id"], ascending=[False, True], kind="stable")


def _spread(rows: pd.DataFrame, size: int) -> pd.DataFrame:
    """At most `size` rows at even distances, the first and the last among them."""
    if len(rows) <= size:
        return rows
    return rows.iloc[[round(number * (len(rows) - 1) / max(1, size - 1)) for number in range(size)]]


def _describe(row: Mapping[Any, Any], read_image: Callable[[str], bytes]) -> dict[str, Any]:
    return {
        "question_id": row["question_id"],
        "question": row["question"],
        "answer": row["answer"],
        "confidence": float(row["confidence"]),
        "references": _count_references([answer["answer"] for answer in row["answers"]]),
        "place": str(_read_locator(row["locator"])),
        "picture": make_thumbnail(read_image(row["image_sha256"])),
    }


def _count_references(answers: Sequence[str]) -> list[str]:
    """The distinct answers, the most frequent first, with how often where that is more than once."""
    ordered = sorted(Counter(answers).items(), key=lambda counted: (-counted[1], counted[0]))
    return [answer if times == 1 else f"{answer} (×{times})" for answer, times in ordered]  # noqa: RUF001


def _read_locator(value: Mapping[str, Any]) -> Locator:
    """A locator out of pandas, which makes floats of columns with gaps."""
    numbers = {name: value[name] for name in ("record", "item", "byte_offset", "line")}
    known = {name: int(number) for name, number in numbers.items() if number is not None and number == number}  # noqa: PLR0124 - not NaN
    return Locator(file=value["file"], record=known.pop("record"), **known)
