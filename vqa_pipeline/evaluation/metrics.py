"""The numbers of the metrics stage: accuracy of the model's answers beside what blind guessing reaches.

Answers are scored against the raw references, never against those that a vocabulary happens to hold, and every
annotated question counts. One metric policy per report, and it is named in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from vqa_pipeline.answers.scoring import MetricPolicy, choose_policy, relax
from vqa_pipeline.answers.vocabulary import AnswerVocabulary, measure_coverage
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.evaluation.accuracy import Share, compute_mean, measure_accuracy
from vqa_pipeline.evaluation.calibration import MeasuredCalibration, measure_calibration
from vqa_pipeline.evaluation.comparison import Comparison, compare
from vqa_pipeline.evaluation.confusions import Confusion, find_confusions
from vqa_pipeline.evaluation.consistency import Consistency, measure_consistency
from vqa_pipeline.evaluation.intervals import ImageDraws, Interval
from vqa_pipeline.evaluation.promotion import IN_USE, Verdict, judge, judge_first
from vqa_pipeline.evaluation.scores import list_blind, score_everybody, select_scores
from vqa_pipeline.evaluation.settings import ChampionSettings, EvaluationSettings
from vqa_pipeline.evaluation.slices import Slice, Sliced, measure_slices, tell_slices
from vqa_pipeline.evaluation.tables import list_references, select_predictions, tell_images
from vqa_pipeline.schemas import Answer, Frozen

_SAMPLED = "95 % interval of {}, by drawing images."


class Metrics(Frozen):
    """How right the model is on the evaluated questions."""

    metric: MetricPolicy = Field(description="The policy that every score here was computed with.")
    vqa_accuracy: Share
    interval: Interval = Field(description=_SAMPLED.format("`vqa_accuracy`"))
    num_images: int = Field(description="Distinct images of the scored questions.")
    baseline_shuffled_image: Share | None = Field(
        description="Accuracy of the model itself on the image of another question; null: it was not asked."
    )
    baseline_shuffled_image_interval: Interval | None
    baseline_question_only: Share = Field(description="Accuracy of a linear model that reads the question alone.")
    baseline_question_only_interval: Interval
    baseline_question_type: Share = Field(description="Accuracy of the most frequent answer by type of question.")
    baseline_question_type_interval: Interval
    baseline_majority: Share = Field(description="Accuracy of the most frequent training answer.")
    baseline_majority_interval: Interval
    best_blind: str = Field(description="Which of these is the best: shuffled_image, question_only, and so on.")
    image_reliance: float = Field(
        ge=-1, le=1, description="`vqa_accuracy` minus the best that was reached without the question's image."
    )
    image_reliance_interval: Interval = Field(description=_SAMPLED.format("`image_reliance`"))
    ceiling: Share = Field(description="What the best choice from the vocabulary would score.")
    coverage: Share = Field(description="Share of questions with a normalized reference in the vocabulary.")
    exact_match: Share = Field(description="Share of answers that equal, after normalization, the most common answer.")
    num_questions: int = Field(description="All evaluated questions, annotated or not.")
    num_scored: int = Field(description="The annotated ones; each of them counts.")
    num_unanswered: int = Field(description="Annotated questions without a prediction; each scores 0.")
    slices: tuple[Slice, ...] = Field(description="The same for groups of questions; see `slices.SLICE_COLUMNS`.")
    confusions: tuple[Confusion, ...] = Field(description="The most frequent mistakes: what was taken for what.")
    consistency: Consistency | None = Field(description="Over paraphrases; null: the data names none.")
    calibration: MeasuredCalibration | None = Field(
        description="How far probabilities hold; null: nothing was answered."
    )
    comparison: Comparison | None = Field(
        None, description="With the champion; null: there is none, or it is this one."
    )
    verdict: Verdict | None = Field(None, description="Whether the checkpoint may replace the champion.")


class Measured(NamedTuple):
    """What the metrics stage tells, and what it tells it from."""

    metrics: Metrics
    scores: pd.DataFrame
    """Rows of `schemas.SCORES`."""
    groups: pd.DataFrame
    """Rows of `schemas.SLICES`."""


def compute_metrics(
    train: pd.DataFrame,
    evaluated: pd.DataFrame,
    predictions: pd.DataFrame,
    checkpoint: str,
    vocabulary: AnswerVocabulary,
    settings: EvaluationSettings,
    abstain_threshold: float,
) -> Measured:
    """Score predictions and baselines on the annotated among the evaluated questions.

    Args:
        train: The training split, columns of `schemas.QUESTIONS`; only baselines learn from it.
        evaluated: The questions to score, columns of `schemas.QUESTIONS`; `width` and `height` of their images in
            pixels where known.
        predictions: Columns of `schemas.PREDICTIONS`; predictions for other questions are left out.
        checkpoint: Data version of the checkpoint that is evaluated; others in `predictions` are scored beside it.
        vocabulary: The answers that the model could give.
        settings: Which metric policy; `auto` picks it from the evaluated references.
        abstain_threshold: The checkpoint's, in [0, 1].

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
    policy = settle_policy(settings, references)
    scores = score_everybody(train, questions, references, predictions, checkpoint, policy)
    scored = select_scores(scores, checkpoint=checkpoint)
    overall = measure_accuracy(scored)
    draws = ImageDraws(tell_images(questions))
    groups = tell_slices(Sliced(questions, references, vocabulary, train["most_common_answer"]))
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
        interval=_find_interval(scored["score"].to_numpy(float), draws),
        num_images=draws.num_images,
        slices=tuple(measure_slices(groups, scored, draws)),
        calibration=_calibrate(scored, select_predictions(predictions, checkpoint), abstain_threshold),
        confusions=tuple(find_confusions(scored, references)),
        consistency=measure_consistency(questions, scored),
        **_measure_reliance(scored["score"].to_numpy(float), list_blind(scores, checkpoint), draws),
    )
    return Measured(metrics, scores, groups)


