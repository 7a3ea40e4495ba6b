"""The learning curve: SVG for HTML, PNG for Dagster's pages, which show no SVG. Both draw the same panels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vqa_pipeline.reporting.plots.axes import (
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    Axes,
    Point,
    draw_dot_svg,
    draw_frame_svg,
    draw_line_svg,
    round_up,
)

_MAX_EPOCH_LABELS = 7
_PNG_SMOOTHING = 4
"""A PNG is drawn so much finer than it is; Dagster shows every pixel of it, and cuts off what is too wide."""
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

    @property
    def axes(self) -> Axes:
        """From the first epoch to the last, from 0 to `top`."""
        return Axes(self.epochs[0], self.epochs[-1], self.top)

    def list_points(self) -> list[Point]:
        """Where all points lie, in units of the drawing."""
        return [self.axes.place(epoch, value) for epoch, value in zip(self.epochs, self.values, strict=True)]

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


def draw_curve_svg(curve: Sequence[Mapping[str, Any]]) -> str:
    """The learning curve as two SVG panels; empty without points."""
    return "".join(_draw_svg(panel) for panel in arrange_panels(curve)) if curve else ""


def _draw_svg(panel: Panel) -> str:
    below = [(float(epoch), str(epoch)) for epoch in panel.list_epoch_labels()]
    points = panel.list_points()
    dots = [
        draw_dot_svg(point, 3, f"epoch {epoch}: {value:.4g}")
        for point, epoch, value in zip(points, panel.epochs, panel.values, strict=True)
    ]
    frame = draw_frame_svg(panel.kind, panel.title, panel.describe(), panel.axes, below)
    return "".join([*frame, draw_line_svg(points), *dots, _draw_mark_svg(panel, points[panel.marked]), "</svg>"])


def _draw_mark_svg(panel: Panel, point: Point) -> str:
    x, y = point
    left, value = min(x, WIDTH - RIGHT - 16), panel.values[panel.marked]
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="mark"/>'
        f'<text x="{left:.1f}" y="{y - 9:.1f}" text-anchor="middle" class="mark">{value:.3f}</text>'
    )


def draw_curve_png(curve: Sequence[Mapping[str, Any]]) -> str:
    """The learning curve as a PNG data URI; empty without points."""
    from PIL import Image, ImageDraw

    from vqa_pipeline.reporting.images import encode_png

    if not curve:
        return ""
    scale = _PNG_SMOOTHING
    panels = arrange_panels(curve)
    image = Image.new("RGB", (WIDTH * scale * len(panels), HEIGHT * scale), "white")
    for number, panel in enumerate(panels):
        canvas = Image.new("RGB", (WIDTH * scale, HEIGHT * scale), "white")
        _draw_png(ImageDraw.Draw(canvas), panel, scale)
        image.paste(canvas, (number * WIDTH * scale, 0))
    return encode_png(image.reduce(_PNG_SMOOTHING).quantize(64))


def _draw_png(draw: Any, panel: Panel, scale: int) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(12 * scale)

    def write(x: float, y: float, text: str, color: str = _SOFT, anchor: str = "mm") -> None:
        draw.text((x * scale, y * scale), text, fill=color, font=font, anchor=anchor)

    def dot(x: float, y: float, radius: float) -> None:
        box = [(x - radius) * scale, (y - radius) * scale, (x + radius) * scale, (y + radius) * scale]
        draw.ellipse(box, fill=_COLORS[panel.kind])

    write(LEFT, 12, panel.title, _INK, "lm")
    for tick in panel.axes.list_ticks():
        _, y = panel.axes.place(panel.epochs[0], tick)
        draw.line([LEFT * scale, y * scale, (WIDTH - RIGHT) * scale, y * scale], fill=_LINE, width=scale)
        write(LEFT - 8, y, f"{tick:.3g}", anchor="rm")
    for epoch in panel.list_epoch_labels():
        write(panel.axes.place(epoch, 0)[0], HEIGHT - 12, str(epoch))
    points = panel.list_points()
    draw.line([(x * scale, y * scale) for x, y in points], fill=_COLORS[panel.kind], width=2 * scale, joint="curve")
    for x, y in points:
        dot(x, y, 2.5)
    x, y = points[panel.marked]
    dot(x, y, 5)
    write(min(x, WIDTH - RIGHT - 16), y - 14, f"{panel.values[panel.marked]:.3f}", _INK)
