"""The one function from an image file to RGB: whatever comes in, pixels without silent damage or a reason."""

from __future__ import annotations

import errno
import hashlib
import io
import re
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from bounded_decoding import inspect_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from vqa_pipeline.sources.image_limits import MAX_PIXELS
from vqa_pipeline.sources.images import (
    CONTAINERS,
    ImageError,
    compute_dhash,
    decode_image,
    inspect_image,
)
from vqa_pipeline.sources.jpeg_scans import count_scans

FEWER = "Save it again as JPEG or PNG, with fewer than 89,478,485 pixels."
RED, GREEN, BLUE, GRAY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


def encode(image: Image.Image, container: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, container, **options)
    return file.getvalue()


def pixels(data: bytes) -> list:
    return np.asarray(decode_image(data).rgb).tolist()


def alterations(data: bytes) -> tuple[str, ...]:
    return inspect_image(data).alterations


def picture(size: tuple[int, int] = (32, 24)) -> Image.Image:
    """A photograph-like picture: noise on a slope, so that no codec makes it small."""
    rng = np.random.default_rng(0)
    slope = np.linspace(0, 200, size[0] * size[1] * 3).reshape(size[1], size[0], 3)
    return Image.fromarray((slope + rng.integers(0, 50, slope.shape)).astype(np.uint8))


