"""The arithmetic of accuracy: scores of answers, their mean over all questions.

Scores and means are in [0, 1]; sums are exact, so that no order of questions changes a mean. Every question that it is
given counts, answered or not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import pandas as pd
from pydantic import Field

from vqa_pipeline.answers.scoring import MetricPolicy, score_answer
from vqa_pipeline.schemas import Answer, Frozen

Share = Annotated[float, Field(ge=0, le=1)]


class Accuracy(Frozen):
    """How right a set of answers is."""

    num_questions: int
    vqa_accuracy: Share = Field(description="Mean score under the metric policy.")
    exact_match: Share = Field(description="Share of answers that equal, after normalization, the most common answer.")


def score_answers(
    answers: Sequence[str | None], references: Sequence[Sequence[Answer]], policy: MetricPolicy
) -> list[float]:
    """The score of each answer against the references of its question; None, an answer never given, scores 0."""
    return [
        0.0 if answer is None else score_answer(answer, known, policy)
        for answer, known in zip(answers, references, strict=True)
    ]


def compute_mean(scores: Sequence[float]) -> float:
    """The exact mean of at least one score, whatever their order."""
    return math.fsum(scores) / len(scores)


def measure_accuracy(scored: pd.DataFrame) -> Accuracy:
    """Accuracy over rows with the columns `score`, in [0, 1], and `exact`, a bool; there is at least one row."""
    return Accuracy(
        num_questions=len(scored),
        vqa_accuracy=compute_mean(scored["score"].tolist()),
        exact_match=compute_mean(scored["exact"].tolist()),
    )
