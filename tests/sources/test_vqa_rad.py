"""`vqa_rad`: answers that are numbers, types that end in a blank, and where the test questions are told."""

from __future__ import annotations

import pytest
from source_reading import number_answers, read_fields, read_rows, sample_list, sample_object, write_json

from vqa_pipeline.sources.formats.vqa_rad import VQA_RAD

RECORD = {
    "qid": 1,
    "image_name": "synpic54610.jpg",
    "image_organ": "HEAD",
    "answer": "Yes",
    "answer_type": "CLOSED",
    "question_type": "PRES",
    "question": "Are regions of the brain infarcted?",
    "phrase_type": "freeform",
}


def read(folder, *records, file="VQA_RAD Dataset Public.json", **settings):
    write_json(folder / file, list(records))
    return read_fields(folder, "vqa_rad", file, **settings)


def test_a_record_is_a_question_with_one_answer(tmp_path):
    assert read(tmp_path, RECORD) == [
        {
            "native_id": 1,
            "image": "synpic54610.jpg",
            "question": "Are regions of the brain infarcted?",
            "split": None,
            "question_type": "PRES",
            "answer_type": "CLOSED",
            "answers": number_answers("Yes"),
            "paraphrase_of": None,
        }
    ]


def test_linked_questions_share_their_link(tmp_path):
    records = [{**RECORD, "qid": number, "qid_linked_id": link} for number, link in enumerate(("a-1", "a-1", "", None))]
    assert [row["paraphrase_of"] for row in read(tmp_path, *records)] == ["a-1", "a-1", None, None]


@pytest.mark.parametrize(("answer", "written"), [(4, "4"), (2.5, "2.5"), ("3 cm", "3 cm"), ("Yes ", "Yes ")])
def test_an_answer_that_is_a_number_is_written_as_the_file_writes_it(tmp_path, answer, written):
    [row] = read(tmp_path, {**RECORD, "answer": answer})
    assert row["answers"] == number_answers(written)


@pytest.mark.parametrize("answer", [True, None, ["Yes"], {"answer": "Yes"}])
def test_an_answer_that_is_neither_text_nor_number_is_refused(tmp_path, answer):
    write_json(tmp_path / "train.json", [{**RECORD, "answer": answer}, RECORD])
    refused, kept = read_rows(tmp_path, "vqa_rad", "train.json")
    assert "answer" in str(refused.error)
    assert kept.fields["native_id"] == 1


def test_the_blank_after_an_answer_type_is_cut_off(tmp_path):
    [row] = read(tmp_path, {**RECORD, "answer_type": "CLOSED "})
    assert row["answer_type"] == "CLOSED"


def test_ids_may_be_numbers_or_texts(tmp_path):
    assert [row["native_id"] for row in read(tmp_path, RECORD, {**RECORD, "qid": "2b"})] == [1, "2b"]


@pytest.mark.parametrize(
    ("phrase_type", "file", "split"),
    [
        ("test_freeform", "public.json", "test"),
        ("test_para", "trainset.json", "test"),
        ("freeform", "public.json", "train"),
        ("para", "testset.json", "test"),
        (None, "trainset.json", "train"),
    ],
)
def test_the_published_split_is_told_by_phrase_type_and_else_by_the_file(tmp_path, phrase_type, file, split):
    [row] = read(tmp_path, {**RECORD, "phrase_type": phrase_type}, file=file, splits="declared")
    assert row["split"] == split


def test_by_default_questions_of_one_picture_and_their_paraphrases_stay_together(tmp_path):
    [row] = read(tmp_path, {**RECORD, "phrase_type": "test_para"})
    assert row["split"] is None


def test_it_is_recognised_by_its_fields():
    assert VQA_RAD.recognize(sample_list("train.json", [RECORD])) == (1.0, {"files": "train.json"})
    without = {name: value for name, value in RECORD.items() if name != "phrase_type"}
    assert VQA_RAD.recognize(sample_list("train.json", [without])).certainty == 0.8
    assert VQA_RAD.recognize(sample_list("train.json", [{"image_name": "a"}])) is None
    assert VQA_RAD.recognize(sample_object("train.json", {"1": RECORD}, [RECORD])) is None
