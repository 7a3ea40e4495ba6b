"""`aokvqa`: a list of questions with ten direct answers and four choices."""

from __future__ import annotations

import pytest
from source_reading import number_answers, read_fields, read_rows, sample_list, write_json

from vqa_pipeline.sources.formats.aokvqa import AOKVQA

WAITING = {
    "split": "train",
    "image_id": 299207,
    "question_id": "22MexNkBPpdZGX6sxbxVBH",
    "question": "What is the man awaiting?",
    "choices": ["skateboarder", "train", "delivery", "cab"],
    "correct_choice_idx": 3,
    "direct_answers": ["ride", "ride", "cab"],
    "difficult_direct_answer": False,
    "rationales": ["He has bags."],
}


def test_the_direct_answers_are_read_and_images_are_those_of_coco_2017(tmp_path):
    write_json(tmp_path / "q.json", [WAITING])
    assert read_fields(tmp_path, "aokvqa", "q.json") == [
        {
            "native_id": "22MexNkBPpdZGX6sxbxVBH",
            "image": "000000299207.jpg",
            "question": "What is the man awaiting?",
            "split": "train",
            "question_type": None,
            "answer_type": None,
            "answers": number_answers("ride", "ride", "cab"),
        }
    ]


def test_questions_of_the_test_set_have_choices_and_no_answers(tmp_path):
    hidden = {"correct_choice_idx", "direct_answers", "rationales"}
    write_json(tmp_path / "q.json", [{key: value for key, value in WAITING.items() if key not in hidden}])
    [fields] = read_fields(tmp_path, "aokvqa", "q.json")
    assert fields["answers"] is None


@pytest.mark.parametrize(
    "change", [{"image_id": "299207"}, {"image_id": True}, {"direct_answers": "ride"}, {"question": 3}, {"split": 1}]
)
def test_a_question_that_is_not_one_costs_only_itself(tmp_path, change):
    write_json(tmp_path / "q.json", [WAITING | change, WAITING])
    bad, good = read_rows(tmp_path, "aokvqa", "q.json")
    assert next(iter(change)) in str(bad.error)
    assert good.error is None


def test_a_question_without_split_is_refused_unless_the_settings_say_it(tmp_path):
    write_json(tmp_path / "q.json", [{key: value for key, value in WAITING.items() if key != "split"}])
    [row] = read_rows(tmp_path, "aokvqa", "q.json")
    assert row.error.rule == "split_unknown"
    [fields] = read_fields(tmp_path, "aokvqa", "q.json", splits="val")
    assert fields["split"] is None


def test_a_list_of_questions_with_choices_is_recognised():
    assert AOKVQA.recognize(sample_list("q.json", [WAITING])) == (1.0, {"files": "q.json"})
    assert AOKVQA.recognize(sample_list("q.json", [{"question_id": 1, "image_id": 2, "question": "a?"}])) is None
