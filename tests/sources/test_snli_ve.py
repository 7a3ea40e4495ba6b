"""`snli_ve`: hypotheses stand as what they are; the picture takes the premise's place."""

from __future__ import annotations

import pytest
from source_reading import number_answers, read_fields, read_rows, sample_lines, write_lines

from vqa_pipeline.sources.formats.snli_ve import SNLI_VE

RECORD = {
    "Flickr30K_ID": "2248275918",
    "annotator_labels": ["neutral", "neutral", "entailment"],
    "gold_label": "neutral",
    "pairID": "2248275918.jpg#2r1n",
    "sentence1": "A toddler poses in front of a computer.",
    "sentence2": "A toddler poses at the office.",
}


def test_a_hypothesis_is_answered_by_the_label_that_the_task_is_scored_by(tmp_path):
    write_lines(tmp_path / "snli_ve_dev.jsonl", RECORD)
    assert read_fields(tmp_path, "snli_ve", "*.jsonl") == [
        {
            "native_id": "2248275918.jpg#2r1n",
            "image": "2248275918.jpg",
            "question": "A toddler poses at the office.",
            "split": "val",
            "question_type": None,
            "answer_type": None,
            "answers": number_answers("neutral"),
        }
    ]


def test_a_pair_whose_annotators_disagree_is_refused_with_that_reason(tmp_path):
    write_lines(tmp_path / "test.jsonl", {**RECORD, "gold_label": "-"})
    [refused] = read_rows(tmp_path, "snli_ve", "test.jsonl")
    assert refused.error.rule == "answers_disagree"
    assert "did not agree" in refused.error.reason


@pytest.mark.parametrize("change", [{"gold_label": None}, {"Flickr30K_ID": 2248275918}, {"sentence2": None}])
def test_a_record_of_other_types_is_refused(tmp_path, change):
    write_lines(tmp_path / "test.jsonl", {**RECORD, **change})
    [refused] = read_rows(tmp_path, "snli_ve", "test.jsonl")
    assert next(iter(change)) in str(refused.error)


def test_it_is_recognised_by_its_fields():
    told = SNLI_VE.recognize(sample_lines("snli_ve_train.jsonl", RECORD))
    assert told == (1.0, {"files": "snli_ve_train.jsonl", "splits": "declared"})
    assert SNLI_VE.recognize(sample_lines("train.jsonl", {"gold_label": "neutral", "sentence2": "A"})) is None
