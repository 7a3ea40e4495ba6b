"""Whether predictions fit the questions that they are about and the vocabulary that they are from.

Scores of others would be scores of nothing: each misfit is refused, and named.
"""

from __future__ import annotations

import pandas as pd

from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.errors import PredictionsMismatch
from vqa_pipeline.evaluation.tables import select_predictions


def check_predictions(
    questions: pd.DataFrame, predictions: pd.DataFrame, checkpoint: str, vocabulary: AnswerVocabulary
) -> None:
    """Refuse predictions of a checkpoint that are not what it would answer to these questions, one each.

    Args:
        questions: Rows of `schemas.QUESTIONS`: all of the split. Those without image are not predicted.
        predictions: Rows of `schemas.PREDICTIONS` for that split, of whoever answered.
        checkpoint: Data version of the checkpoint that is scored.
        vocabulary: Its answers.

    Raises:
        PredictionsMismatch: a question is unknown, has no answer or two, or an answer is from another vocabulary.
    """
    told = select_predictions(predictions, checkpoint)
    answered, known = set(told["question_id"]), set(questions["question_id"])
    asked = set(questions["question_id"][questions["image_sha256"].notna()])
    by_whom = predictions[["variant", "checkpoint", "question_id"]]
    twice = set(by_whom["question_id"][by_whom.duplicated()])
    foreign = {answer for answer in told["answer"] if answer not in vocabulary}
    for problem, culprits in (
        ("questions are not in the dataset", set(predictions["question_id"]) - known),
        ("questions have an image and no answer", asked - answered),
        ("questions have two answers of one checkpoint", twice),
        ("answers are not in the checkpoint's vocabulary", foreign),
    ):
        if culprits:
            raise PredictionsMismatch(problem, sorted(culprits))
