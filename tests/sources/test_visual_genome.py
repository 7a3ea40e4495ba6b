"""`visual_genome`: several questions in each image's record, and images in two folders."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from source_reading import number_answers, read_fields, read_rows, sample_list, write_json

from vqa_pipeline.schemas import Locator
from vqa_pipeline.sources.formats.visual_genome import VISUAL_GENOME


def ask(qa_id: int, image_id: int, answer: object = "A teddy bear.") -> dict[str, object]:
    question = {"question": f"What is {qa_id}?", "image_id": image_id, "qa_id": qa_id, "answer": answer}
    return question | {"a_objects": [], "q_objects": []}


IMAGES = [{"id": 4, "qas": [ask(71, 4), ask(72, 4)]}, {"id": 5, "qas": [ask(80, 5)]}]


def place(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_each_question_of_an_image_is_a_row(tmp_path):
    write_json(tmp_path / "qa.json", IMAGES)
    rows = read_rows(tmp_path, "visual_genome", "qa.json")
    assert [(row.raw.locator.record, row.raw.locator.item) for row in rows] == [(0, 0), (0, 1), (1, None)]
    assert [(row.fields["native_id"], row.fields["image"]) for row in rows] == [
        (71, "4.jpg"),
        (72, "4.jpg"),
        (80, "5.jpg"),
    ]


def test_an_answer_keeps_its_capital_and_its_full_stop(tmp_path):
    write_json(tmp_path / "qa.json", IMAGES)
    first, *_ = read_fields(tmp_path, "visual_genome", "qa.json")
    assert first["question"] == "What is 71?"
    assert first["answers"] == number_answers("A teddy bear.")


def test_an_image_is_looked_for_in_both_folders(tmp_path):
    write_json(tmp_path / "qa.json", [*IMAGES, {"id": 6, "qas": [ask(90, 6)]}])
    place(tmp_path / "images" / "VG_100K" / "4.jpg", tmp_path / "images" / "VG_100K_2" / "5.jpg")
    fields = read_fields(tmp_path, "visual_genome", "qa.json", image_root="images")
    assert [one["image"] for one in fields] == ["VG_100K/4.jpg", "VG_100K/4.jpg", "VG_100K_2/5.jpg", "6.jpg"]


def test_both_folders_may_lie_in_an_archive(tmp_path):
    write_json(tmp_path / "qa.json", IMAGES)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name in ("VG_100K/4.jpg", "VG_100K_2/5.jpg"):
            archive.writestr(name, b"")
    fields = read_fields(tmp_path, "visual_genome", "qa.json", image_root="images.zip")
    assert [one["image"] for one in fields] == ["VG_100K/4.jpg", "VG_100K/4.jpg", "VG_100K_2/5.jpg"]


def test_the_folders_may_be_called_otherwise(tmp_path):
    write_json(tmp_path / "qa.json", IMAGES)
    place(tmp_path / "images" / "a" / "4.jpg", tmp_path / "images" / "VG_100K" / "5.jpg")
    fields = read_fields(tmp_path, "visual_genome", "qa.json", image_root="images", image_folders=["a"])
    assert [one["image"] for one in fields] == ["a/4.jpg", "a/4.jpg", "5.jpg"]


@pytest.mark.parametrize("bad", [ask(72, 4) | {"qa_id": "72"}, {"qa_id": 72}, "What?", ask(72, 4, 7)])
def test_a_question_that_is_not_one_costs_only_itself(tmp_path, bad):
    write_json(tmp_path / "qa.json", [{"id": 4, "qas": [ask(71, 4), bad, ask(73, 4)]}])
    rows = read_rows(tmp_path, "visual_genome", "qa.json")
    assert [row.error is None for row in rows] == [True, False, True]
    assert rows[1].raw.locator == Locator("qa.json", 0, 1, 1)
    assert rows[2].fields["native_id"] == 73


def test_an_image_without_questions_has_a_fate(tmp_path):
    write_json(tmp_path / "qa.json", [{"id": 4, "qas": []}, {"id": 5}])
    none, missing = read_rows(tmp_path, "visual_genome", "qa.json")
    assert none.error.rule == "question_missing"
    assert "qas" in str(missing.error)


def test_a_question_may_be_unanswered(tmp_path):
    question = ask(71, 4)
    del question["answer"]
    write_json(tmp_path / "qa.json", [{"id": 4, "qas": [question]}])
    [fields] = read_fields(tmp_path, "visual_genome", "qa.json")
    assert fields["answers"] is None


def test_a_list_of_images_with_their_questions_is_recognised():
    assert VISUAL_GENOME.recognize(sample_list("qa.json", IMAGES)) == (1.0, {"files": "qa.json"})
    assert VISUAL_GENOME.recognize(sample_list("q.json", [{"id": 4, "question": "a?"}])) is None
