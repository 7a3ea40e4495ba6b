"""The learning curve: points where they belong, in SVG and in PNG."""

from __future__ import annotations

import base64
from io import BytesIO
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from reporting_world import TRAINING

from vqa_pipeline.reporting.plots.axes import round_up
from vqa_pipeline.reporting.plots.curve import Panel, arrange_panels, draw_curve_png, draw_curve_svg

CURVE = TRAINING["curve"]


def parse(svg: str) -> list[ET.Element]:
    """The SVG elements; they must be well-formed XML."""
    return list(ET.fromstring(f"<all>{svg}</all>"))


def test_a_point_lies_between_the_axes_in_proportion():
    panel = Panel("Loss", "loss", (1, 2, 3), (4.0, 2.0, 0.0), 4.0, 2)
    (left, top), (middle, half), (right, bottom) = panel.list_points()
    assert middle == (left + right) / 2
    assert half == (top + bottom) / 2
    assert left < right
    assert top < bottom


def test_accuracy_has_a_fixed_scale_and_loss_one_that_holds_it():
    accuracy, loss = arrange_panels(CURVE)
    assert (accuracy.top, loss.top) == (1.0, 5.0)
    assert accuracy.axes.list_ticks() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert loss.axes.list_ticks() == [0.0, 1.25, 2.5, 3.75, 5.0]


def test_the_best_epoch_and_the_last_loss_are_marked():
    accuracy, loss = arrange_panels(CURVE)
    assert accuracy.epochs[accuracy.marked] == 2
    assert loss.epochs[loss.marked] == 3


@pytest.mark.parametrize(
    ("value", "top"), [(0.0, 1.0), (1.0, 1.0), (4.5, 5.0), (0.031, 0.04), (2169.0, 3000.0), (9.7, 10.0)]
)
def test_a_scale_ends_at_a_simple_number(value, top):
    assert round_up(value) == pytest.approx(top)


@given(st.floats(1e-6, 1e6))
def test_a_scale_holds_its_value_without_wasting_half_of_it(value):
    assert value <= round_up(value) * (1 + 1e-9)
    assert round_up(value) <= 2 * value


@pytest.mark.parametrize(
    ("epochs", "labels"),
    [(1, [1]), (7, [1, 2, 3, 4, 5, 6, 7]), (18, [1, 4, 7, 10, 13, 16]), (100, [1, 16, 31, 46, 61, 76, 91])],
)
def test_epochs_are_written_evenly_and_never_crowded(epochs, labels):
    numbers = tuple(range(1, epochs + 1))
    assert Panel("", "loss", numbers, (0.5,) * epochs, 1.0, 0).list_epoch_labels() == labels


def test_the_svg_tells_each_point_and_describes_itself():
    accuracy, loss = parse(draw_curve_svg(CURVE))
    assert accuracy.get("role") == "img"
    assert accuracy.get("aria-label") == (
        "Validation accuracy by epoch: from 0.300 in epoch 1 to 0.700 in epoch 3; 0.800 in epoch 2"
    )
    assert [title.text for title in accuracy.iter("title")] == ["epoch 1: 0.3", "epoch 2: 0.8", "epoch 3: 0.7"]
    assert len(loss.find("polyline").get("points").split()) == 3
    assert [text.text for text in loss.iter("text") if text.get("class") == "mark"] == ["0.900"]


def test_the_svg_names_no_colour_of_its_own_so_that_dark_mode_works():
    assert "#" not in draw_curve_svg(CURVE)


def test_one_epoch_is_one_point():
    accuracy, _ = parse(draw_curve_svg(CURVE[:1]))
    assert len(list(accuracy.iter("title"))) == 1


def test_no_epoch_is_no_plot():
    assert draw_curve_svg([]) == ""
    assert draw_curve_png([]) == ""


def test_the_png_shows_both_lines_in_their_colours_and_fits_into_dagster_s_dialog():
    uri = draw_curve_png(CURVE)
    kind, _, data = uri.partition(",")
    assert kind == "data:image/png;base64"
    image = Image.open(BytesIO(base64.b64decode(data)))
    assert image.size == (2 * 440, 240)
    left, right = (image.convert("RGB").crop(box) for box in ((0, 0, 440, 240), (440, 0, 880, 240)))
    assert _count(left, (29, 95, 209)) > 200 > _count(right, (29, 95, 209))
    assert _count(right, (185, 80, 26)) > 200 > _count(left, (185, 80, 26))
    assert len(uri) < 20_000


def _count(image: Image.Image, color: tuple[int, int, int]) -> int:
    """Pixels close to a colour."""
    pixels = image.tobytes()
    triples = zip(pixels[::3], pixels[1::3], pixels[2::3], strict=True)
    return sum(all(abs(a - b) < 24 for a, b in zip(pixel, color, strict=True)) for pixel in triples)


def test_the_same_curve_gives_the_same_bytes():
    assert draw_curve_png(CURVE) == draw_curve_png(CURVE)
    assert draw_curve_svg(CURVE) == draw_curve_svg(CURVE)
