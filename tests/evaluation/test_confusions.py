"""Confusion pairs: which count, in which order, and what is told of each."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.evaluation.confusions import Confusion, find_confusions


def find(*rows: tuple[str | None, float, list[str]]) -> list[Confusion]:
    """Confusions among rows q0, q1, … of (answer, score, references)."""
    scored = pd.DataFrame(
        {
            "question_id": [f"q{number}" for number in range(len(rows))],
            "answer": pd.Series([row[0] for row in rows], dtype=object),
            "score": [row[1] for row in rows],
        }
    )
    return find_confusions(scored, [[{"answer": one} for one in row[2]] for row in rows])


def pair(*rows) -> list[tuple[str, str, int]]:
    return [(one.most_common_answer, one.answer, one.num_questions) for one in find(*rows)]


def test_pairs_are_counted_after_normalization_the_most_frequent_first():
    rows = [("Red.", 0.0, ["blue"]), ("cat", 0.0, ["dog"]), ("red", 0.0, ["Blue", "blue", "green"])]
    assert pair(*rows) == [("blue", "red", 2), ("dog", "cat", 1)]


def test_equally_frequent_pairs_are_alphabetical():
    assert pair(("b", 0.0, ["y"]), ("c", 0.0, ["x"]), ("b", 0.0, ["x"])) == [
        ("x", "b", 1),
        ("x", "c", 1),
        ("y", "b", 1),
    ]


def test_what_earned_credit_was_never_given_or_is_the_same_confuses_nothing():
    rows = [("red", 0.3, ["blue", "red"]), (None, 0.0, ["blue"]), ("Blue.", 0.0, ["blue"])]
    assert pair(*rows) == []


def test_a_pair_tells_its_share_of_the_wrong_answers_and_its_first_questions():
    rows = [("red", 0.0, ["blue"])] * 4 + [("cat", 0.0, ["dog"]), ("dog", 1.0, ["dog"])]
    first, _ = find(*rows)
    assert first.fraction == pytest.approx(0.8)
    assert first.question_ids == ("q0", "q1", "q2")


def test_no_more_are_told_than_somebody_reads():
    found = find(*((f"answer {number}", 0.0, ["blue"]) for number in range(30)))
    assert len(found) == 20
    assert found[0].fraction == pytest.approx(1 / 30)


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("xyz")), min_size=1), st.randoms())
def test_every_wrong_answer_is_in_one_pair_whatever_the_order(answers, randomness):
    rows = [(given, float(given == known), [known]) for given, known in answers]
    assert sum(count for *_, count in pair(*rows)) == sum(given != known for given, known in answers)
    assert pair(*randomness.sample(rows, len(rows))) == pair(*rows)
