"""`docvqa`: questions about scanned documents."""

from __future__ import annotations

import pytest
from source_reading import number_answers, read_fields, read_rows, sample_object, write_json

from vqa_pipeline.sources.formats.docvqa import DOCVQA

SIGNED = {
    "questionId": 52,
    "question": "Whose signature is given?",
    "image": "documents/tx_1.png",
    "docId": 19,
    "answers": ["Edward R. Shannon", "EDWARD SHANNON"],
}


def write_file(folder, *questions) -> None:
    members = {"dataset_name": "docvqa", "dataset_split": "train", "dataset_version": "1.0", "data": list(questions)}
    write_json(folder / "q.json", members)


def test_a_question_has_the_spellings_of_its_answer_and_the_split_of_its_file(tmp_path):
    write_file(tmp_path, SIGNED)
    assert read_fields(tmp_path, "docvqa", "q.json") == [
        {
            "native_id": 52,
            "image": "documents/tx_1.png",
            "question": "Whose signature is given?",
            "split": "train",
            "question_type": None,
            "answer_type": None,
            "answers": number_answers("Edward R. Shannon", "EDWARD SHANNON"),
        }
    ]


def test_a_question_s_own_split_comes_first(tmp_path):
    write_file(tmp_path, SIGNED | {"data_split": "val"})
    [fields] = read_fields(tmp_path, "docvqa", "q.json")
    assert fields["split"] == "val"


def test_questions_of_the_test_set_have_no_answers(tmp_path):
    write_file(tmp_path, {key: value for key, value in SIGNED.items() if key != "answers"})
    [fields] = read_fields(tmp_path, "docvqa", "q.json", splits="test")
    assert fields["answers"] is None


@pytest.mark.parametrize("change", [{"questionId": None}, {"questionId": ""}, {"answers": [None]}, {"image": None}])
def test_a_question_that_is_not_one_costs_only_itself(tmp_path, change):
    write_file(tmp_path, SIGNED | change, SIGNED)
    bad, good = read_rows(tmp_path, "docvqa", "q.json")
    assert next(iter(change)) in str(bad.error)
    assert good.error is None


def test_a_file_of_docvqa_is_recognised():
    members = {"dataset_name": "docvqa", "data": [SIGNED]}
    assert DOCVQA.recognize(sample_object("q.json", members, [SIGNED])) == (1.0, {"files": "q.json"})
    assert DOCVQA.recognize(sample_object("q.json", {"data": [{"question": "a?"}]}, [{"question": "a?"}])) is None
