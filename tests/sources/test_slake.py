"""`slake`: pictures that share their name, two languages in a file, the split in the file's name."""

from __future__ import annotations

import pytest
from source_reading import number_answers, read_fields, read_rows, sample_lines, sample_list, write_json

from vqa_pipeline.sources.formats.slake import SLAKE

ENGLISH = {
    "img_id": 1,
    "img_name": "xmlab1/source.jpg",
    "question": "Does the picture contain liver?",
    "answer": "Yes",
    "q_lang": "en",
    "answer_type": "CLOSED",
    "content_type": "Organ",
    "triple": ["vhead", "_", "_"],
    "qid": 3,
}
CHINESE = {
    **ENGLISH,
    "img_name": "xmlab0/source.jpg",
    "question": "这是什么?",
    "answer": "腹部",
    "q_lang": "zh",
    "qid": 9,
}


def test_questions_of_both_languages_are_taken_as_they_are(tmp_path):
    write_json(tmp_path / "train.json", [ENGLISH, CHINESE])
    first, second = read_fields(tmp_path, "slake", "train.json")
    assert first == {
        "native_id": 3,
        "image": "xmlab1/source.jpg",
        "question": "Does the picture contain liver?",
        "split": "train",
        "question_type": "Organ",
        "answer_type": "CLOSED",
        "answers": number_answers("Yes"),
    }
    assert (second["question"], second["answers"]) == ("这是什么?", number_answers("腹部"))


def test_pictures_of_one_name_are_told_apart_by_their_folder(tmp_path):
    write_json(tmp_path / "train.json", [ENGLISH, CHINESE])
    rows = read_fields(tmp_path, "slake", "train.json")
    assert [row["image"] for row in rows] == ["xmlab1/source.jpg", "xmlab0/source.jpg"]


def test_each_file_is_the_split_that_its_name_says(tmp_path):
    for name in ("train", "validate", "test"):
        write_json(tmp_path / f"{name}.json", [{**ENGLISH, "qid": name}])
    rows = read_fields(tmp_path, "slake", "*.json")
    assert [(row["native_id"], row["split"]) for row in rows] == [
        ("test", "test"),
        ("train", "train"),
        ("validate", "val"),
    ]


def test_a_file_whose_name_says_no_split_needs_the_setting(tmp_path):
    write_json(tmp_path / "slake.json", [ENGLISH])
    [refused] = read_rows(tmp_path, "slake", "slake.json")
    assert refused.error.rule == "split_unknown"
    [row] = read_fields(tmp_path, "slake", "slake.json", splits="by_image")
    assert row["split"] is None


@pytest.mark.parametrize("change", [{"qid": None}, {"img_name": 1}, {"answer": 3}, {"question": ["?"]}, {"qid": True}])
def test_a_record_of_other_types_is_refused_and_the_others_stay(tmp_path, change):
    write_json(tmp_path / "train.json", [{**ENGLISH, **change}, CHINESE])
    refused, kept = read_rows(tmp_path, "slake", "train.json")
    assert next(iter(change)) in str(refused.error)
    assert kept.fields["native_id"] == 9


def test_it_is_recognised_by_its_fields():
    told = SLAKE.recognize(sample_list("a/train.json", [ENGLISH, CHINESE]))
    assert told == (1.0, {"files": "a/train.json", "splits": "declared"})
    assert SLAKE.recognize(sample_list("slake.json", [ENGLISH])).settings["splits"] == "by_image"
    assert SLAKE.recognize(sample_list("a.json", [{"qid": 1, "image_name": "a.jpg", "question": "a?"}])) is None
    assert SLAKE.recognize(sample_lines("train.json", ENGLISH)) is None
