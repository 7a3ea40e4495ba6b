"""The reliability diagram: bins where they belong, as large as what they hold."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from reporting_world import HOSTILE

from vqa_pipeline.reporting.plots.reliability import Bin, draw_reliability_svg

BINS = [Bin(25, 0.25, 0.0), Bin(75, 0.75, 1.0)]


def draw(bins=BINS, title="After") -> ET.Element:
    return ET.fromstring(draw_reliability_svg(title, bins, "accuracy"))


def test_a_bin_lies_at_its_confidence_and_credit():
    low, high = draw().findall("circle")
    assert (float(low.get("cx")), float(low.get("cy"))) == pytest.approx((46 + 0.25 * 374, 210))
    assert (float(high.get("cx")), float(high.get("cy"))) == pytest.approx((46 + 0.75 * 374, 34))


def test_its_area_tells_its_share_of_the_questions():
    low, high = (float(circle.get("r")) for circle in draw().findall("circle"))
    assert (high / low) ** 2 == pytest.approx(3, rel=0.01)


def test_the_truth_goes_from_corner_to_corner():
    (line,) = [line for line in draw().findall("line") if line.get("class") == "truth"]
    assert [line.get(name) for name in ("x1", "y1", "x2", "y2")] == ["46.0", "210.0", "420.0", "34.0"]


def test_it_tells_itself_to_those_who_do_not_see_it():
    svg = draw()
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == "After: 0.25 sure, 0.00 right (25); 0.75 sure, 1.00 right (75)"
    assert svg.find("circle/title").text == "25 questions: 0.250 sure, 0.000 right"


def test_its_title_is_text():
    assert draw(title=HOSTILE.replace("\x1b", "")).find("text").text.startswith("<script>")


def test_without_questions_there_are_axes_alone():
    assert draw([]).findall("circle") == []