def refuse(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    assert caught.value.fix
    return caught.value


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def build_png(width: int, height: int, depth: int, color: int, rows: bytes, before: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


# ------------------------------------------------------------------------------------------------------ what is good


@pytest.mark.parametrize(
    ("container", "options"),
    [
        *(("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("PPM", {}), ("TGA", {})),
        *(("WEBP", {"lossless": True}), ("JPEG2000", {"irreversible": False}), ("PCX", {}), ("SGI", {}), ("QOI", {})),
        *(("GIF", {}), ("ICO", {"sizes": [(32, 24)]}), ("DIB", {})),
    ],
)
def test_every_container_is_read_by_its_content(container, options):
    flat = Image.new("RGB", (32, 24), (200, 40, 90))
    decoded = decode_image(encode(flat, container, **options))
    assert decoded.format == container
    assert decoded.rgb.mode == "RGB"
    assert decoded.rgb.size == (32, 24)
    assert decoded.rgb.getpixel((3, 3)) == (200, 40, 90)
    assert decoded.alterations == ()


@pytest.mark.parametrize("container", ["JPEG", "AVIF", "MPO"])
def test_lossy_containers_come_close(container):
    flat = Image.new("RGB", (32, 24), (200, 40, 90))
    decoded = decode_image(encode(flat, container))
    assert decoded.format in (container, "JPEG")
    assert all(abs(a - b) <= 4 for a, b in zip(decoded.rgb.getpixel((3, 3)), (200, 40, 90), strict=True))


def test_every_listed_container_is_one_that_this_pillow_opens():
    Image.init()
    assert set(CONTAINERS) <= set(Image.OPEN)


def test_the_same_bytes_give_the_same_pixels_and_facts():
    data = encode(picture(), "JPEG")
    assert pixels(data) == pixels(data)
    assert inspect_image(data) == inspect_image(data)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "LAB"])
def test_opaque_modes_keep_what_they_show(mode):
    white = (
        Image.new("LAB", (4, 4), (255, 128, 128)) if mode == "LAB" else Image.new("RGB", (4, 4), "white").convert(mode)
    )
    decoded = decode_image(encode(white, "TIFF"))
    assert decoded.mode == mode
    assert all(value >= 253 for value in decoded.rgb.getpixel((1, 1)))
    assert decoded.alterations == {"CMYK": ("converted_from_cmyk",), "LAB": ("converted_from_lab",)}.get(mode, ())


def test_cmyk_ink_is_dark():
    assert pixels(encode(Image.new("CMYK", (1, 1), (0, 0, 0, 255)), "TIFF")) == [[[0, 0, 0]]]
    jpeg = encode(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG")
    assert max(pixels(jpeg)[0][0]) < 5
    assert alterations(jpeg) == ("converted_from_cmyk",)


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


# ---------------------------------------------------------------------------------------------------------- orientation

UPRIGHT = np.array([[RED, GREEN, BLUE], [GRAY, RED, GREEN]], np.uint8)
STORED = {  # how a camera that was held otherwise stores the same picture
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT, 1),
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("container", ["PNG", "WEBP", "TIFF", "JPEG", "AVIF"])
@pytest.mark.parametrize("orientation", STORED)
def test_orientation_is_applied_exactly_once(container, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    block = np.kron(STORED[orientation], np.ones((16, 16, 1), np.uint8))  # blocks survive lossy codecs
    options = {"lossless": True} if container == "WEBP" else {}
    decoded = decode_image(encode(Image.fromarray(np.ascontiguousarray(block)), container, exif=exif, **options))
    shown = np.asarray(decoded.rgb)[8::16, 8::16].astype(int)
    assert shown.shape == UPRIGHT.shape
    assert np.abs(shown - UPRIGHT).max() <= 6
    assert decoded.alterations == (() if orientation == 1 else ("orientation_applied",))


def test_orientation_turns_deep_and_transparent_images_too():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    deep = Image.fromarray(np.array([[0, 65_535]], np.uint16))
    assert pixels(encode(deep, exif=exif)) == [[[255] * 3, [0] * 3]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *BLUE])
    palette.putpixel((1, 0), 1)
    assert pixels(encode(palette, exif=exif)) == [[list(BLUE), list(RED)]]


@pytest.mark.parametrize(
    "damaged", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\xff\xff", b"Exif\0\0" + b"\xff" * 40, b"noise"]
)
def test_damaged_exif_leaves_the_image_as_it_is(damaged):
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), BLUE)
    assert pixels(encode(image, exif=damaged)) == [[list(RED), list(BLUE)]]


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_unknown_orientation_is_none(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    assert inspect_image(encode(Image.new("RGB", (5, 2)), exif=exif))[1:3] == (5, 2)


def test_facts_give_the_size_of_the_upright_image():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    facts = inspect_image(encode(Image.new("RGB", (5, 2)), exif=exif))
    assert (facts.width, facts.height) == (2, 5)


# ----------------------------------------------------------------------------------------------------------- animations


@pytest.mark.parametrize("container", ["GIF", "WEBP", "TIFF", "PNG"])
def test_an_animation_shows_its_first_frame(container):
    frames = [Image.new("RGB", (4, 4), color) for color in (RED, GREEN, BLUE)]
    options = {"lossless": True} if container == "WEBP" else {}
    data = encode(frames[0], container, save_all=True, append_images=frames[1:], **options)
    assert pixels(data)[0][0] == list(RED)
    assert alterations(data) == ("first_frame",)
    assert alterations(encode(frames[0], container, **options)) == ()


def test_of_several_pictures_in_a_camera_s_file_the_first_is_shown():
    frames = [Image.new("RGB", (32, 24), color) for color in (RED, BLUE)]
    data = encode(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert decode_image(data).rgb.getpixel((3, 3))[0] > 250
    assert alterations(data) == ("first_frame",)


def test_an_animated_avif_shows_its_first_frame():
    frames = [Image.new("RGB", (16, 16), color) for color in (RED, BLUE)]
    data = encode(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert decode_image(data).rgb.getpixel((3, 3))[0] > 240
    assert alterations(data) == ("first_frame",)


def test_a_camera_s_file_whose_list_of_pictures_is_damaged_is_a_plain_jpeg():
    frames = [Image.new("RGB", (32, 24), color) for color in (RED, BLUE)]
    data = bytearray(encode(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    begin = data.index(b"MPF\0") + 12
    data[begin : begin + 60] = bytes(60)
    decoded = decode_image(bytes(data))
    assert (decoded.format, decoded.alterations) == ("JPEG", ())
    assert decoded.rgb.getpixel((3, 3))[0] > 250


def test_of_several_icons_the_largest_is_shown():
    data = encode(Image.new("RGB", (32, 32), RED), "ICO", sizes=[(16, 16), (32, 32)])
    assert decode_image(data).rgb.size == (32, 32)
    assert alterations(data) == ("largest_icon",)


def test_alterations_are_told_in_the_order_in_which_they_were_made():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    frames = [Image.new("RGBA", (8, 4), (*color, 90)) for color in (RED, BLUE)]
    data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], exif=exif)
    assert alterations(data) == ("first_frame", "orientation_applied", "transparency_on_white")


# ---------------------------------------------------------------------------------------------------------- what is bad


def test_no_bytes_are_told_apart():
    assert refuse(b"").rule == "image_empty"


@pytest.mark.parametrize(
    ("data", "rule", "reason"),
    [
        (b"hello", "image_unreadable", "not an image of a known format"),
        (bytes(1000), "image_unreadable", "not an image of a known format"),
        (b"\n <!DOCTYPE html><p>404", "image_unreadable", "HTML page"),
        (b"<HTML>", "image_unreadable", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "image_unreadable", "git-LFS pointer"),
        (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", "image_unreadable", "AppleDouble"),
        (b"\x89PNG\r\n\x1a\n", "image_unreadable", "PNG whose header is damaged"),
        (b"\xff\xd8\xff\xe0", "image_unreadable", "damaged"),
        (b"\0\0\0\x18ftypheic\0\0", "image_unsupported", "HEIC or HEIF, which needs the package pillow-heif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "image_unsupported", "HEIC"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image_unsupported", "SVG"),
        (b"%PDF-1.7\n", "image_unsupported", "PDF"),
        (bytes(128) + b"DICM" + bytes(100), "image_unsupported", "DICOM"),
        (b"8BPS\0\1" + bytes(50), "image_unsupported", "Photoshop"),
    ],
)
def test_what_is_no_image_is_named(data, rule, reason):
    error = refuse(data)
    assert error.rule == rule
    assert reason in error.reason


class FakeHeif:
    """Stands for the package pillow-heif: teaches Pillow a container, here of one red pixel."""

    def register_heif_opener(self) -> None:
        Image.register_open("HEIF", lambda file, _: self.open(file), lambda start: start[4:12] == b"ftypheic")

    def open(self, file: io.BytesIO) -> Image.Image:
        image = Image.open(io.BytesIO(encode(Image.new("RGB", (1, 1), RED))))
        image.format = "HEIF"
        return image


def test_heic_is_opened_where_its_package_is_installed(monkeypatch):
    Image.init()
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setitem(sys.modules, "pillow_heif", FakeHeif())
    decoded = decode_image(b"\0\0\0\x18ftypheic" + bytes(100))
    assert (decoded.format, decoded.rgb.getpixel((0, 0))) == ("HEIF", RED)


def test_the_fix_for_heic_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    error = refuse(b"\0\0\0\x18ftypheic" + bytes(100))
    assert error.fix == "Install it (`pip install pillow-heif`), or convert the image to JPEG or PNG."


def test_heic_itself_is_decoded_where_its_package_is_installed():
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    file = io.BytesIO()
    heif.from_pillow(Image.new("RGB", (64, 64), RED)).save(file, quality=90)
    assert decode_image(file.getvalue()).rgb.size == (64, 64)


def test_postscript_is_never_given_to_an_interpreter():
    program = encode(Image.new("RGB", (4, 4)), "EPS")
    assert Image.open(io.BytesIO(program)).format == "EPS"
    assert refuse(program).rule == "image_unsupported"


@pytest.mark.parametrize("container", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "TGA", "PPM"])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.97])
def test_a_truncated_file_is_refused_whatever_its_format(container, share):
    whole = encode(picture((64, 48)), container)
    decode_image(whole)
    error = refuse(whole[: int(len(whole) * share)])
    assert error.rule in {"image_truncated", "image_unreadable"}


def test_a_truncated_jpeg_that_verify_accepts_is_refused():
    data = encode(picture((64, 48)), "JPEG")[:-100]
    Image.open(io.BytesIO(data)).verify()
    error = refuse(data)
    assert error.rule == "image_truncated"
    assert "the JPEG file breaks off or is damaged (" in error.reason
    assert error.fix == "Download the file again."


@pytest.mark.parametrize(
    "bomb",
    [
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 57, 0, 0, 54, 40, 3_158_064, 48, 1, 24, 0, 0, 0, 0, 0, 0) + b"\0\0\0",
        b"GIF89a"
        + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0)
        + b",\0\0\0\0"
        + struct.pack("<HH", 65_535, 65_535)
        + b"\0\2\0;",
        build_png(60_000, 60_000, 8, 2, b""),
        build_png(MAX_PIXELS + 1, 1, 8, 0, b""),
        b"P5 20000 20000 255\n",
    ],
)
def test_a_bomb_is_refused_by_its_header(bomb):
    error = refuse(bomb)
    assert error.rule == "image_too_large"
    assert error.fix == FEWER
    assert len(bomb) < 200


