"""Calibration arranged for people: whether the model is as often right as it is sure, and what abstaining gains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vqa_pipeline.reporting.plots.reliability import Bin, draw_reliability_svg


class ToldConfidence(NamedTuple):
    """What may be made of the model's probabilities."""

    plots: str
    """SVG: reliability before and after calibration."""
    bins: list[tuple[str, Bin]]
    """The same as numbers, each with `before` or `after`."""
    coverages: list[tuple[str, float]]
    """Risk in per cent, and the share of questions that can be answered at it, in [0, 1]."""


def tell_confidence(metrics: Mapping[str, Any]) -> ToldConfidence | None:
    """Plots and numbers of the calibration; None where it was not measured.

    Args:
        metrics: `evaluation.metrics.Metrics` as JSON; its `calibration` has `ece_before` and `ece` in [0, 1],
            `bins_before` and `bins` (each with `num_questions`, `confidence` and `credit`), and `coverage_at_risk`, a
            share by risk.
    """
    calibration = metrics.get("calibration")
    if calibration is None:
        return None
    before, after = (_read_bins(calibration[name]) for name in ("bins_before", "bins"))
    plots = draw_reliability_svg(f"Before: error {calibration['ece_before']:.3f}", before, "faint")
    plots += draw_reliability_svg(f"After calibration: error {calibration['ece']:.3f}", after, "accuracy")
    bins = [*(("before", one) for one in before), *(("after", one) for one in after)]
    risks = sorted((float(risk), share) for risk, share in calibration["coverage_at_risk"].items())
    return ToldConfidence(plots, bins, [(f"{risk:.0%}", share) for risk, share in risks])


def _read_bins(bins: list[dict[str, Any]]) -> list[Bin]:
    """Those that hold questions."""
    return [Bin(one["num_questions"], one["confidence"], one["credit"]) for one in bins if one["num_questions"]]
