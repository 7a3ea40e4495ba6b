"""The axes that all plots share: where a value lies in the drawing, and the lines that values are read at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 440, 240, 46, 20, 34, 30
"""Of a drawing and of the margins inside it, in its own units."""

_NICE = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)

Point = tuple[float, float]


class Axes(NamedTuple):
    """Across from `first` to `last`, up from 0 to `top`."""

    first: float
    last: float
    top: float

    def place(self, across: float, up: float) -> Point:
        """Where a point lies, in units of the drawing."""
        share = (across - self.first) / (self.last - self.first or 1)
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        return x, TOP + (1 - up / self.top) * (HEIGHT - TOP - BOTTOM)

    def list_ticks(self) -> list[float]:
        """Values with a grid line."""
        return [self.top * quarter / 4 for quarter in range(5)]


def round_up(value: float) -> float:
    """The smallest simple number that is at least `value`; 1 for 0."""
    if value <= 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(value))
    return next((nice * magnitude for nice in _NICE if nice * magnitude >= value), 10 * magnitude)


def draw_frame_svg(kind: str, title: str, told: str, axes: Axes, below: Sequence[tuple[float, str]]) -> list[str]:
    """An SVG's begin: its title, the grid with its values, and what is written below.

    Args:
        kind: Its class, which gives the colour.
        title: Shown.
        told: The plot in a sentence, for those who do not see it.
        axes: Of the drawing.
        below: Values across, and the text at each.
    """
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told)}" class="plot {escape(kind)}">',
        f'<text x="{LEFT}" y="16" class="title">{escape(title)}</text>',
    ]
    for tick in axes.list_ticks():
        _, y = axes.place(axes.first, tick)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.3g}</text>')
    for across, text in below:
        x, _ = axes.place(across, 0)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(text)}</text>')
    return parts


def draw_line_svg(points: Sequence[Point]) -> str:
    """A line through points of the drawing."""
    return f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def draw_dot_svg(point: Point, radius: float, told: str) -> str:
    """A dot that says what it is when a mouse rests on it."""
    x, y = point
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.3g}"><title>{escape(told)}</title></circle>'
