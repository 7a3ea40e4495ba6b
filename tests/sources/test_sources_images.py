"""The one function from an image file to RGB: whatever comes in, pixels without silent damage or a reason."""

from __future__ import annotations

import errno
import hashlib
import io
import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import BLUE, GRAY, GREEN, RED, alterations, encode, picture, pixels, refuse
from PIL import ExifTags, Image

from vqa_pipeline.sources.image_limits import MAX_PIXELS
from vqa_pipeline.sources.images import CONTAINERS, ImageError, compute_dhash, decode_image, inspect_image

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
