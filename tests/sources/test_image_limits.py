"""Images that ask for more than they should are refused by their headers, before anything is decoded."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import pytest
from bounded_decoding import inspect_folder
from image_files import BLUE, RED, build_png, chunk, encode, picture, refuse
from PIL import Image, PngImagePlugin

from vqa_pipeline.sources.image_limits import MAX_PIXELS
from vqa_pipeline.sources.images import decode_image
from vqa_pipeline.sources.jpeg_scans import count_scans

FEWER = "Save it again as JPEG or PNG, with fewer than 89,478,485 pixels."


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
