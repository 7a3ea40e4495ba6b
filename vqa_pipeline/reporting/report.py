"""The report: one self-contained HTML file that tells how good a model is, where it fails, and what it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from vqa_pipeline.reporting.cards import list_fates
from vqa_pipeline.reporting.pages import group_rejects, render
from vqa_pipeline.reporting.plots import draw_bars, draw_curve, make_thumbnail
from vqa_pipeline.schemas import Locator

GALLERY_SIZE = 12

_METRIC_TEXTS = {
    "official": "an answer counts fully when at least three of ten people gave it, averaged over the ten ways of "
    "leaving one out.",
    "normalized": "both sides are normalized, and an answer that m of n people gave counts min(1, m / (0.3 n)).",
}


class ReportInput(NamedTuple):
    """What a report tells."""

    name: str
    splits: Sequence[str]
    metrics: Mapping[str, Any]
    """`evaluation.metrics.Metrics` as JSON."""
    training: Mapping[str, Any]
    """The checkpoint's training.json."""
    ledger: Mapping[str, Any]
    rejects: Path
    """Folder of the dataset's rejects."""
    right: list[dict[str, Any]]
    wrong: list[dict[str, Any]]
    provenance: Mapping[str, str]


def render_report(told: ReportInput) -> str:
    """The report as HTML; it loads nothing from anywhere."""
    metrics = told.metrics
    bars = {
        "model": metrics["vqa_accuracy"],
        "question only": metrics["baseline_question_only"],
        "per question type": metrics["baseline_question_type"],
        "most common answer": metrics["baseline_majority"],
        "ceiling": metrics["ceiling"],
    }
    return render(
        "report.html",
        name=told.name,
        splits=told.splits,
        metrics=metrics,
        metric_text=_METRIC_TEXTS[metrics["metric"]],
        training=told.training,
        fates=list_fates(told.ledger),
        reject_groups=group_rejects(told.rejects),
        right=told.right,
        wrong=told.wrong,
        bars=draw_bars(bars, "model"),
        curve=draw_curve(told.training["curve"]),
        provenance=told.provenance,
    )


def pick_gallery(
    questions: pd.DataFrame, scored: pd.DataFrame, predictions: pd.DataFrame, read_image: Callable[[str], bytes]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Questions answered right and wrong, with their pictures; the most confident mistakes first.

    Args:
        questions: `schemas.QUESTIONS`.
        scored: question_id, score.
        predictions: question_id, answer, score (the model's confidence).
        read_image: Bytes of an image by its sha256.
    """
    confidence = predictions.rename(columns={"score": "confidence"})[["question_id", "answer", "confidence"]]
    rows = questions.merge(scored[["question_id", "score"]], on="question_id").merge(confidence, on="question_id")
    rows = rows[rows["image_sha256"].notna()].sort_values(["confidence", "question_id"], ascending=[False, True])
    right = rows[rows["score"] >= 1].drop_duplicates("image_sha256")
    spread = right.iloc[:: max(1, len(right) // GALLERY_SIZE)]
    return _take(spread, read_image), _take(rows[rows["score"] == 0], read_image)


def _take(rows: pd.DataFrame, read_image: Callable[[str], bytes]) -> list[dict[str, Any]]:
    return [
        {
            "question_id": row["question_id"],
            "question": row["question"],
            "answer": row["answer"],
            "confidence": float(row["confidence"]),
            "references": list(dict.fromkeys(answer["answer"] for answer in row["answers"])),
            "place": str(_read_locator(row["locator"])),
            "picture": make_thumbnail(read_image(row["image_sha256"])),
        }
        for _, row in rows.head(GALLERY_SIZE).iterrows()
    ]


def _read_locator(value: Mapping[str, Any]) -> Locator:
    numbers = {
        name: None if pd.isna(value[name]) else int(value[name]) for name in ("record", "item", "byte_offset", "line")
    }
    return Locator(file=value["file"], record=numbers.pop("record") or 0, **numbers)