def test_an_icon_whose_picture_is_larger_than_it_says_is_refused():
    inner = build_png(10_000, 10_000, 1, 0, bytes(1251 * 10_000))
    header = struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    error = refuse(header + inner)
    assert error.rule == "image_too_large"
    assert "(100000000 pixels) exceeds limit of 89478485 pixels" in error.reason


def grow(whole: bytes, marker: bytes, place: int, order: str) -> bytes:
    """A file whose header says 9,400 x 9,400 pixels, a little below the limit, and whose data are as they were."""
    begin = whole.index(marker) + place
    return whole[:begin] + struct.pack(order, 9400, 9400) + whole[begin + struct.calcsize(order) :]


def build_tiff(*entries: tuple[int, int, int], data: bytes) -> bytes:
    """Tags of one number each (tag, type, value), in their order, and data after them."""
    tags = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + tags + bytes(4) + data


def build_tiled_tiff(side: int) -> bytes:
    """16 x 16 pixels in one tile that is much larger."""
    data = deflate(side * side)
    shape = ((256, 4, 16), (257, 4, 16), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1))
    return build_tiff(*shape, (322, 4, side), (323, 4, side), (324, 4, 134), (325, 4, len(data)), data=data)


def build_empty_jpeg_2000(side: int) -> bytes:
    """Nothing but empty packets: a valid file, which is gray."""
    size = struct.pack(">HIIIIIIIIHBBB", 0, side, side, 0, 0, side, side, 0, 0, 1, 7, 1, 1)
    style, steps = bytes((0, 0, 0, 1, 0, 5, 4, 4, 0, 0)), bytes((0x40, *[0x40] * 16))
    parts = [(b"\xff\x51", size), (b"\xff\x52", style), (b"\xff\x5c", steps)]
    header = b"".join(marker + struct.pack(">H", len(part) + 2) + part for marker, part in parts)
    return (
        b"\xff\x4f"
        + header
        + b"\xff\x90"
        + struct.pack(">HHIBB", 10, 0, 0, 0, 1)
        + b"\xff\x93"
        + bytes(20)
        + b"\xff\xd9"
    )


