"""`vizwiz`: VizWiz as its authors publish it."""

from __future__ import annotations

import pytest
from source_reading import read_fields, read_rows, sample_list, write_json

from vqa_pipeline.sources.formats.vizwiz import VIZWIZ

SPOKEN = {
    "answerable": 1,
    "image": "VizWiz_train_00000000.jpg",
    "question": "Ok. There is another image I hope it is a better one.",
    "answer_type": "other",
    "answers": [
        {"answer": "soap", "answer_confidence": "yes"},
        {"answer_confidence": "yes", "answer": "soap"},
        {"answer_confidence": "maybe", "answer": "unanswerable"},
    ],
}


def test_equal_answers_stay_as_many_and_get_no_ids(tmp_path):
    write_json(tmp_path / "train.json", [SPOKEN])
    assert read_fields(tmp_path, "vizwiz", "train.json") == [
        {
            "native_id": None,
            "image": "VizWiz_train_00000000.jpg",
            "question": "Ok. There is another image I hope it is a better one.",
            "split": "train",
            "question_type": None,
            "answer_type": "other",
            "answers": [
                {"answer": "soap", "answer_id": None, "answer_confidence": "yes"},
                {"answer": "soap", "answer_id": None, "answer_confidence": "yes"},
                {"answer": "unanswerable", "answer_id": None, "answer_confidence": "maybe"},
            ],
        }
    ]


def test_questions_of_the_test_set_have_no_answers(tmp_path):
    write_json(tmp_path / "test.json", [{"image": "VizWiz_test_00000007.jpg", "question": "What is this?"}])
    [fields] = read_fields(tmp_path, "vizwiz", "test.json")
    assert (fields["split"], fields["answers"]) == ("test", None)


def test_an_image_of_another_name_declares_no_split(tmp_path):
    write_json(tmp_path / "q.json", [SPOKEN | {"image": "mine.jpg"}])
    [row] = read_rows(tmp_path, "vizwiz", "q.json")
    assert row.error.rule == "split_unknown"


@pytest.mark.parametrize("change", [{"answers": ["soap"]}, {"image": None}, {"question": 3}])
def test_a_question_that_is_not_one_costs_only_itself(tmp_path, change):
    write_json(tmp_path / "q.json", [SPOKEN | change, SPOKEN])
    bad, good = read_rows(tmp_path, "vizwiz", "q.json")
    assert next(iter(change)) in str(bad.error)
    assert good.error is None


def test_a_list_with_images_of_vizwiz_is_recognised():
    assert VIZWIZ.recognize(sample_list("train.json", [SPOKEN])) == (1.0, {"files": "train.json"})
    assert VIZWIZ.recognize(sample_list("q.json", [SPOKEN | {"image": "mine.jpg"}])) is None
