"""Images on pages: found in packs, small, and whole in themselves."""

from __future__ import annotations

import base64
import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from reporting_world import make_png

from vqa_pipeline.curation.image_roots import HeldImages
from vqa_pipeline.reporting.images import RawImages, draw_samples, make_thumbnail, make_thumbnails, read_image
from vqa_pipeline.schemas import IMAGES
from vqa_pipeline.sources.images import ImageError


def write_pack(path: Path, *files: bytes) -> list[str]:
    """A pack of images; returns their digests."""
    shas = [hashlib.sha256(data).hexdigest() for data in files]
    rows = [
        {
            "image_sha256": sha,
            "image": {"bytes": data, "path": sha},
            "width": 8,
            "height": 8,
            "mode": "RGB",
            "format": "PNG",
            "dhash": 0,
            "alterations": [],
        }
        for sha, data in sorted(zip(shas, files, strict=True))
    ]
    pq.write_table(pa.Table.from_pylist(rows, IMAGES), path)
    return shas


def decode(uri: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_an_image_is_found_in_the_pack_that_holds_it(tmp_path):
    first, second = make_png(color="red"), make_png(color="blue")
    packs = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    write_pack(packs[0], first, make_png(color="white"))
    (sha,) = write_pack(packs[1], second)
    assert read_image(packs, sha) == second


@pytest.mark.parametrize("packed", [True, False])
def test_an_image_in_no_pack_is_an_error_that_names_it(tmp_path, packed):
    write_pack(tmp_path / "1.parquet", make_png())
    with pytest.raises(KeyError, match="feed"):
        read_image([tmp_path / "1.parquet"] if packed else [], "feed")


def test_a_thumbnail_keeps_the_shape_of_the_image():
    image = decode(make_thumbnail(make_png(400, 200), side=100))
    assert image.size == (100, 50)
    assert image.getpixel((50, 25)) == pytest.approx((255, 0, 0), abs=3)


def test_a_small_image_is_not_blown_up():
    assert decode(make_thumbnail(make_png(8, 4))).size == (8, 4)


def test_a_photograph_becomes_a_jpeg_and_a_drawing_a_png():
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    photograph = make_thumbnail(file.getvalue())
    assert photograph.startswith("data:image/jpeg;base64,")
    assert len(photograph) < len(file.getvalue())
    assert make_thumbnail(make_png(160, 160)).startswith("data:image/png;base64,")


def test_two_hundred_thumbnails_are_less_than_five_megabytes_whatever_they_show():
    file = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "PNG")  # nothing is harder to press
    thumbnail = make_thumbnail(file.getvalue())
    assert decode(thumbnail).size == (224, 224)
    assert 200 * len(thumbnail) < 5_000_000 - 300_000  # and the page around them


def test_a_transparent_image_is_seen_as_training_sees_it():
    file = BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(file, "PNG")
    assert decode(make_thumbnail(file.getvalue())).convert("RGB").getpixel((4, 4)) == (255, 255, 255)


def test_what_is_no_image_is_refused():
    with pytest.raises(ImageError):
        make_thumbnail(b"<html>")


def write_dataset(folder: Path, *files: bytes) -> tuple[Path, list[Path]]:
    """A dataset's images.parquet and its pack."""
    shas = sorted(write_pack(folder / "pack.parquet", *files))
    pq.write_table(pa.table({"image_sha256": pa.array(shas, pa.string())}), folder / "images.parquet")
    return folder / "images.parquet", [folder / "pack.parquet"]


@pytest.mark.parametrize(("count", "size"), [(1, (96, 96)), (6, (596, 96)), (7, (596, 196)), (90, (596, 196))])
def test_samples_lie_six_in_a_row_and_are_twelve_at_most(tmp_path, count, size):
    images, packs = write_dataset(tmp_path, *(make_png(100 + number, 100) for number in range(count)))
    assert decode(draw_samples(images, packs)).size == size


def test_samples_show_each_image_in_its_place(tmp_path):
    files = [make_png(96, 96, "red"), make_png(96, 48, "blue")]
    images, packs = write_dataset(tmp_path, *files)
    sheet = decode(draw_samples(images, packs)).convert("RGB")
    wide_first = hashlib.sha256(files[1]).hexdigest() < hashlib.sha256(files[0]).hexdigest()
    red, blue = (148, 48) if wide_first else (48, 48), (48, 48) if wide_first else (148, 48)
    assert sheet.getpixel(red) == (255, 0, 0)
    assert sheet.getpixel(blue) == (0, 0, 255)
    assert sheet.getpixel((blue[0], 4)) == (255, 255, 255)


def test_samples_are_spread_over_the_dataset(tmp_path):
    asked = [hashlib.sha256(make_png(1 + number)).hexdigest() for number in range(24)]
    images, packs = write_dataset(tmp_path, *(make_png(1 + number) for number in range(24)))
    write_pack(packs[0], *(make_png(1 + asked.index(sha)) for sha in sorted(asked)[::2]))
    assert draw_samples(images, packs).startswith("data:image/")


def test_a_dataset_without_images_has_no_samples(tmp_path):
    images, packs = write_dataset(tmp_path)
    assert draw_samples(images, packs) is None


def test_thumbnails_are_made_of_those_that_are_there(tmp_path):
    (sha,) = write_pack(tmp_path / "pack.parquet", make_png(300, 300))
    thumbnails = make_thumbnails([tmp_path / "pack.parquet"], [sha, "raw/scans/7.png"])
    assert list(thumbnails) == [sha]
    assert decode(thumbnails[sha]).size == (128, 128)


def test_raw_images_are_shown_where_their_source_has_them(tmp_path):
    files = {"1.png": make_png(), "2.png": b"<html>"}
    images = RawImages({"scans": HeldImages(files), "texts": None})
    assert images.show("scans", "1.png") == make_thumbnail(files["1.png"])
    assert [images.show("scans", "2.png"), images.show("scans", "3.png"), images.show("texts", "1.png")] == [""] * 3


def test_raw_images_are_found_by_digest_in_the_places_given(tmp_path):
    files = {"1.png": make_png(), "again.png": make_png(), "2.png": make_png(color="blue")}
    sha = hashlib.sha256(files["1.png"]).hexdigest()
    images = RawImages({"scans": HeldImages(files)})
    places = [("scans", name) for name in ("gone.png", *files)]
    assert images.find({sha}, places) == {sha: make_thumbnail(files["1.png"])}
    assert images.find({sha}, [("scans", "2.png")]) == {}