def build_endless_gif(num_frames: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes((*RED, *BLUE)) + frame * num_frames + b";"


def build_endless_tiff(num_frames: int) -> bytes:
    """A picture of one pixel, and a chain of tables behind it."""
    shape = ((256, 4, 1), (257, 4, 1), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 0), (277, 3, 1), (278, 4, 1))
    file = bytearray(build_tiff(*shape, (279, 4, 1), data=b""))
    file[-4:] = struct.pack("<I", len(file))
    for _ in range(num_frames):
        file += struct.pack("<HHHIII", 1, 256, 4, 1, 1, len(file) + 18)
    return bytes(file)


def deflate(num_bytes: int) -> bytes:
    return zlib.compress(bytes(num_bytes), 1)


SQUARE = struct.pack("<HH", 64, 64)
TINY = (1, 1, 8, 0, b"\0\0")
BOMBS = {
    "raw.bmp": (
        lambda: grow(encode(picture((64, 64)), "BMP"), struct.pack("<II", 64, 64), 0, "<II"),
        "image_truncated",
    ),
    "lzw.gif": (lambda: grow(encode(Image.new("L", (64, 64)), "GIF"), SQUARE, 0, "<HH"), "image_too_large"),
    "dct.jpg": (lambda: grow(encode(picture((64, 64)), "JPEG"), b"\xff\xc0", 5, ">HH"), "image_truncated"),
    "packets.j2k": (lambda: build_empty_jpeg_2000(9400), "image_too_large"),
    "deflate.png": (lambda: build_png(9400, 9400, 8, 6, b""), "image_too_large"),
    "profile.png": (lambda: build_png(*TINY, chunk(b"iCCP", b"x\0\0" + deflate(160 << 20))), "image_unreadable"),
    "texts.png": (lambda: build_png(*TINY, chunk(b"zTXt", b"x\0\0" + deflate(1 << 19)) * 500), "image_unreadable"),
    "more.png": (lambda: build_png(1, 1, 8, 0, bytes(160 << 20)), None),
    "runs.qoi": (lambda: b"qoif" + struct.pack(">II", 9400, 9400) + b"\4\0" + b"\xfd" * 100, "image_truncated"),
    "raw.ppm": (lambda: b"P6 9400 9400 255\n", "image_truncated"),
    "runs.tga": (lambda: grow(encode(picture((64, 64)), "TGA"), SQUARE, 0, "<HH"), "image_truncated"),
    "tiles.tif": (lambda: build_tiled_tiff(13_312), "image_too_large"),
    "comment.ppm": (lambda: b"P6 #" + bytes(64 << 20), "image_unreadable"),
    "tables.tif": (lambda: build_endless_tiff(100_000), None),
    "frames.gif": (lambda: build_endless_gif(300_000), None),
    "canvas.webp": (lambda: b"RIFF\x12\0\0\0WEBPVP8X\x0a\0\0\0\2\0\0\0\xb7\x24\0\xb7\x24\0", "image_unreadable"),
}
"""Files that take next to no room and declare what would take much, with the rule; None: what they show is good."""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs to know how much memory a process has")
def test_a_bomb_takes_neither_memory_nor_time(tmp_path):
    for name, (build, _) in BOMBS.items():
        (tmp_path / name).write_bytes(build())
    found = inspect_folder(tmp_path, megabytes=150, seconds=12)
    assert {name: told.get("rule") for name, told in found.items()} == {name: rule for name, (_, rule) in BOMBS.items()}


