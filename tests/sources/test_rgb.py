"""Pixels of any mode as RGB: nothing clipped, nothing silently altered."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from image_files import BLUE, RED, alterations, build_png, chunk, encode, pixels
from PIL import ExifTags, Image

from vqa_pipeline.sources.images import decode_image

# ---------------------------------------------------------------------------------------------------------- deep pixels


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.array([[0, 257, 32_896, 65_535]], np.uint16)
    assert [gray[0] for gray in pixels(encode(Image.fromarray(values), "TIFF"))[0]] == [0, 1, 128, 255]
    assert [gray[0] for gray in pixels(encode(Image.fromarray(values), "PNG"))[0]] == [0, 1, 128, 255]
    assert alterations(encode(Image.fromarray(values), "PNG")) == ("scaled_from_16_bit",)


def test_big_endian_sixteen_bits_are_the_same():
    data = b"P5 4 1 65535\n" + np.array([0, 257, 32_896, 65_535], ">u2").tobytes()
    assert [gray[0] for gray in pixels(data)[0]] == [0, 1, 128, 255]


def test_twelve_bits_in_sixteen_are_not_all_but_black():
    values = np.array([[0, 2048, 4095]], np.uint16)
    assert [gray[0] for gray in pixels(encode(Image.fromarray(values), "TIFF"))[0]] == [0, 128, 255]
    assert alterations(encode(Image.fromarray(values), "TIFF")) == ("scaled_from_12_bit",)


def test_eight_bits_in_sixteen_stay_as_they_are():
    values = np.array([[0, 7, 255]], np.uint16)
    assert [gray[0] for gray in pixels(encode(Image.fromarray(values), "TIFF"))[0]] == [0, 7, 255]
    assert alterations(encode(Image.fromarray(values), "TIFF")) == ()


def test_colors_of_sixteen_bits_lose_only_their_low_bits():
    data = build_png(1, 1, 16, 2, b"\0" + struct.pack(">HHH", 65_535, 32_896, 0))
    assert pixels(data) == [[[255, 128, 0]]]
    assert alterations(data) == ("scaled_from_16_bit",)


@pytest.mark.parametrize(
    ("values", "expected", "told"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255], ["scaled_from_fractions"]),
        ([0.0, 0.5, 0.5], [0, 128, 128], ["scaled_from_fractions"]),  # they keep their meaning, whatever the largest is
        ([0.0, 100.0, 255.0], [0, 100, 255], []),
        ([0.0, 65_535.0, 257.0], [0, 255, 1], ["scaled_from_16_bit"]),
        ([-1.0, 0.0, 1.0], [0, 128, 255], ["stretched_from_own_range"]),
        ([0.0, 1e9, 5e8], [0, 255, 128], ["stretched_from_own_range"]),
        ([float("nan"), 0.0, 1.0], [0, 0, 255], ["not_finite_as_zero", "scaled_from_fractions"]),
        ([float("inf"), 0.0, 1.0], [0, 0, 255], ["not_finite_as_zero", "scaled_from_fractions"]),
        ([-3.0, -3.0, -3.0], [0, 0, 0], ["stretched_from_own_range"]),
        ([70_000.0, 70_000.0, 70_000.0], [0, 0, 0], ["stretched_from_own_range"]),
    ],
)
def test_floats_of_any_range_are_scaled(values, expected, told):
    data = encode(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert [gray[0] for gray in pixels(data)[0]] == expected
    assert alterations(data) == tuple(told)


def test_thirty_two_bit_integers_are_scaled():
    data = encode(Image.fromarray(np.array([[-100, 0, 100]], np.int32)), "TIFF")
    assert [gray[0] for gray in pixels(data)[0]] == [0, 128, 255]


def test_a_deep_image_is_scaled_as_one_whatever_its_size():
    """It is worked on in strips; the brightest pixel of all decides for every strip."""
    values = np.full((1100, 1000), 100, np.uint16)
    values[-1, -1] = 65_535
    gray = np.asarray(decode_image(encode(Image.fromarray(values), "TIFF", compression="tiff_lzw")).rgb)[..., 0]
    assert gray[0, 0] == gray[-1, 0] == 0
    assert gray[-1, -1] == 255


# --------------------------------------------------------------------------------------------------------- transparency


def test_transparent_pixels_are_white_and_half_transparent_ones_half_way():
    image = Image.new("RGBA", (3, 1), (*RED, 0))
    image.putpixel((1, 0), (*RED, 255))
    image.putpixel((2, 0), (0, 0, 0, 128))
    assert pixels(encode(image)) == [[[255, 255, 255], [255, 0, 0], [127, 127, 127]]]
    assert alterations(encode(image)) == ("transparency_on_white",)


def test_an_alpha_channel_that_hides_nothing_alters_nothing():
    image = Image.new("RGBA", (2, 1), (*RED, 255))
    assert pixels(encode(image)) == [[list(RED), list(RED)]]
    assert alterations(encode(image)) == ()


def test_a_gray_level_declared_transparent_is_white_in_deep_images_too():
    rows = b"\0" + struct.pack(">HHH", 0, 257, 65_535)
    data = build_png(3, 1, 16, 0, rows, chunk(b"tRNS", struct.pack(">H", 257)))
    assert pixels(data) == [[[0] * 3, [255] * 3, [255] * 3]]
    assert alterations(data) == ("scaled_from_16_bit", "transparency_on_white")
    unused = build_png(3, 1, 16, 0, rows, chunk(b"tRNS", struct.pack(">H", 300)))
    assert pixels(unused) == [[[0] * 3, [1] * 3, [255] * 3]]
    assert alterations(unused) == ("scaled_from_16_bit",)


def test_gray_with_alpha_is_composited():
    image = Image.new("LA", (2, 1), (10, 0))
    image.putpixel((1, 0), (10, 255))
    assert pixels(encode(image)) == [[[255, 255, 255], [10, 10, 10]]]


@pytest.mark.parametrize(
    ("color", "first"), [((65_535, 0, 0), [255] * 3), ((255, 0, 0), [255, 0, 0]), ((0, 0, 514), [255, 0, 0])]
)
def test_a_deep_color_declared_transparent_is_compared_by_its_upper_bits(color, first):
    rows = b"\0" + struct.pack(">HHHHHH", 65_535, 0, 0, 0, 0, 514)
    data = build_png(2, 1, 16, 2, rows, chunk(b"tRNS", struct.pack(">HHH", *color)))
    second = [255] * 3 if color == (0, 0, 514) else [0, 0, 2]
    assert pixels(data) == [[first, second]]


def test_alterations_of_deep_images_are_told_after_their_orientation():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    rows = b"\0" + struct.pack(">HHHHHH", 65_535, 0, 0, 0, 0, 514)
    data = build_png(2, 1, 16, 2, rows, chunk(b"eXIf", exif.tobytes()[6:]))
    assert alterations(data) == ("orientation_applied", "scaled_from_16_bit")
    assert pixels(data) == [[[0, 0, 2], [255, 0, 0]]]


def test_a_palette_with_alpha_is_composited():
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    assert pixels(encode(image, transparency=b"\x00\xff")) == [[[255, 255, 255], [0, 0, 255]]]
    assert pixels(encode(image, "GIF", transparency=0)) == [[[255, 255, 255], [0, 0, 255]]]


def test_a_color_declared_transparent_is_white():
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), BLUE)
    assert pixels(encode(image, transparency=RED)) == [[[255, 255, 255], [0, 0, 255]]]
