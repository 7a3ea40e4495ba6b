"""`daquar`: records of three lines, or of two with the image named inside the question."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_reading import number_answers, read_fields, read_rows, sample_text

from vqa_pipeline.sources.formats.daquar import DAQUAR

TRIPLES = "what is on the desk ?\nbook, scissor, tape_dispenser \nimage3\nhow many chairs are there ?  \n2\nimage7\n\n"
PAIRS = "what is on the desk in the image3 ?\nbook, scissor\nhow many chairs are in the image7 ?\n2\n"


def test_three_lines_are_question_answer_and_image(tmp_path):
    (tmp_path / "qa.train.txt").write_text(TRIPLES)
    first, second = read_fields(tmp_path, "daquar", "qa.train.txt")
    assert first == {
        "native_id": None,
        "image": "image3.png",
        "question": "what is on the desk ?",
        "split": "train",
        "question_type": None,
        "answer_type": None,
        "answers": number_answers("book, scissor, tape_dispenser"),
    }
    assert second["question"] == "how many chairs are there ?"


def test_two_lines_have_the_image_in_the_question_which_stays_as_it_is(tmp_path):
    (tmp_path / "qa.train.txt").write_text(PAIRS)
    assert [
        (one["image"], one["question"], one["answers"]) for one in read_fields(tmp_path, "daquar", "qa.train.txt")
    ] == [
        ("image3.png", "what is on the desk in the image3 ?", number_answers("book, scissor")),
        ("image7.png", "how many chairs are in the image7 ?", number_answers("2")),
    ]


def test_a_row_tells_its_lines_and_where_they_begin(tmp_path):
    (tmp_path / "qa.train.txt").write_text(TRIPLES)
    _, row = read_rows(tmp_path, "daquar", "qa.train.txt")
    assert json.loads(row.raw.payload) == ["how many chairs are there ?", "2", "image7"]
    assert (row.raw.locator.record, row.raw.locator.line) == (1, 4)
    assert TRIPLES.encode()[row.raw.locator.byte_offset :].startswith(b"how many")


@pytest.mark.parametrize("bad", ["what ?\nimage3", "what ?\na\nb\nimage3", "image3", "what ?\n\x81\nimage3"])
def test_a_line_too_many_or_too_few_costs_one_of_the_triples(tmp_path, bad):
    good = "what is it ?\nlamp\nimage1\n"
    (tmp_path / "qa.train.txt").write_bytes(f"{good}{bad}\n{good}".encode("latin-1"))
    rows = read_rows(tmp_path, "daquar", "qa.train.txt")
    assert [row.error is None for row in rows] == [True, False, True]


@pytest.mark.parametrize("bad", ["what is in the image3 ?", "what is in the image3 ?\na\nb", "is image3 image4 ?\nno"])
def test_a_line_too_many_or_too_few_costs_one_of_the_pairs(tmp_path, bad):
    good = "what is in the image1 ?\nlamp\n"
    (tmp_path / "qa.train.txt").write_text(f"{good}{bad}\n{good}")
    rows = read_rows(tmp_path, "daquar", "qa.train.txt")
    assert [row.error is None for row in rows] == [True, False, True]


def test_a_record_cut_off_at_the_end_is_a_row(tmp_path):
    (tmp_path / "qa.train.txt").write_text(TRIPLES + "what is behind the door ?")
    *_, last = read_rows(tmp_path, "daquar", "qa.train.txt")
    assert last.error.rule == "record_malformed"


def test_a_text_of_another_kind_is_cut_into_rows_of_at_most_thirty_lines(tmp_path):
    (tmp_path / "qa.train.txt").write_text("once upon a time\n" * 100)
    rows = read_rows(tmp_path, "daquar", "qa.train.txt")
    assert {len(json.loads(row.raw.payload)) for row in rows} <= set(range(1, 31))
    assert all(row.error for row in rows)


_WORDS = st.text(st.sampled_from("abc ,?é"), min_size=1).map(lambda text: f"x{text}x")


@given(st.lists(st.tuples(_WORDS, _WORDS, st.integers(0, 9999)), min_size=1, max_size=5), st.booleans())
def test_every_question_and_answer_comes_out_as_it_went_in(tmp_path_factory, questions, as_triples):
    folder = tmp_path_factory.mktemp("lines")
    if not as_triples:
        questions = [(f"{question} image{number} ?", answer, number) for question, answer, number in questions]
    lines = [[question, answer, f"image{number}"][: 3 if as_triples else 2] for question, answer, number in questions]
    (folder / "qa.train.txt").write_bytes("\n".join("\n".join(record) for record in lines).encode())
    found = read_fields(folder, "daquar", "qa.train.txt")
    assert [(one["question"], one["answers"], one["image"]) for one in found] == [
        (question, number_answers(answer), f"image{number}.png") for question, answer, number in questions
    ]


def test_lines_about_numbered_images_are_recognised():
    assert DAQUAR.recognize(sample_text("qa.train.txt", TRIPLES)) == (
        1.0,
        {"files": "qa.train.txt", "splits": "declared"},
    )
    assert DAQUAR.recognize(sample_text("qa.train.txt", PAIRS)).certainty < 1
    assert DAQUAR.recognize(sample_text("qa.train.txt", "what is it ?\nlamp\n")) is None
    assert DAQUAR.recognize(sample_text("qa.train.txt", "")) is None
