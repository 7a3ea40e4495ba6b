"""The report: one self-contained HTML file that tells how good a model is, where it fails and what made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vqa_pipeline.evaluation.intervals import FEWEST_IMAGES
from vqa_pipeline.reporting.changes import Change
from vqa_pipeline.reporting.confidence import tell_confidence
from vqa_pipeline.reporting.galleries import Shot
from vqa_pipeline.reporting.ledger import sum_sources
from vqa_pipeline.reporting.pages import render
from vqa_pipeline.reporting.plots.curve import draw_curve_svg
from vqa_pipeline.reporting.rejects import group_rejects
from vqa_pipeline.reporting.scores import find_best_blind, list_headlines, list_scores, list_shares
from vqa_pipeline.reporting.training import list_rates
from vqa_pipeline.reporting.verdicts import tell_verdict

_SHOWN_SLICES = 25

_METRIC_TEXTS = {
    "official": "an answer that three of ten annotators gave is right, one that fewer gave is partly right; averaged "
    "over the ten ways of leaving one annotator out.",
    "normalized": "spelling is normalized on both sides, and an answer that m of a question's n annotators gave counts "
    "min(1, m / (0.3 n)); with one annotator, that is right or wrong.",
}


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
    rejects: Path | None
    """Folder of the dataset's rejects; None: their rows are not to be shown."""
    shots: Mapping[str, Sequence[Shot]]
    """By the fields of `galleries.Galleries`."""
    num_suspects: int
    """All of them, shown or not."""
    suspect_files: Sequence[str]
    """Beside the report: the suspects as corrections to fill in."""
    changes: Sequence[Change]
    """What is otherwise than in the metrics before; empty where there are none."""
    provenance: Mapping[str, str]
    """Versions, settings, packages, commit: label and text."""


def render_report(told: ReportInput) -> str:
    """The report as HTML; it loads nothing from anywhere, and equal input gives equal bytes."""
    metrics = told.metrics
    return render(
        "report.html",
        name=told.name,
        splits=told.splits,
        metrics=metrics,
        metric_text=_describe_metric(metrics["metric"]),
        blind=find_best_blind(metrics),
        looks=metrics["image_reliance_interval"]["low"] > 0,
        headlines=list_headlines(metrics)[1:],
        scores=list_scores(metrics),
        shares=list_shares(metrics),
        verdict=tell_verdict(metrics),
        changes=told.changes,
        slices_by_column=group_slices(metrics["slices"]),
        shown_slices=_SHOWN_SLICES,
        fewest_images=FEWEST_IMAGES,
        confidence=tell_confidence(metrics),
        shots=told.shots,
        num_suspects=told.num_suspects,
        suspect_files=told.suspect_files,
        training=told.training,
        curve=draw_curve_svg(told.training["curve"]),
        rates=list_rates(told.training),
        accounts=sum_sources(told.ledger),
        reject_groups=group_rejects(told.rejects) if told.rejects is not None else [],
        provenance=told.provenance,
    )


def _describe_metric(policy: str) -> str:
    strict, _, relaxed = policy.partition("_")
    return _METRIC_TEXTS[strict] + (" A number counts as given that is at most 5 % from it." if relaxed else "")


def group_slices(slices: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Slices under the title of their column, in their order."""
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for one in slices:
        grouped.setdefault(one["column"], []).append(one)
    return [(column.replace("_", " ").capitalize(), rows) for column, rows in grouped.items()]
