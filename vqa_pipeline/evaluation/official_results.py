"""The official result file: what VQA evaluation servers and the official evaluator read.

Source: GT-Vision-Lab/VQA, `vqa.py` (`loadRes`) and `vqaEval.py` (`evaluate`): a list of objects with `question_id` and
`answer`, one for every accepted question of the split.
"""

from __future__ import annotations

import json
from typing import TypedDict

import pandas as pd

from vqa_pipeline.evaluation.tables import map_answers


class OfficialResult(TypedDict):
    """One question's answer, under the id that its source gave it."""

    question_id: int | str
    answer: str


def build_official_results(questions: pd.DataFrame, predictions: pd.DataFrame) -> list[OfficialResult]:
    """The model's answers in the order of `questions`, under native ids of their own type (7 stays a number).

    A question without native id goes by its `question_id`. A question without prediction gets the empty answer: the
    official evaluator asks for every question. One that was rejected, such as for a missing image, is in no table here.

    Args:
        questions: Columns `question_id` and `native_id` of `schemas.QUESTIONS`.
        predictions: Columns `question_id` and `answer` of `schemas.PREDICTIONS`.
    """
    answers = map_answers(predictions)
    return [
        {"question_id": _read_native_id(native_id, question_id), "answer": answers.get(question_id, "")}
        for question_id, native_id in zip(questions["question_id"], questions["native_id"], strict=True)
    ]


def _read_native_id(native_id: str | None, question_id: str) -> int | str:
    if native_id is None or pd.isna(native_id):
        return question_id
    read: int | str = json.loads(native_id)
    return read