def test_a_jpeg_whose_data_cannot_be_its_picture_is_told_as_cut():
    error = refuse(grow(encode(picture((64, 64)), "JPEG"), b"\xff\xc0", 5, ">HH"))
    assert re.fullmatch(r"the JPEG file breaks off: [\d,]+ bytes cannot hold its 9400 x 9400 pixels", error.reason)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_of_one_colour_is_small_and_good(progressive):
    blank = encode(Image.new("L", (3000, 3000)), "JPEG", progressive=progressive, optimize=True, quality=1)
    assert decode_image(blank).rgb.size == (3000, 3000)


@pytest.mark.parametrize("container", ["PNG", "TIFF", "GIF"])
def test_a_blank_page_is_small_and_good(container):
    options = {"compression": "tiff_adobe_deflate"} if container == "TIFF" else {}
    blank = encode(Image.new("1", (4960, 7016), 1), container, **options)
    assert decode_image(blank).rgb.size == (4960, 7016)


def test_a_jpeg_that_goes_over_its_picture_again_and_again_is_refused():
    whole = encode(Image.new("L", (2000, 2000), 128), "JPEG", progressive=True)
    scan = whole.index(b"\xff\xda")
    once_more = whole[scan : scan + 10]
    bomb = whole[:scan] + once_more * 400 + whole[scan:]
    error = refuse(bomb)
    assert (error.rule, error.fix) == ("image_too_large", FEWER)
    assert re.fullmatch(r"it has 4\d\d scans of 2000 x 2000 pixels, .*", error.reason)
    assert decode_image(whole).rgb.size == (2000, 2000)


@pytest.mark.parametrize("progressive", [False, True])
def test_scans_are_those_of_the_first_picture(progressive):
    data = encode(picture((64, 48)), "JPEG", progressive=progressive, exif=b"Exif\0\0" + b"\xff\xda" * 50)
    expected = 10 if progressive else 1
    assert count_scans(data) == expected
    assert count_scans(data + data) == expected
    assert count_scans(data[:-10]) == expected
    assert count_scans(b"") == 0


