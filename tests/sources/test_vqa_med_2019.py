"""`vqa_med_2019`: lines with `|` between two, three or four fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_reading import number_answers, read_fields, read_rows, sample_text

from vqa_pipeline.sources.formats.vqa_med_2019 import VQA_MED_2019

REFERENCES = (
    "synpic54082|modality|what modality is shown?|cta - ct angiography\n"
    "synpic31308|modality|was the mri taken, with contrast?|no#without, contrast\n"
)


def test_four_fields_are_image_category_question_and_answers(tmp_path):
    (tmp_path / "test.txt").write_text(REFERENCES)
    first, second = read_fields(tmp_path, "vqa_med_2019", "test.txt")
    assert first == {
        "native_id": None,
        "image": "synpic54082.jpg",
        "question": "what modality is shown?",
        "split": "test",
        "question_type": "modality",
        "answer_type": None,
        "answers": number_answers("cta - ct angiography"),
    }
    assert second["question"] == "was the mri taken, with contrast?"
    assert second["answers"] == number_answers("no", "without, contrast")


def test_three_fields_have_no_category_and_two_no_answer(tmp_path):
    (tmp_path / "train.txt").write_text("synpic1|what plane is this?|axial\r\n\r\nsynpic2|what is shown?\r\n")
    answered, unanswered = read_fields(tmp_path, "vqa_med_2019", "train.txt")
    assert (answered["question_type"], answered["answers"]) == (None, number_answers("axial"))
    assert (unanswered["question"], unanswered["answers"]) == ("what is shown?", None)


def test_rows_have_lines_and_their_fields_as_payload(tmp_path):
    (tmp_path / "train.txt").write_text("\nsynpic1|é?|axial\n")
    [row] = read_rows(tmp_path, "vqa_med_2019", "train.txt")
    assert row.raw.payload.decode() == '["synpic1", "é?", "axial"]'
    assert (row.raw.locator.line, row.raw.locator.byte_offset) == (2, 1)


@pytest.mark.parametrize("bad", [b"synpic1", b"synpic1|a|b?|c|d", b"synpic1|\x81?|axial"])
def test_a_line_that_is_no_question_costs_only_itself(tmp_path, bad):
    (tmp_path / "train.txt").write_bytes(b"synpic7|a?|b\n" + bad + b"\nsynpic8|a?|b\n")
    rows = read_rows(tmp_path, "vqa_med_2019", "train.txt")
    assert [row.error is None for row in rows] == [True, False, True]


_WORDS = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="|#"), min_size=1).map(
    lambda text: f"x{text}x"
)


@given(st.lists(st.tuples(_WORDS, _WORDS, st.lists(_WORDS, min_size=1, max_size=3)), min_size=1, max_size=5))
def test_every_question_and_answer_comes_out_as_it_went_in(tmp_path_factory, questions):
    folder = tmp_path_factory.mktemp("lines")
    lines = [f"{image}|{question}|{'#'.join(answers)}" for image, question, answers in questions]
    (folder / "train.txt").write_bytes("\n".join(lines).encode())
    found = read_fields(folder, "vqa_med_2019", "train.txt")
    assert [(one["image"], one["question"], [a["answer"] for a in one["answers"]]) for one in found] == [
        (f"{image}.jpg", question, answers) for image, question, answers in questions
    ]


def test_lines_about_synpic_images_are_recognised():
    assert VQA_MED_2019.recognize(sample_text("test.txt", REFERENCES)) == (
        1.0,
        {"files": "test.txt", "splits": "declared"},
    )
    assert VQA_MED_2019.recognize(sample_text("train.txt", "synpic1|a?|b\r\nsynpic2|c?\r\n")) is not None
    assert VQA_MED_2019.recognize(sample_text("q.txt", "id|question|answer\n1|a?|b\n")) is None
    assert VQA_MED_2019.recognize(sample_text("q.txt", "")) is None
