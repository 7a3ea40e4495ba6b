"""The verdict on a challenger arranged for people: in words, and group by group beside the champion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vqa_pipeline.evaluation.intervals import FEWEST_IMAGES
from vqa_pipeline.reporting.escaping import escape_markdown
from vqa_pipeline.reporting.plots.axes import round_up

_MOST_GAPS = 20

_OUTCOMES = {
    "promoted": ("Promoted", "it replaces the champion"),
    "held": ("Held", "the champion stays in use"),
    "needs_more_data": ("Needs more data", "the champion stays in use"),
    "in_use": ("In use", "it is the champion"),
}
"""Name and consequence of each outcome."""

_WITHOUT_CHAMPION = {
    "promoted": "it is the first champion",
    "held": "nothing comes into use",
    "needs_more_data": "nothing comes into use",
}
"""Consequences where there was no champion to compare with."""


class Gap(NamedTuple):
    """How much more the challenger earns than the champion on a group of questions."""

    label: str
    num_questions: int
    difference: float
    """In [-1, 1]."""
    interval: Mapping[str, float]
    place: float
    """Of the difference in a plot that has 0 in the middle, in [0, 1]."""
    span: Mapping[str, float]
    """`low` and `high` of the interval in that plot."""


class ToldVerdict(NamedTuple):
    """A verdict and what it comes from."""

    outcome: str
    consequence: str
    reasons: list[str]
    gaps: list[Gap]
    """All questions first, then groups with enough images, the greatest loss first; empty without a champion."""
    num_groups: int
    """With enough images, shown or not."""


def tell_verdict(metrics: Mapping[str, Any]) -> ToldVerdict | None:
    """The verdict in words; None where nothing was judged.

    Args:
        metrics: `evaluation.metrics.Metrics` as JSON.
    """
    verdict = metrics.get("verdict")
    return _tell(verdict, metrics.get("comparison")) if verdict else None


def champion_markdown(verdict: Mapping[str, Any], comparison: Mapping[str, Any] | None, before: str | None) -> str:
    """The page of the asset `champion`.

    Args:
        verdict: `evaluation.promotion.Verdict` as JSON.
        comparison: `evaluation.comparison.Comparison` as JSON; None: there was nothing to compare with.
        before: Id of the version of the checkpoint that was in use before it; None: there was none.
    """
    told = _tell(verdict, comparison)
    lines = [
        f"| {escape_markdown(gap.label)} | {gap.num_questions:,} | {gap.difference:+.3f} "
        f"| {gap.interval['low']:+.3f} to {gap.interval['high']:+.3f} |"
        for gap in told.gaps
    ]
    table = (
        ["| | questions | difference | 95 % interval |\n| --- | --- | --- | --- |\n" + "\n".join(lines)]
        if lines
        else []
    )
    return "\n\n".join(
        [
            f"**{told.outcome}**: {told.consequence}.",
            "\n".join(f"- {escape_markdown(reason)}" for reason in told.reasons),
            f"Before: checkpoint {before}." if before else "No checkpoint was in use before.",
            *table,
            "`champion/current` in the store leads to the folder to deploy; `vqa-pipeline champion` tells its history.",
        ]
    )


def _tell(verdict: Mapping[str, Any], comparison: Mapping[str, Any] | None) -> ToldVerdict:
    groups = _list_groups(comparison) if comparison else []
    shown = [("all questions", comparison["total"]), *groups[:_MOST_GAPS]] if comparison else []
    bound = round_up(max((abs(one["interval"][end]) for _, one in shown for end in ("low", "high")), default=1.0))
    gaps = [_arrange(label, one, bound) for label, one in shown]
    outcome, consequence = _OUTCOMES[verdict["outcome"]]
    if comparison is None:
        consequence = _WITHOUT_CHAMPION.get(verdict["outcome"], consequence)
    return ToldVerdict(outcome, consequence, list(verdict["reasons"]), gaps, len(groups))


def _list_groups(comparison: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    telling = [one for one in comparison["slices"] if one["num_images"] >= FEWEST_IMAGES]
    ordered = sorted(telling, key=lambda one: one["difference"])
    return [(f"{one['column'].replace('_', ' ')}: {one['value']}", one) for one in ordered]


def _arrange(label: str, one: Mapping[str, Any], bound: float) -> Gap:
    def place(number: float) -> float:
        return (number / bound + 1) / 2

    span = {end: place(one["interval"][end]) for end in ("low", "high")}
    return Gap(label, one["num_questions"], one["difference"], one["interval"], place(one["difference"]), span)
