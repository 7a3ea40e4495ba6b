"""Corrupt, odd and dangerous image files that nobody here made, each with the fate that we want for it.

Needs a folder with `hostile_images/`, which is not part of the project: name it in VQA_ACCEPTANCE_DATA.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from bounded_decoding import inspect_folder
from curation_world import encode_lines, make_table_source, prepare, run_plan, write_files

from vqa_pipeline.sources.images import decode_image

DATA = os.environ.get("VQA_ACCEPTANCE_DATA")

pytestmark = pytest.mark.skipif(not DATA, reason="VQA_ACCEPTANCE_DATA does not name a folder with hostile images")

ACCEPTED = {
    "12in16bit.tif": (100, 100, "I;16", "TIFF"),  # black sky and a few stars: no value is above 30
    "16bit.MM.cropped.tif": (64, 64, "I;16B", "TIFF", "scaled_from_10_bit"),  # its values are 291 to 694
    "anim_frame1.webp": (82, 82, "RGB", "WEBP"),
    "apng__mode_16bit.png": (128, 64, "RGBA", "PNG", "first_frame", "scaled_from_16_bit"),
    "apng__mode_palette_1bit_alpha.png": (128, 64, "P", "PNG", "first_frame"),
    "avif__hopper.avif": (128, 128, "RGB", "AVIF"),
    "avif__xmp_tags_orientation.avif": (326, 268, "RGB", "AVIF", "orientation_applied"),
    "background_outside_palette.gif": (1, 1, "P", "GIF", "first_frame"),
    "broken_exif_dpi.jpg": (100, 100, "RGB", "JPEG"),
    "decompression_bomb_extents.gif": (100, 100, "P", "GIF", "first_frame"),
    "duplicate_frame.gif": (10, 10, "P", "GIF", "first_frame"),
    "exif_typeerror.jpg": (800, 531, "RGB", "JPEG"),
    "flower.webp": (480, 360, "RGB", "WEBP"),
    "g4_orientation_1.tif": (590, 88, "1", "TIFF"),
    "g4_orientation_5.tif": (590, 88, "1", "TIFF", "orientation_applied"),
    "hopper.Lab.tif": (128, 128, "LAB", "TIFF", "converted_from_lab"),
    "hopper.jpg": (128, 128, "RGB", "JPEG"),
    "hopper_16bit.pgm": (128, 128, "I", "PPM", "scaled_from_16_bit"),
    "hopper_16bit_qtables.jpg": (128, 128, "RGB", "JPEG"),
    "hopper_gray.jpg": (128, 128, "L", "JPEG"),
    "hopper_idat_after_image_end.png": (128, 128, "RGB", "PNG"),
    "hopper_orientation_3.jpg": (128, 128, "RGB", "JPEG", "orientation_applied"),
    "hopper_orientation_5.jpg": (128, 128, "RGB", "JPEG", "orientation_applied"),
    "hopper_orientation_6.webp": (128, 128, "RGB", "WEBP", "orientation_applied"),
    "hopper_orientation_8.jpg": (128, 128, "RGB", "JPEG", "orientation_applied"),
    "hopper_rle8_row_overflow.bmp": (128, 128, "P", "BMP"),
    "hopper_unexpected.ico": (16, 16, "RGBA", "ICO"),
    "i_trns.png": (64, 64, "I;16", "PNG", "transparency_on_white"),  # its values are 0 to 255
    "itxt_chunks.png": (2400, 2000, "RGB", "PNG"),
    "l_trns.png": (64, 64, "L", "PNG", "transparency_on_white"),
    "multiple_exif.jpg": (1, 1, "L", "JPEG"),
    "no_palette_with_transparency.gif": (2, 2, "L", "GIF", "first_frame"),  # what is transparent does not occur
    "pil123p.png": (162, 150, "P", "PNG", "transparency_on_white"),
    "pil168.png": (256, 256, "RGB", "PNG"),
    "pil_sample_cmyk.jpg": (100, 100, "CMYK", "JPEG", "converted_from_cmyk"),
    "rgb32rle.tga": (199, 199, "RGBA", "TGA"),
    "rgb_trns.png": (64, 64, "RGB", "PNG", "transparency_on_white"),
    "sugarshack_no_data.mpo": (640, 480, "RGB", "MPO", "first_frame"),
    "truncated_app14.jpg": (100, 100, "RGB", "JPEG"),
    "truncated_exif_dpi.jpg": (480, 640, "RGB", "JPEG"),
    "xmp_tags_orientation_exiftool.png": (10, 10, "RGBA", "PNG", "orientation_applied", "transparency_on_white"),
}
"""Width, height, mode, container, and what is done to show it as RGB."""

REJECTED = {
    "bmp__b__badpalettesize.bmp": ("image_unreadable", "the header is damaged .Unsupported BMP Palette size"),
    "bmp__b__badwidth.bmp": ("image_too_large", "pixels"),
    "bmp__b__shortfile.bmp": ("image_truncated", "the BMP file breaks off or is damaged"),
    "broken.png": ("image_unreadable", "PNG whose header is damaged"),
    "crash-0c7e0e8e11ce787078f00b5b0ca409a167f070e0.tif": ("image_truncated", "the TIFF file breaks off or is damaged"),
    "decompression_bomb.gif": ("image_too_large", "pixels"),
    "hopper_webp.tif": ("image_truncated", "the TIFF file breaks off or is damaged"),
    "not_enough_data.jp2": ("image_unreadable", "the file is a JPEG 2000 whose header is damaged"),
    "png_decompression_dos.png": ("image_unreadable", "Decompressed data too large"),
    "seek_too_large.tif": ("image_unreadable", "the header is damaged"),
    "truncated_image.png": ("image_truncated", "the PNG file breaks off or is damaged"),
    "ultrahdr.jpg": ("image_truncated", "the JPEG file breaks off or is damaged"),
    "unknown_compression_method.png": ("image_unreadable", "PNG whose header is damaged"),
    "zero_height.j2k": ("image_unreadable", "the file is a JPEG 2000 whose header is damaged"),
}
"""Rule, and a part of the reason."""


def find_files() -> Path:
    return Path(str(DATA)).resolve() / "hostile_images" / "files"


@pytest.fixture(scope="module")
def inspected():
    return inspect_folder(find_files(), megabytes=400, seconds=120)


def read_pixels(name: str) -> np.ndarray:
    return np.asarray(decode_image((find_files() / name).read_bytes()).rgb).astype(int)


def test_every_file_has_its_fate_in_bounded_time_and_memory(inspected):
    assert len(inspected) == 55
    assert sorted(inspected) == sorted([*ACCEPTED, *REJECTED])


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_accepted_is_told_with_what_was_done_to_it(inspected, name):
    facts = inspected[name]
    told = (facts["width"], facts["height"], facts["mode"], facts["format"], *facts["alterations"])
    assert told == ACCEPTED[name]


@pytest.mark.parametrize("name", REJECTED)
def test_what_is_rejected_is_told_with_its_rule_and_reason(inspected, name):
    rule, reason = REJECTED[name]
    assert inspected[name]["rule"] == rule
    assert re.search(reason, inspected[name]["reason"])


# ------------------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize(
    "name",
    [
        *("hopper_orientation_3.jpg", "hopper_orientation_5.jpg", "hopper_orientation_6.webp"),
        *("hopper_orientation_8.jpg", "hopper.Lab.tif", "hopper_idat_after_image_end.png", "avif__hopper.avif"),
        *("hopper_rle8_row_overflow.bmp", "hopper_16bit_qtables.jpg"),
    ],
)
def test_one_portrait_in_many_forms_is_the_same_picture(name):
    assert np.abs(read_pixels(name) - read_pixels("hopper.jpg")).mean() < 16


@pytest.mark.parametrize("name", ["hopper_16bit.pgm", "hopper_gray.jpg"])
def test_the_portrait_in_gray_is_the_same_picture(name):
    gray = read_pixels("hopper.jpg") @ [0.299, 0.587, 0.114]
    assert np.abs(read_pixels(name)[..., 0] - gray).mean() < 8


def test_a_picture_that_was_stored_lying_stands():
    differs = read_pixels("g4_orientation_5.tif") != read_pixels("g4_orientation_1.tif")
    assert differs.mean() < 0.005  # the same words, black on white


def test_deep_images_have_their_gray_levels():
    assert (read_pixels("16bit.MM.cropped.tif").min(), read_pixels("16bit.MM.cropped.tif").max()) == (73, 173)
    assert (read_pixels("12in16bit.tif").min(), read_pixels("12in16bit.tif").max()) == (0, 30)
    assert (read_pixels("hopper_16bit.pgm").min(), read_pixels("hopper_16bit.pgm").max()) == (0, 255)


def test_red_ink_is_red_and_what_is_transparent_is_white():
    assert np.abs(read_pixels("pil_sample_cmyk.jpg") - read_pixels("truncated_app14.jpg")).mean() < 16
    assert read_pixels("pil123p.png")[0, 0].tolist() == [255, 255, 255]
    assert read_pixels("rgb_trns.png")[32, 32].tolist() == [255, 255, 255]
    assert np.array_equal(read_pixels("i_trns.png"), read_pixels("l_trns.png"))
    assert read_pixels("xmp_tags_orientation_exiftool.png")[0, 0].tolist() == [255, 255, 255]


# ------------------------------------------------------------------------------------------------- through the pipeline


def test_questions_about_them_become_examples_or_rejects(tmp_path):
    names = sorted([*ACCEPTED, *REJECTED])
    rows = [
        {"id": name, "image": name, "question": "what is it?", "answers": ["odd"], "split": "train", "type": "what"}
        for name in names
    ]
    write_files(tmp_path, {"rows.jsonl": encode_lines(rows)})
    source = make_table_source(files="rows.jsonl", image_root=str(find_files()))
    records, _ = prepare(source, tmp_path, tmp_path / "records")
    curated = run_plan([records], tmp_path)
    assert {row["image"] for row in curated.questions} == set(ACCEPTED)
    assert {row["question_id"].partition("/")[2]: row["rule"] for row in curated.rejects} == {
        name: rule for name, (rule, _) in REJECTED.items()
    }
    images = pq.read_table(curated.output / "images.parquet").to_pylist()
    told = {row["image_sha256"]: row["alterations"] for row in images}
    assert {row["image"]: told[row["image_sha256"]] for row in curated.questions} == {
        name: list(expected[4:]) for name, expected in ACCEPTED.items()
    }
