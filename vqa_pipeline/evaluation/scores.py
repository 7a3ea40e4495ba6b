"""Scores of all who answer the same questions: the model, the model on shuffled images, the champion, and guesses.

One table, `schemas.SCORES`, that everything after it reads, so that nobody scores twice or by another rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vqa_pipeline.answers.normalization import normalize
from vqa_pipeline.answers.scoring import MetricPolicy, most_common_answer
from vqa_pipeline.evaluation.accuracy import score_answers
from vqa_pipeline.evaluation.baselines import predict_by_question_type, predict_majority, predict_question_only
from vqa_pipeline.evaluation.tables import map_answers, tell_images
from vqa_pipeline.schemas import EVALUATED_VARIANT, SHUFFLED_IMAGE, Answer

GUESSES: dict[str, Callable[[pd.DataFrame, pd.DataFrame], list[str]]] = {
    "majority": predict_majority,
    "question_type": predict_by_question_type,
    "question_only": predict_question_only,
}
"""Baselines, by the name of their variant; they learn from the training questions alone."""

BLIND = (*GUESSES, SHUFFLED_IMAGE)
"""Variants that do not see the image of the question that they answer."""


def score_everybody(
    train: pd.DataFrame,
    questions: pd.DataFrame,
    references: Sequence[Sequence[Answer]],
    predictions: pd.DataFrame,
    checkpoint: str,
    policy: MetricPolicy,
) -> pd.DataFrame:
    """A row of `schemas.SCORES` for each question and each of those who answered; the questions in their order.

    Args:
        train: The training split; only guesses learn from it.
        questions: The annotated ones among those evaluated.
        references: Of the same questions.
        predictions: Rows of `schemas.PREDICTIONS`, of any checkpoints and variants; other questions are left out.
        checkpoint: Data version of the one that is evaluated: it is scored, though it may have answered nothing.
        policy: By which all are scored.
    """
    modes = [most_common_answer(known) for known in references]
    shown = questions[["question_id"]].assign(image=tell_images(questions)).reset_index(drop=True)

    def score(variant: str, answered_by: str | None, answers: Sequence[str | None]) -> pd.DataFrame:
        return shown.assign(
            variant=variant,
            checkpoint=pd.Series([answered_by] * len(shown), dtype=object),
            answer=pd.Series(answers, dtype=object),
            score=score_answers(answers, references, policy),
            exact=[
                answer is not None and normalize(answer) == mode for answer, mode in zip(answers, modes, strict=True)
            ],
        )

    told = [
        score(str(variant), str(answered_by), [known.get(name) for name in shown["question_id"]])
        for (variant, answered_by), known in _map_answers_of_each(predictions, checkpoint)
    ]
    guessed = [score(name, None, guess(train, questions)) for name, guess in GUESSES.items()]
    return pd.concat([*told, *guessed], ignore_index=True)


def _map_answers_of_each(predictions: pd.DataFrame, checkpoint: str) -> list[tuple[tuple[Any, ...], dict[str, str]]]:
    """Variant and checkpoint of each who answered, with the answers; `checkpoint` is there without any, too."""
    told = {key: map_answers(rows) for key, rows in predictions.groupby(["variant", "checkpoint"])}
    told.setdefault((EVALUATED_VARIANT, checkpoint), {})
    return sorted(told.items())


def select_scores(
    scores: pd.DataFrame, variant: str = EVALUATED_VARIANT, checkpoint: str | None = None
) -> pd.DataFrame:
    """The rows of one who answered, in the order of the questions; none where nobody of that name did.

    Args:
        scores: Rows of `schemas.SCORES`.
        variant: Which.
        checkpoint: Its data version; None: of whichever there is, as for guesses.
    """
    chosen = scores["variant"] == variant
    if checkpoint is not None:
        chosen &= scores["checkpoint"] == checkpoint
    return scores[chosen].reset_index(drop=True)


def list_blind(scores: pd.DataFrame, checkpoint: str) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """The scores of all who did not see the image, by variant; of shuffled images, those of this checkpoint."""
    told = {
        variant: select_scores(scores, variant, checkpoint if variant == SHUFFLED_IMAGE else None)["score"]
        for variant in BLIND
    }
    return {variant: values.to_numpy(float) for variant, values in told.items() if len(values)}
