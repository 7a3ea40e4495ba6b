"""`owleval`: questions without answers stay unanswered."""

from __future__ import annotations

from source_reading import read_fields, read_rows, sample_lines, write_lines

from vqa_pipeline.sources.formats.owleval import OWLEVAL

RECORD = {
    "image": "1.jpg",
    "question_id": 1,
    "question": "What is funny about this image?",
    "ability": "a,b,e",
    "category": ["single_turn"],
}


def test_a_line_is_an_unanswered_question(tmp_path):
    write_lines(tmp_path / "questions.jsonl", RECORD)
    assert read_fields(tmp_path, "owleval", "questions.jsonl") == [
        {
            "native_id": 1,
            "image": "1.jpg",
            "question": "What is funny about this image?",
            "split": None,
            "question_type": "a,b,e",
            "answer_type": None,
            "answers": None,
        }
    ]


def test_a_line_without_picture_is_refused(tmp_path):
    write_lines(tmp_path / "questions.jsonl", {**RECORD, "image": None}, RECORD)
    refused, kept = read_rows(tmp_path, "owleval", "questions.jsonl")
    assert "image" in str(refused.error)
    assert kept.fields["native_id"] == 1


def test_it_is_recognised_by_its_fields():
    assert OWLEVAL.recognize(sample_lines("q.jsonl", RECORD)) == (1.0, {"files": "q.jsonl"})
    assert OWLEVAL.recognize(sample_lines("q.jsonl", {"image": "1.jpg", "question_id": 1, "question": "?"})) is None
