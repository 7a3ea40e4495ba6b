"""`nlvr2`: statements about two pictures have a fate, and the fate has a reason."""

from __future__ import annotations

from source_reading import read_rows, sample_lines, write_lines

from vqa_pipeline.sources.formats.nlvr2 import NLVR2

RECORD = {
    "identifier": "dev-896-0-1",
    "sentence": "There are exactly six bottles in the right image.",
    "label": "True",
    "left_url": "https://example.org/left.jpg",
    "right_url": "https://example.org/right.jpg",
}


def test_every_statement_is_rejected_and_its_two_pictures_are_named(tmp_path):
    write_lines(tmp_path / "balanced_dev.json", RECORD, {**RECORD, "identifier": "dev-896-2-1", "label": "False"})
    rows = read_rows(tmp_path, "nlvr2", "balanced_dev.json")
    assert [(str(row.raw.locator), row.error.rule, row.error.reason) for row in rows] == [
        (
            "balanced_dev.json:1",
            "images_several",
            "it is a statement about two images, dev-896-0-img0.png and dev-896-0-img1.png",
        ),
        (
            "balanced_dev.json:2",
            "images_several",
            "it is a statement about two images, dev-896-2-img0.png and dev-896-2-img1.png",
        ),
    ]


def test_a_record_that_is_no_statement_is_refused_for_that(tmp_path):
    write_lines(tmp_path / "dev.json", {**RECORD, "identifier": 7})
    [refused] = read_rows(tmp_path, "nlvr2", "dev.json")
    assert "identifier" in str(refused.error)


def test_it_is_recognised_by_its_fields():
    assert NLVR2.recognize(sample_lines("dev.json", RECORD)) == (1.0, {"files": "dev.json"})
    assert NLVR2.recognize(sample_lines("dev.json", {"identifier": "a", "sentence": "b"})) is None
