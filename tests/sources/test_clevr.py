"""`clevr`: numbered questions about rendered shapes, with programs."""

from __future__ import annotations

import pytest
from source_reading import number_answers, read_fields, read_rows, sample_object, write_json

from vqa_pipeline.sources.formats.clevr import CLEVR

COUNT = {
    "question_index": 0,
    "image_index": 0,
    "image_filename": "CLEVR_train_000000.png",
    "split": "train",
    "question": "How many cubes are there?",
    "answer": "3",
    "program": [{"function": "scene", "inputs": [], "value_inputs": []}, {"function": "count", "inputs": [0]}],
}
UNANSWERED = {
    "question_index": 0,
    "image_index": 14,
    "image_filename": "CLEVR_test_000014.png",
    "split": "test",
    "question": "Is it big?",
}


def write_questions(folder, *questions) -> None:
    write_json(folder / "q.json", {"info": {"split": "train"}, "questions": list(questions)})


def test_a_question_has_its_split_in_its_id_and_the_kind_of_its_program(tmp_path):
    write_questions(tmp_path, COUNT)
    assert read_fields(tmp_path, "clevr", "q.json") == [
        {
            "native_id": "train-0",
            "image": "CLEVR_train_000000.png",
            "question": "How many cubes are there?",
            "split": "train",
            "question_type": "count",
            "answer_type": None,
            "answers": number_answers("3"),
        }
    ]


def test_questions_of_the_test_set_have_no_answers(tmp_path):
    write_questions(tmp_path, UNANSWERED)
    [fields] = read_fields(tmp_path, "clevr", "q.json")
    assert (fields["split"], fields["answers"], fields["question_type"]) == ("test", None, None)


def test_numbers_restart_in_each_split_and_ids_do_not(tmp_path):
    write_questions(tmp_path, COUNT, UNANSWERED)
    assert [fields["native_id"] for fields in read_fields(tmp_path, "clevr", "q.json")] == ["train-0", "test-0"]


def test_programs_of_older_files_are_read_too(tmp_path):
    write_questions(tmp_path, COUNT | {"program": [{"type": "scene"}, {"type": "exist"}]})
    [fields] = read_fields(tmp_path, "clevr", "q.json")
    assert fields["question_type"] == "exist"


def test_a_counted_answer_may_be_a_number(tmp_path):
    write_questions(tmp_path, COUNT | {"answer": 3})
    [fields] = read_fields(tmp_path, "clevr", "q.json")
    assert fields["answers"] == number_answers("3")


def test_splits_of_the_settings_win(tmp_path):
    write_questions(tmp_path, COUNT | {"split": "new"})
    [fields] = read_fields(tmp_path, "clevr", "q.json", splits="by_image")
    assert (fields["split"], fields["native_id"]) == (None, "new-0")


@pytest.mark.parametrize("change", [{"question_index": "0"}, {"answer": True}, {"image_filename": 0}, {"split": None}])
def test_a_question_that_is_not_one_costs_only_itself(tmp_path, change):
    write_questions(tmp_path, COUNT | change, UNANSWERED)
    bad, good = read_rows(tmp_path, "clevr", "q.json")
    assert next(iter(change)) in str(bad.error)
    assert good.error is None


def test_a_file_of_clevr_is_recognised():
    members = {"info": {}, "questions": [COUNT]}
    assert CLEVR.recognize(sample_object("q.json", members, [COUNT])) == (1.0, {"files": "q.json"})
    official = {"question_id": 1, "image_id": 2, "question": "a?"}
    assert CLEVR.recognize(sample_object("q.json", {"questions": [official]}, [official])) is None
