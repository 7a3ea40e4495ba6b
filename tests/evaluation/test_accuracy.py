"""Means over all questions, against sums done by hand."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.evaluation.accuracy import compute_mean, measure_accuracy, score_answers

SCORED = pd.DataFrame(
    {
        "score": [1.0, 0.3, 0.0, 0.6],
        "exact": [True, False, False, True],
    }
)


def refer(*answers):
    return [{"answer": text, "answer_id": None, "answer_confidence": None} for text in answers]


def test_accuracy_is_the_mean_over_all_questions():
    accuracy = measure_accuracy(SCORED)
    assert accuracy.num_questions == 4
    assert accuracy.vqa_accuracy == pytest.approx(1.9 / 4)
    assert accuracy.exact_match == 2 / 4


def test_an_answer_never_given_scores_nothing():
    references = [refer("red"), refer("red"), refer("the")]
    assert score_answers(["Red", None, None], references, "normalized") == [1.0, 0.0, 0.0]


def test_answers_and_references_must_be_of_the_same_questions():
    with pytest.raises(ValueError, match="longer"):
        score_answers(["red"], [refer("red"), refer("blue")], "normalized")


def test_the_mean_of_equal_scores_is_that_score():
    assert compute_mean([0.3] * 10) == 0.3
    assert compute_mean([1.0] * 7) == 1.0


@given(st.lists(st.sampled_from([0.0, 0.1, 0.3, 1 / 3, 0.6, 0.9, 1.0]), min_size=1), st.randoms(use_true_random=False))
def test_the_order_of_questions_never_changes_a_mean(scores, random):
    assert compute_mean(random.sample(scores, len(scores))) == compute_mean(scores)
    assert 0 <= compute_mean(scores) <= 1
