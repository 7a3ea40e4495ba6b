"""Suspect annotations: what counts as confident, what contradicts, and who is doubted most."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.evaluation import suspects
from vqa_pipeline.evaluation.suspects import doubt_annotators, find_suspects


def refer(*answers: str):
    return [{"answer": answer, "answer_id": number, "answer_confidence": None} for number, answer in enumerate(answers)]


def find(*rows: tuple[str | None, float, float, list[str]]) -> list[str]:
    """Ids q0, q1, … of suspects among rows of (answer, score, probability, references)."""
    answered = pd.DataFrame(
        {
            "question_id": [f"q{number}" for number in range(len(rows))],
            "answer": pd.Series([row[0] for row in rows], dtype=object),
            "score": [row[1] for row in rows],
            "probability": [row[2] for row in rows],
        }
    )
    return find_suspects(answered, [refer(*row[3]) for row in rows])["question_id"].tolist()


RIGHT = ("red", 1.0, 0.8, ["red"])


def test_a_confident_answer_that_nobody_gave_makes_an_annotation_suspect():
    assert find(RIGHT, ("red", 0.0, 0.9, ["blue"])) == ["q1"]


def test_confident_is_what_is_as_probable_as_right_answers_are_on_average():
    rows = [RIGHT, ("red", 0.5, 0.6, ["red", "blue"])]  # 0.7 on average
    assert find(*rows, ("red", 0.0, 0.7, ["blue"]), ("red", 0.0, 0.69, ["blue"])) == ["q2"]


def test_an_unsure_model_suspects_nobody():
    rows = [("red", 1.0, 0.2, ["red"]), ("red", 0.0, 0.49, ["blue"]), ("red", 0.0, 0.5, ["blue"])]
    assert find(*rows) == ["q2"]


def test_a_model_that_is_never_right_suspects_nobody():
    assert find(("red", 0.0, 1.0, ["blue"])) == []


def test_a_question_without_answer_is_no_suspect():
    assert find(RIGHT, (None, 0.0, float("nan"), ["blue"])) == []


def test_an_answer_that_earns_nothing_by_an_oddity_of_the_metric_contradicts_nobody():
    assert find(RIGHT, ("Red.", 0.0, 0.9, ["red", "red"])) == []


def test_an_answer_that_earns_credit_contradicts_nobody():
    assert find(RIGHT, ("41", 1.0, 0.9, ["40"])) == []  # numbers may be scored within five per cent


def test_equal_suspects_come_by_their_ids():
    assert find(RIGHT, ("red", 0.0, 0.9, ["blue"]), ("red", 0.0, 0.9, ["green"])) == ["q1", "q2"]


def test_of_equally_probable_answers_the_one_against_fewer_agreeing_annotators_is_more_suspect():
    ten, split, one = ["blue"] * 10, ["blue"] * 5 + ["green"] * 5, ["blue"]
    rows = [RIGHT, ("red", 0.0, 0.9, ten), ("red", 0.0, 0.9, split), ("red", 0.0, 0.9, one)]
    assert find(*rows) == ["q2", "q3", "q1"]


@pytest.mark.parametrize(
    ("answers", "doubt"),
    [
        (["blue"], 1 / 3),  # 1 - 2/3
        (["blue"] * 10, 1 / 12),  # 1 - 11/12
        (["blue"] * 5 + ["red"] * 5, 1 / 2),  # 1 - 6/12
        (["Blue.", "blue", "a blue"], 1 / 5),  # all the same after normalization: 1 - 4/5
    ],
)
def test_doubt_in_annotators_is_what_the_rule_of_succession_leaves(answers, doubt):
    assert doubt_annotators(refer(*answers)) == pytest.approx(doubt)


def test_no_more_are_named_than_somebody_looks_at(monkeypatch):
    monkeypatch.setattr(suspects, "MOST_SUSPECTS", 2)
    rows = [("red", 0.0, 0.9 + number / 100, ["blue"]) for number in range(4)]
    assert find(RIGHT, *rows) == ["q4", "q3"]


@given(st.lists(st.tuples(st.sampled_from(["red", "blue"]), st.floats(0, 1)), min_size=1), st.randoms())
def test_the_order_of_rows_does_not_matter(rows, randomness):
    told = [(f"q{number}", answer, float(answer == "red"), share) for number, (answer, share) in enumerate(rows)]
    mixed = randomness.sample(told, len(told))
    frames = [pd.DataFrame(some, columns=["question_id", "answer", "score", "probability"]) for some in (told, mixed)]
    first, second = (find_suspects(frame, [refer("red")] * len(frame))["question_id"].tolist() for frame in frames)
    assert first == second
