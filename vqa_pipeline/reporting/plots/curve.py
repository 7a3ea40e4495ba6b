"""The learning curve, drawn without a plotting library: SVG for HTML, PNG for Dagster's pages, which show no SVG.

Both draw the same panels. The SVG's colours are the page's custom properties, so it follows light and dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 440, 240, 46, 20, 34, 30
_MAX_EPOCH_LABELS = 7
_NICE = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_PNG_SCALE, _PNG_SMOOTHING = 2, 2
_INK, _SOFT, _LINE = "#1c2430", "#5b6675", "#dfe3e8"
_COLORS = {"accuracy": "#1d5fd1", "loss": "#c2571a"}


class Panel(NamedTuple):
    """One line over epochs, from 0 to `top`."""

    title: str
    kind: str
    """`accuracy` or `loss`: names the colour."""
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    top: float
    marked: int
    """Index of the point whose value is written beside it."""

    def place(self, epoch: float, value: float) -> tuple[float, float]:
        """Where a point lies, in units of the drawing."""
        across = (epoch - self.epochs[0]) / max(1, self.epochs[-1] - self.epochs[0])
        x = _LEFT + across * (_WIDTH - _LEFT - _RIGHT)
        return x, _TOP + (1 - value / self.top) * (_HEIGHT - _TOP - _BOTTOM)

    def list_points(self) -> list[tuple[float, float]]:
        """Where all points lie."""
        return [self.place(epoch, value) for epoch, value in zip(self.epochs, self.values, strict=True)]

    def list_ticks(self) -> list[float]:
        """Values with a grid line."""
        return [self.top * quarter / 4 for quarter in range(5)]

    def list_epoch_labels(self) -> list[int]:
        """Epochs that are written below: whole numbers, evenly apart, the first among them."""
        first, last = self.epochs[0], self.epochs[-1]
        return list(range(first, last + 1, max(1, math.ceil((last - first + 1) / _MAX_EPOCH_LABELS))))

    def describe(self) -> str:
        """The panel in a sentence, for those who do not see it."""
        return (
            f"{self.title}: from {self.values[0]:.3f} in epoch {self.epochs[0]} to {self.values[-1]:.3f} in epoch "
            f"{self.epochs[-1]}; {self.values[self.marked]:.3f} in epoch {self.epochs[self.marked]}"
        )


def arrange_panels(curve: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """Validation accuracy, its best epoch marked, and training loss, its last epoch marked.

    Args:
        curve: At least one point with `epoch`, `loss` and `val_accuracy`.
    """
    epochs = tuple(int(point["epoch"]) for point in curve)
    accuracy = tuple(float(point["val_accuracy"]) for point in curve)
    loss = tuple(float(point["loss"]) for point in curve)
    best = accuracy.index(max(accuracy))
    return [
        Panel("Validation accuracy by epoch", "accuracy", epochs, accuracy, 1.0, best),
        Panel("Training loss by epoch", "loss", epochs, loss, round_up(max(loss)), len(loss) - 1),
    ]


def round_up(value: float) -> float:
    """The smallest simple number that is at least `value`; 1 for 0."""
    if value <= 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(value))
    return next((nice * magnitude for nice in _NICE if nice * magnitude >= value), 10 * magnitude)


def draw_curve_svg(curve: Sequence[Mapping[str, Any]]) -> str:
    """The learning curve as two SVG panels; empty without points."""
    return "".join(_draw_svg(panel) for panel in arrange_panels(curve)) if curve else ""


def _draw_svg(panel: Panel) -> str:
    told = escape(panel.describe())
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{told}" class="plot {panel.kind}">',
        f'<text x="{_LEFT}" y="16" class="title">{escape(panel.title)}</text>',
    ]
    for tick in panel.list_ticks():
        _, y = panel.place(panel.epochs[0], tick)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.3g}</text>')
    for epoch in panel.list_epoch_labels():
        x, _ = panel.place(epoch, 0)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{epoch}</text>')
    points = panel.list_points()
    parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>')
    for (x, y), epoch, value in zip(points, panel.epochs, panel.values, strict=True):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>epoch {epoch}: {value:.4g}</title></circle>')
    return "".join([*parts, _draw_mark_svg(panel, points[panel.marked]), "</svg>"])


def _draw_mark_svg(panel: Panel, point: tuple[float, float]) -> str:
    x, y = point
    left, value = min(x, _WIDTH - _RIGHT - 16), panel.values[panel.marked]
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="mark"/>'
        f'<text x="{left:.1f}" y="{y - 9:.1f}" text-anchor="middle" class="mark">{value:.3f}</text>'
    )


def draw_curve_png(curve: Sequence[Mapping[str, Any]]) -> str:
    """The learning curve as a PNG data URI, at twice the size that it is meant to be seen at; empty without points."""
    from PIL import Image, ImageDraw

    from vqa_pipeline.reporting.images import encode_png

    if not curve:
        return ""
    scale = _PNG_SCALE * _PNG_SMOOTHING
    panels = arrange_panels(curve)
    image = Image.new("RGB", (_WIDTH * scale * len(panels), _HEIGHT * scale), "white")
    for number, panel in enumerate(panels):
        canvas = Image.new("RGB", (_WIDTH * scale, _HEIGHT * scale), "white")
        _draw_png(ImageDraw.Draw(canvas), panel, scale)
        image.paste(canvas, (number * _WIDTH * scale, 0))
    return encode_png(image.reduce(_PNG_SMOOTHING).quantize(64))


def _draw_png(draw: Any, panel: Panel, scale: int) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(12 * scale)

    def write(x: float, y: float, text: str, color: str = _SOFT, anchor: str = "mm") -> None:
        draw.text((x * scale, y * scale), text, fill=color, font=font, anchor=anchor)

    def dot(x: float, y: float, radius: float) -> None:
        box = [(x - radius) * scale, (y - radius) * scale, (x + radius) * scale, (y + radius) * scale]
        draw.ellipse(box, fill=_COLORS[panel.kind])

    write(_LEFT, 12, panel.title, _INK, "lm")
    for tick in panel.list_ticks():
        _, y = panel.place(panel.epochs[0], tick)
        draw.line([_LEFT * scale, y * scale, (_WIDTH - _RIGHT) * scale, y * scale], fill=_LINE, width=scale)
        write(_LEFT - 8, y, f"{tick:.3g}", anchor="rm")
    for epoch in panel.list_epoch_labels():
        write(panel.place(epoch, 0)[0], _HEIGHT - 12, str(epoch))
    points = panel.list_points()
    draw.line([(x * scale, y * scale) for x, y in points], fill=_COLORS[panel.kind], width=2 * scale, joint="curve")
    for x, y in points:
        dot(x, y, 2.5)
    x, y = points[panel.marked]
    dot(x, y, 5)
    write(min(x, _WIDTH - _RIGHT - 16), y - 14, f"{panel.values[panel.marked]:.3f}", _INK)