def test_a_text_chunk_that_unpacks_to_gigabytes_is_refused():
    bomb = b"Comment\0\0" + zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK + 1))
    error = refuse(build_png(1, 1, 8, 0, b"\0\0", chunk(b"zTXt", bomb)))
    assert (error.rule, "too large" in error.reason) == ("image_unreadable", True)


def test_an_image_without_pixels_is_refused():
    data = b"GIF89a" + struct.pack("<HHBBB", 0, 0, 0, 0, 0) + b";"
    assert refuse(data).rule == "image_unreadable"


def test_an_error_is_a_value_error_with_its_reason():
    error = refuse(b"hello")
    assert isinstance(error, ValueError)
    assert str(error) == error.reason


WHOLE = [
    encode(picture(), "PNG"),
    encode(picture().quantize(7), "PNG"),
    encode(picture(), "JPEG"),
    encode(picture(), "GIF"),
    encode(picture(), "TIFF", compression="tiff_lzw"),
    encode(picture(), "WEBP"),
    encode(picture(), "BMP"),
    encode(picture(), "ICO", sizes=[(32, 24)]),
    encode(picture(), "JPEG2000"),
    encode(picture(), "AVIF"),
    encode(picture(), "TGA", rle=True),
    encode(picture(), "PCX"),
    encode(picture(), "SGI"),
]


@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=6), st.data())
@settings(max_examples=300, deadline=None)
def test_damage_of_any_kind_gives_pixels_or_a_reason(whole, changes, data):
    damaged = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for place, value in changes:
        damaged[place % len(damaged)] = value
    try:
        facts = inspect_image(bytes(damaged))
    except ImageError as error:
        assert error.rule in {"image_unreadable", "image_truncated", "image_too_large", "image_unsupported"}
        assert not re.search(r"0x[0-9a-f]{6,}", error.reason), "an address in memory differs from run to run"
    else:
        assert facts.width * facts.height <= MAX_PIXELS
        assert -(2**63) <= facts.dhash < 2**63


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), MemoryError()])
def test_what_fails_in_the_machine_is_no_fault_of_the_image(monkeypatch, error):
    def fail(*_):
        raise error

    Image.init()
    monkeypatch.setitem(Image.OPEN, "QOI", (fail, lambda start: start.startswith(b"qoif")))
    with pytest.raises(type(error)) as caught:
        decode_image(b"qoif" + bytes(100))
    assert caught.value is error


# ---------------------------------------------------------------------------------------------------------------- facts


def test_facts_are_of_the_file_s_bytes_and_the_picture():
    data = encode(Image.new("P", (6, 4)), "GIF")
    facts = inspect_image(data)
    assert facts.image_sha256 == hashlib.sha256(data).hexdigest()
    assert (facts.width, facts.height, facts.mode, facts.format) == (6, 4, "P", "GIF")


def test_the_difference_hash_tells_where_it_gets_brighter():
    brighter = Image.fromarray(np.tile(np.arange(0, 90, 10, dtype=np.uint8), (8, 1))).convert("RGB")
    assert compute_dhash(brighter) == -1  # all 64 bits
    assert compute_dhash(brighter.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) == 0
    first_row = np.zeros((8, 9), np.uint8)
    first_row[0, 8] = 200
    assert compute_dhash(Image.fromarray(first_row).convert("RGB")) == 1 << 56
    last = np.zeros((8, 9), np.uint8)
    last[7, 8] = 200
    assert compute_dhash(Image.fromarray(last).convert("RGB")) == 1


def test_copies_in_other_containers_and_sizes_hash_alike():
    colors = np.random.default_rng(1).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    original = Image.fromarray(colors).resize((320, 240), Image.Resampling.BICUBIC)
    one = inspect_image(encode(original))
    for copy in (encode(original, "JPEG", quality=80), encode(original.resize((160, 120)), "WEBP")):
        assert (one.dhash ^ inspect_image(copy).dhash).bit_count() <= 3
