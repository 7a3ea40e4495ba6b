"""Plots without a plotting library: small inline SVG for HTML, PNG for Dagster's pages, which show no SVG.

Colours come from the page (`currentColor` and custom properties), so the SVG follows light and dark mode.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 220, 44, 26, 12


def draw_bars(values: Mapping[str, float], highlight: str) -> str:
    """Horizontal bars of shares in [0, 1], one of them highlighted, as SVG."""
    row, label = 30, 210
    height = row * len(values) + 6
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Bar chart" class="plot">']
    for number, (name, value) in enumerate(values.items()):
        y = number * row + 4
        width = max(1.0, value * (_WIDTH - label - 70))
        kind = "bar highlight" if name == highlight else "bar"
        parts += [
            f'<text x="{label - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{label}" y="{y}" width="{width:.1f}" height="22" rx="3" class="{kind}"/>',
            f'<text x="{label + width + 6:.1f}" y="{y + 16}">{value:.3f}</text>',
        ]
    return "".join([*parts, "</svg>"])


def draw_curve(curve: Sequence[Mapping[str, Any]]) -> str:
    """Loss (scaled to its maximum) and validation accuracy over epochs, as SVG."""
    if not curve:
        return ""
    top_loss = max(float(point["loss"]) for point in curve) or 1.0
    loss = [float(point["loss"]) / top_loss for point in curve]
    accuracy = [float(point["val_accuracy"]) for point in curve]
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Learning curve" class="plot">']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _place_y(tick)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts += [_draw_line(loss, "line loss"), _draw_line(accuracy, "line accuracy")]
    first, last = curve[0]["epoch"], curve[-1]["epoch"]
    parts.append(f'<text x="{_LEFT}" y="{_HEIGHT - 6}">epoch {first}</text>')
    parts.append(f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 6}" text-anchor="end">epoch {last}</text>')
    return "".join([*parts, "</svg>"])


def _place_y(value: float) -> float:
    return _TOP + (1 - value) * (_HEIGHT - _TOP - _BOTTOM)


def _draw_line(values: Sequence[float], kind: str) -> str:
    step = (_WIDTH - 8 - _LEFT) / max(1, len(values) - 1)
    points = " ".join(f"{_LEFT + number * step:.1f},{_place_y(value):.1f}" for number, value in enumerate(values))
    dots = "".join(
        f'<circle cx="{point.split(",")[0]}" cy="{point.split(",")[1]}" r="2.5" class="{kind}"/>'
        for point in points.split()
    )
    return f'<polyline points="{points}" class="{kind}"/>{dots}'


def draw_curve_png(curve: Sequence[Mapping[str, Any]]) -> str:
    """The learning curve as a PNG data URI, drawn with Pillow."""
    from PIL import Image, ImageDraw

    scale = 2
    image = Image.new("RGB", (_WIDTH * scale, _HEIGHT * scale), "white")
    draw = ImageDraw.Draw(image)
    top_loss = max((float(point["loss"]) for point in curve), default=1.0) or 1.0
    lines = (
        ([float(point["loss"]) / top_loss for point in curve], "#c2410c"),
        ([float(point["val_accuracy"]) for point in curve], "#1d4ed8"),
    )
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _place_y(tick) * scale
        draw.line([(_LEFT * scale, y), ((_WIDTH - 8) * scale, y)], fill="#dddddd")
        draw.text((8, y - 6), f"{tick:g}", fill="#444444")
    step = (_WIDTH - 8 - _LEFT) / max(1, len(curve) - 1)
    for values, color in lines:
        points = [((_LEFT + n * step) * scale, _place_y(value) * scale) for n, value in enumerate(values)]
        draw.line(points, fill=color, width=2 * scale)
    draw.text(
        (_LEFT * scale, (_HEIGHT - 18) * scale), "blue: val accuracy   orange: loss / its maximum", fill="#444444"
    )
    return encode_png(image)


def encode_png(image: Any) -> str:
    """A Pillow image as a PNG data URI."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def make_thumbnail(data: bytes, side: int = 128) -> str:
    """An image file as a small PNG data URI, seen as everybody in this package sees it.

    Raises:
        ImageError: the bytes are not an image.
    """
    from vqa_pipeline.sources.images import decode_image

    image = decode_image(data).rgb.copy()
    image.thumbnail((side, side))
    return encode_png(image)
