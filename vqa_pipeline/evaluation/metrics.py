"""The numbers of the metrics stage: accuracy of the model's answers beside what blind guessing reaches.

Answers are scored against the raw references, never against those that a vocabulary happens to hold, and every
annotated question counts. One metric policy per report, and it is named in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from vqa_pipeline.answers.normalization import normalize
from vqa_pipeline.answers.scoring import MetricPolicy, choose_policy, most_common_answer
from vqa_pipeline.answers.vocabulary import AnswerVocabulary, measure_coverage
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.evaluation.accuracy import (
    Share,
    compute_mean,
    measure_accuracy,
    score_answers,
)
from vqa_pipeline.evaluation.baselines import predict_by_question_type, predict_majority, predict_question_only
from vqa_pipeline.evaluation.intervals import ImageDraws, Interval
from vqa_pipeline.evaluation.slices import Slice, Sliced, measure_slices
from vqa_pipeline.evaluation.tables import list_references, map_answers, tell_images
from vqa_pipeline.schemas import Answer, Frozen


class Metrics(Frozen):
    """How right the model is on the evaluated questions."""

    metric: MetricPolicy = Field(description="The policy that every score here was computed with.")
    vqa_accuracy: Share
    interval: Interval = Field(description="95 % interval of `vqa_accuracy`, by drawing images.")
    num_images: int = Field(description="Distinct images of the scored questions.")
    baseline_question_only: Share = Field(description="Accuracy of a linear model that reads the question alone.")
    baseline_question_type: Share = Field(description="Accuracy of the most frequent answer by type of question.")
    baseline_majority: Share = Field(description="Accuracy of the most frequent training answer.")
    ceiling: Share = Field(description="What the best choice from the vocabulary would score.")
    coverage: Share = Field(description="Share of questions with a normalized reference in the vocabulary.")
    exact_match: Share = Field(description="Share of answers that equal, after normalization, the most common answer.")
    num_questions: int = Field(description="All evaluated questions, annotated or not.")
    num_scored: int = Field(description="The annotated ones; each of them counts.")
    num_unanswered: int = Field(description="Annotated questions without a prediction; each scores 0.")
    slices: tuple[Slice, ...] = Field(description="The same for groups of questions; see `slices.SLICE_COLUMNS`.")


def compute_metrics(
    train: pd.DataFrame,
    evaluated: pd.DataFrame,
    predictions: pd.DataFrame,
    vocabulary: AnswerVocabulary,
    metric: Literal["auto", "official", "normalized"],
) -> tuple[Metrics, pd.DataFrame]:
    """Score predictions and baselines on the annotated among the evaluated questions.

    Args:
        train: The training split, columns of `schemas.QUESTIONS`; only baselines learn from it.
        evaluated: The questions to score, columns of `schemas.QUESTIONS`; `width` and `height` of their images in
            pixels where known.
        predictions: Columns of `schemas.PREDICTIONS`; predictions for other questions are left out.
        vocabulary: The answers that the model could give.
        metric: The policy, or `auto`, which picks it from the evaluated references.

    Returns:
        The metrics, and one row per scored question in the order of `evaluated`: `question_id`, `score` in [0, 1],
        `exact`, and the model's `answer`, None where there is no prediction.

    Raises:
        SettingsError: no evaluated question is annotated.
    """
    references = list_references(evaluated)
    annotated = [bool(known) for known in references]
    if not any(annotated):
        raise SettingsError(
            "evaluation.splits",
            f"none of the {len(evaluated)} evaluated questions has answers to score against",
            "Name a split with annotated questions.",
        )
    questions = evaluated[annotated].reset_index(drop=True)
    references = [known for known in references if known]
    policy = choose_policy(references) if metric == "auto" else metric
    scored = _score_predictions(questions, references, predictions, policy)
    overall = measure_accuracy(scored)
    draws = ImageDraws(tell_images(questions))
    (interval,) = draws.find_intervals(scored["score"].to_numpy(float), np.ones((len(scored), 1), bool))
    sliced = Sliced(questions, references, vocabulary, train["most_common_answer"])
    covered = measure_coverage(vocabulary, references, policy)
    metrics = Metrics(
        metric=policy,
        num_questions=len(evaluated),
        num_scored=overall.num_questions,
        num_unanswered=int(scored["answer"].isna().sum()),
        vqa_accuracy=overall.vqa_accuracy,
        exact_match=overall.exact_match,
        coverage=covered.coverage,
        ceiling=covered.ceiling,
        interval=interval,
        num_images=draws.num_images,
        slices=tuple(measure_slices(sliced, scored, draws)),
        **_score_baselines(train, questions, references, policy),
    )
    return metrics, scored


def _score_predictions(
    questions: pd.DataFrame, references: Sequence[Sequence[Answer]], predictions: pd.DataFrame, policy: MetricPolicy
) -> pd.DataFrame:
    """Annotated questions with the model's answer, its score, and whether it is the most common one."""
    known = map_answers(predictions)
    answers = [known.get(question_id) for question_id in questions["question_id"]]
    exact = [
        answer is not None and normalize(answer) == most_common_answer(given)
        for answer, given in zip(answers, references, strict=True)
    ]
    scores = score_answers(answers, references, policy)
    return questions[["question_id"]].assign(score=scores, exact=exact, answer=pd.Series(answers, dtype=object))


def _score_baselines(
    train: pd.DataFrame, questions: pd.DataFrame, references: Sequence[Sequence[Answer]], policy: MetricPolicy
) -> dict[str, float]:
    baselines = {
        "baseline_majority": predict_majority(train, questions),
        "baseline_question_type": predict_by_question_type(train, questions),
        "baseline_question_only": predict_question_only(train, questions),
    }
    return {name: compute_mean(score_answers(answers, references, policy)) for name, answers in baselines.items()}
