"""`vsr`: captions that are true or false stand as they are, and their labels as words."""

from __future__ import annotations

import pytest
from source_reading import number_answers, read_fields, read_rows, sample_lines, write_lines

from vqa_pipeline.sources.formats.vsr import VSR

RECORD = {
    "image": "000000372029.jpg",
    "image_link": "http://images.cocodataset.org/train2017/000000372029.jpg",
    "caption": "The dog is on the surfboard.",
    "label": 1,
    "relation": "on",
    "annotator_id": 4,
    "vote_true_validator_id": "[19, 2, 51]",
}


def test_a_caption_is_asked_about_and_its_relation_is_its_type(tmp_path):
    write_lines(tmp_path / "zeroshot_dev.jsonl", RECORD)
    assert read_fields(tmp_path, "vsr", "*.jsonl") == [
        {
            "native_id": None,
            "image": "000000372029.jpg",
            "question": "The dog is on the surfboard.",
            "split": "val",
            "question_type": "on",
            "answer_type": None,
            "answers": number_answers("true"),
        }
    ]


@pytest.mark.parametrize(("label", "answer"), [(0, "false"), (1, "true")])
def test_a_label_is_a_class_and_not_a_number_to_answer_with(tmp_path, label, answer):
    write_lines(tmp_path / "test.jsonl", {**RECORD, "label": label})
    [row] = read_fields(tmp_path, "vsr", "test.jsonl")
    assert row["answers"] == number_answers(answer)


@pytest.mark.parametrize("label", [2, -1, "1", True, None, 1.0])
def test_other_labels_are_refused(tmp_path, label):
    write_lines(tmp_path / "test.jsonl", {**RECORD, "label": label})
    [refused] = read_rows(tmp_path, "vsr", "test.jsonl")
    assert "label" in str(refused.error)


def test_it_is_recognised_by_its_fields():
    assert VSR.recognize(sample_lines("a/dev.jsonl", RECORD)) == (1.0, {"files": "a/dev.jsonl", "splits": "declared"})
    assert VSR.recognize(sample_lines("vsr.jsonl", RECORD)).settings["splits"] == "by_image"
    assert VSR.recognize(sample_lines("dev.jsonl", {"image": "a.jpg", "caption": "A dog."})) is None
