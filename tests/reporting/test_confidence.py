"""Calibration for people: diagrams before and after, and what could be answered at which risk."""

from __future__ import annotations

from reporting_world import CALIBRATION, METRICS

from vqa_pipeline.reporting.confidence import tell_confidence
from vqa_pipeline.reporting.plots.reliability import Bin
from vqa_pipeline.reporting.scores import list_headlines

MEASURED = {**METRICS, "calibration": CALIBRATION}


def test_where_nothing_was_measured_there_is_nothing_to_tell():
    assert tell_confidence(METRICS) is None
    assert "Calibration error" not in {one.label for one in list_headlines(METRICS)}


def test_reliability_is_drawn_before_and_after_with_its_error():
    plots = tell_confidence(MEASURED).plots
    assert plots.count("<svg") == 2
    assert plots.index("Before: error 0.200") < plots.index("After calibration: error 0.050")


def test_bins_are_told_as_numbers_unless_they_are_empty():
    assert tell_confidence(MEASURED).bins == [
        ("before", Bin(1, 0.5, 0.0)),
        ("before", Bin(3, 0.9, 0.75)),
        ("after", Bin(4, 0.8, 0.75)),
    ]


def test_coverage_is_told_by_risk_the_smallest_first():
    assert tell_confidence(MEASURED).coverages == [("1%", 0.25), ("5%", 0.5), ("20%", 1.0)]


def test_the_error_is_a_headline():
    told = list_headlines(MEASURED)[2]
    assert (told.label, told.figure, told.is_bad) == ("Calibration error", "0.050", False)
    assert told.text.endswith("0.200 before calibration")
