"""Predictions that do not fit are refused, and the culprits are named."""

from __future__ import annotations

import pandas as pd
import pytest

from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.errors import PredictionsMismatch
from vqa_pipeline.evaluation.fitting import check_predictions

VOCABULARY = AnswerVocabulary(answers=("yes", "no"), counts=(2, 1))
QUESTIONS = pd.DataFrame({"question_id": ["s/1", "s/2", "s/3"], "image_sha256": ["a", "b", None]})


def predict(*rows):
    return pd.DataFrame(rows, columns=["question_id", "answer", "variant", "checkpoint"])


def row(question_id, answer="yes", variant="model", checkpoint="new"):
    return question_id, answer, variant, checkpoint


FITTING = (row("s/1"), row("s/2", "no"), row("s/1", variant="shuffled_image"), row("s/2", "maybe", checkpoint="old"))


def check(*rows):
    check_predictions(QUESTIONS, predict(*rows), "new", VOCABULARY)


def test_one_answer_to_each_question_with_an_image_fits_whatever_others_say():
    check(*FITTING)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ((*FITTING, row("t/9")), "predictions: 1 questions are not in the dataset: t/9. Materialize predictions again"),
        (FITTING[1:], "predictions: 1 questions have an image and no answer: s/1."),
        ((), "predictions: 2 questions have an image and no answer: s/1, s/2."),
        ((*FITTING, row("s/1", "no")), "predictions: 1 questions have two answers of one checkpoint: s/1."),
        ((row("s/1", "maybe"), row("s/2")), "predictions: 1 answers are not in the checkpoint's vocabulary: maybe."),
    ],
)
def test_a_misfit_is_named(rows, told):
    with pytest.raises(PredictionsMismatch) as caught:
        check(*rows)
    assert str(caught.value).startswith(told)


def test_of_many_culprits_the_first_are_named():
    with pytest.raises(PredictionsMismatch, match=r"5 questions are not in the dataset: t/0, t/1, t/2, …\."):
        check(*FITTING, *(row(f"t/{number}") for number in range(5)))
