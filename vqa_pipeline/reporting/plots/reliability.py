"""Whether a probability is one: how often answers were right, by how sure the model was of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from vqa_pipeline.reporting.plots.axes import Axes, draw_dot_svg, draw_frame_svg, draw_line_svg

_AXES = Axes(0.0, 1.0, 1.0)
_SMALLEST, _LARGEST = 2.5, 11.0
_BELOW = [(quarter / 4, f"{quarter / 4:g}") for quarter in range(5)]


class Bin(NamedTuple):
    """Answers of about the same probability."""

    num_questions: int
    confidence: float
    """Their mean probability of being right, in [0, 1]."""
    credit: float
    """Their mean credit, in [0, 1]."""


def draw_reliability_svg(title: str, bins: Sequence[Bin], kind: str) -> str:
    """A dot for each bin, the larger the more questions it holds; on the dashed line it tells the truth.

    Args:
        title: Shown.
        bins: Those that hold questions, in the order of their confidence.
        kind: Class of the drawing, which gives the colour.
    """
    total = sum(one.num_questions for one in bins)
    told = "; ".join(f"{one.confidence:.2f} sure, {one.credit:.2f} right ({one.num_questions:,})" for one in bins)
    points = [_AXES.place(one.confidence, one.credit) for one in bins]
    dots = [
        draw_dot_svg(
            point,
            _find_radius(one.num_questions / total),
            f"{one.num_questions:,} questions: {one.confidence:.3f} sure, {one.credit:.3f} right",
        )
        for point, one in zip(points, bins, strict=True)
    ]
    (x1, y1), (x2, y2) = _AXES.place(0, 0), _AXES.place(1, 1)
    truth = f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="truth"/>'
    frame = draw_frame_svg(kind, title, f"{title}: {told}", _AXES, _BELOW)
    return "".join([*frame, truth, draw_line_svg(points), *dots, "</svg>"])


def _find_radius(share: float) -> float:
    """So that the area tells the share."""
    return max(_SMALLEST, _LARGEST * math.sqrt(share))