def _calibrate(scored: pd.DataFrame, answered: pd.DataFrame, threshold: float) -> MeasuredCalibration | None:
    sure = answered[["question_id", "score", "probability"]].rename(columns={"score": "confidence"})
    rows = scored.merge(sure, on="question_id", validate="one_to_one")
    if rows.empty:
        return None
    scores, probabilities, earned = (rows[name].to_numpy(float) for name in ("confidence", "probability", "score"))
    return measure_calibration(scores, probabilities, earned, threshold)


def settle_policy(settings: EvaluationSettings, references: Iterable[Sequence[Answer]]) -> MetricPolicy:
    """The metric policy that the settings mean for questions with these references."""
    policy = choose_policy(references) if settings.metric == "auto" else settings.metric
    return relax(policy) if settings.relaxed_numbers else policy


def _find_interval(values: np.ndarray[Any, np.dtype[np.float64]], draws: ImageDraws) -> Interval:
    return draws.find_intervals(values, np.ones((len(values), 1), bool))[0]


def _measure_reliance(
    model: np.ndarray[Any, np.dtype[np.float64]],
    blind: dict[str, np.ndarray[Any, np.dtype[np.float64]]],
    draws: ImageDraws,
) -> dict[str, Any]:
    """How far those come who do not see the image, and how far above the best of them the model is."""
    told: dict[str, Any] = {"baseline_shuffled_image": None, "baseline_shuffled_image_interval": None}
    for variant, values in blind.items():
        told[f"baseline_{variant}"] = compute_mean(values.tolist())
        told[f"baseline_{variant}_interval"] = _find_interval(values, draws)
    best = max(blind, key=lambda variant: told[f"baseline_{variant}"])
    return told | {
        "best_blind": best,
        "image_reliance": compute_mean((model - blind[best]).tolist()),
        "image_reliance_interval": draws.find_difference(model, blind[best]),
    }


def judge_challenger(
    measured: Measured, checkpoint: str, champion: str | None, rules: ChampionSettings, *, overridden: bool
) -> Measured:
    """With the comparison with the champion and the verdict.

    Args:
        measured: From `compute_metrics`.
        checkpoint: Data version of the checkpoint that is evaluated, the challenger.
        champion: Data version of the champion, which is among the scores; None: there is none yet.
        rules: When a challenger is promoted.
        overridden: Whether it was trained with other settings than the declared ones.
    """
    metrics = measured.metrics
    if champion == checkpoint:
        return measured._replace(metrics=metrics.model_copy(update={"verdict": IN_USE}))
    if champion is None:
        reliance = metrics.image_reliance, metrics.image_reliance_interval
        first = judge_first(*reliance, rules, overridden=overridden)
        return measured._replace(metrics=metrics.model_copy(update={"verdict": first}))
    comparison = compare(measured.scores, measured.groups, checkpoint, champion)
    verdict = judge(comparison, rules, overridden=overridden)
    judged = metrics.model_copy(update={"comparison": comparison, "verdict": verdict})
    return measured._replace(metrics=judged)
