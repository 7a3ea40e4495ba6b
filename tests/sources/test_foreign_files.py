"""What people have under the names of images is told by its bytes, with what to do about it."""

from __future__ import annotations

import io
import sys

import pytest
from image_files import RED, encode, refuse
from PIL import Image

from vqa_pipeline.sources.foreign_files import recognise_foreign
from vqa_pipeline.sources.images import decode_image


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
        (b"\xff\x4f\xff\x51\0\0", "image_unreadable", "damaged"),
        (b"GIF89a", "image_unreadable", "damaged"),
        (b"II*\0\xff\xff\xff\xff", "image_unreadable", "damaged"),
        (b"RIFF\x04\0\0\0WEBP", "image_unreadable", "WebP whose header is damaged"),
        (b"\0\0\0\x18ftypavif\0\0", "image_unreadable", "AVIF whose header is damaged"),
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


def test_avif_that_this_pillow_cannot_decode_is_told_apart_from_a_damaged_one():
    told = recognise_foreign(b"\0\0\0\x18ftypavif" + bytes(100), decodable=())
    assert (told.rule, told.reason) == (
        "image_unsupported",
        "the file is AVIF, which this build of Pillow cannot decode",
    )
    assert recognise_foreign(b"\0\0\0\x18ftypheic", decodable=("HEIF",)).rule == "image_unreadable"


def test_postscript_is_never_given_to_an_interpreter():
    program = encode(Image.new("RGB", (4, 4)), "EPS")
    assert Image.open(io.BytesIO(program)).format == "EPS"
    assert refuse(program).rule == "image_unsupported"
