"""Slices: which questions are in which group, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.evaluation.intervals import ImageDraws
from vqa_pipeline.evaluation.slices import MOST_VALUES, SLICE_COLUMNS, Sliced, measure_slices, tell_slices
from vqa_pipeline.schemas import SLICES

VOCABULARY = AnswerVocabulary(answers=("yes", "red"), counts=(12, 1))
TRAIN = pd.Series(["yes"] * 12 + ["red"] + [None], dtype=object)


def refer(*answers):
    return [{"answer": text, "answer_id": None, "answer_confidence": None} for text in answers]


REFERENCES = [refer("Yes.", "no"), refer("red"), refer("bob"), refer("2"), refer(*["yes"] * 10)]
QUESTIONS = pd.DataFrame(
    {
        "question_id": [f"a/{number}" for number in range(5)],
        "source": ["a", "a", "b", "b", "b"],
        "image_sha256": ["x", "x", "y", "z", None],
        "question": ["Is it so?", "What colour is it?", "What name?", "How many?", "is IT now?"],
        "question_type": pd.Series([None] * 5, dtype=object),
        "answer_type": pd.Series([None] * 5, dtype=object),
        "width": [640, 640, 100, 2000, None],
        "height": [480, 480, 300, 1600, None],
    }
)
SCORED = pd.DataFrame({"score": [1.0, 0.0, 0.5, 1.0, 1.0], "exact": [True, False, False, True, True]})


def slice_by(column, questions=QUESTIONS):
    groups = SLICE_COLUMNS[column](Sliced(questions, REFERENCES, VOCABULARY, TRAIN))
    return groups.astype(object).where(groups.notna(), None).tolist()


@pytest.mark.parametrize(
    ("column", "groups"),
    [
        ("answer_type", ["yes/no", "other", "other", "number", "yes/no"]),
        ("question_type", ["is it", "what colour", "what name", "how many", "is it"]),
        (
            "answer_frequency",
            [
                "0 training questions",  # "no" and "yes" as often: alphabetical
                "1 to 9 training questions",
                "0 training questions",
                "0 training questions",
                "10 to 99 training questions",
            ],
        ),
        (
            "vocabulary",
            ["in the vocabulary"] * 2 + ["not in the vocabulary"] * 2 + ["in the vocabulary"],
        ),
        ("source", ["a", "a", "b", "b", "b"]),
        ("image_size", ["384 to 767 pixels"] * 2 + ["0 to 127 pixels", "1,536 pixels or more", None]),
        ("num_references", ["2 to 4 answers", "1 answer", "1 answer", "1 answer", "10 answers"]),
    ],
)
def test_which_question_is_in_which_group(column, groups):
    assert slice_by(column) == groups


def test_every_column_has_its_groups_spelled_out_above():
    assert len(SLICE_COLUMNS) == 7


def test_declared_types_are_taken_as_they_are_and_a_missing_one_is_no_group():
    questions = QUESTIONS.assign(answer_type=["a", None, None, None, None], question_type=["q", "q", None, None, None])
    assert slice_by("answer_type", questions) == ["a", None, None, None, None]
    assert slice_by("question_type", questions) == ["q", "q", None, None, None]


def test_sizes_that_nobody_knows_are_no_groups():
    assert slice_by("image_size", QUESTIONS.drop(columns=["width", "height"])) == [None] * 5


def test_the_groups_of_every_question_are_a_row_of_the_schema():
    told = tell_slices(Sliced(QUESTIONS, REFERENCES, VOCABULARY, TRAIN))
    assert list(told.columns) == SLICES.names == ["question_id", *SLICE_COLUMNS]
    assert told["question_id"].tolist() == QUESTIONS["question_id"].tolist()
    assert told["answer_type"].tolist() == slice_by("answer_type")


def measure(questions=QUESTIONS, references=REFERENCES, scored=SCORED):
    images = [str(image) for image in questions["image_sha256"]]
    return measure_slices(tell_slices(Sliced(questions, references, VOCABULARY, TRAIN)), scored, ImageDraws(images))


def test_a_slice_tells_its_numbers():
    (yes_no,) = [one for one in measure() if (one.column, one.value) == ("answer_type", "yes/no")]
    assert (yes_no.num_questions, yes_no.num_images) == (2, 2)
    assert (yes_no.vqa_accuracy, yes_no.exact_match) == (1.0, 1.0)
    assert yes_no.interval.high == 1.0
    assert yes_no.interval.low < 0.3
    assert yes_no.too_small


def test_the_most_frequent_group_of_a_column_comes_first_and_ties_are_alphabetical():
    assert [one.value for one in measure() if one.column == "answer_type"] == ["other", "yes/no", "number"]
    assert [one.column for one in measure()][:3] == ["answer_type"] * 3


def test_ranges_come_in_their_order_however_many_questions_they_have():
    references = [refer(*["x"] * count) for count in (10, 10, 10, 2, 1, 1)]
    questions = QUESTIONS.iloc[[0] * 6].assign(question_id=list("abcdef")).reset_index(drop=True)
    scored = pd.DataFrame({"score": np.ones(6), "exact": np.ones(6, bool)})
    told = [one.value for one in measure(questions, references, scored) if one.column == "num_references"]
    assert told == ["1 answer", "2 to 4 answers", "10 answers"]


def test_a_column_that_tells_nothing_apart_has_no_slices():
    alike = QUESTIONS.assign(source="a")
    assert "source" not in {one.column for one in measure(alike)}


def test_thirty_images_are_enough():
    for num_images, too_small in ((29, True), (30, False)):
        rows = 2 * num_images
        questions = pd.DataFrame(
            {
                "question_id": [str(number) for number in range(rows)],
                "source": np.tile(["a", "b"], num_images),
                "image_sha256": [str(number // 2) for number in range(rows)],
                "question": "Is it?",
                "question_type": None,
                "answer_type": None,
            }
        )
        scored = pd.DataFrame({"score": np.ones(rows), "exact": np.ones(rows, bool)})
        slices = measure(questions, [refer("yes")] * rows, scored)
        assert [(one.value, one.num_images, one.too_small) for one in slices if one.column == "source"] == [
            ("a", num_images, too_small),
            ("b", num_images, too_small),
        ]


def test_of_very_many_groups_the_most_frequent_are_told():
    rows = 300
    questions = pd.DataFrame(
        {
            "question_id": [str(number) for number in range(rows)],
            "source": "a",
            "image_sha256": "x",
            "question": "Is it?",
            "question_type": ["often"] * 100 + [f"kind {number:03}" for number in range(200)],
            "answer_type": None,
        }
    )
    scored = pd.DataFrame({"score": np.ones(rows), "exact": np.ones(rows, bool)})
    values = [one.value for one in measure(questions, [refer("yes")] * rows, scored) if one.column == "question_type"]
    assert values == ["often", *(f"kind {number:03}" for number in range(MOST_VALUES - 1))]
