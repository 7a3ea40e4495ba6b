"""Annotations to look at again: questions whose confident answer no annotator gave.

A model that has learned from many people finds some of the mistakes of single ones: a wrong click, a question put to
another image. What is found here is a suspicion for a person to judge, never a verdict, and no score changes by it.

Source of the idea: confident learning (Northcutt, Jiang and Chuang, JAIR 70, 2021), where another class counts as
confidently predicted from the model's own average confidence on. Answers are too many and too rare here for an average
of each, so there is one for all. The doubt in annotators is Laplace's rule of succession.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from vqa_pipeline.answers.normalization import normalize
from vqa_pipeline.evaluation.accuracy import compute_mean
from vqa_pipeline.schemas import Answer

MOST_SUSPECTS = 1000
"""More than that nobody looks at."""

_LEAST_PROBABILITY = 0.5
"""Below it, the model itself holds its answer for wrong."""


def find_suspects(answered: pd.DataFrame, references: Sequence[Sequence[Answer]]) -> pd.DataFrame:
    """The rows whose answer is confident, earns nothing and was given by no annotator; the most suspect first.

    Confident is an answer at least as probable as the right ones are on average, and as its being wrong. Rows are
    ranked by the probability that the model is right times the doubt in the annotators: where m of n agree most, one
    more would say otherwise with probability 1 - (m + 1) / (n + 2). So ten who agree are hardly ever suspected.

    Args:
        answered: One row per scored question: `question_id`, `answer` (None: never given), `score` (its credit, in
            [0, 1]) and `probability` (calibrated, that it is right, in [0, 1]; NaN where there is no answer).
        references: Of the same rows, at least one each.

    Returns:
        At most `MOST_SUSPECTS` of these rows, with `suspicion`, in [0, 1].
    """
    confident = answered["answer"].notna() & (answered["probability"] >= _find_threshold(answered))
    places = np.flatnonzero(confident & (answered["score"] == 0)).tolist()
    contradicting = [place for place in places if not _is_among(answered["answer"].iloc[place], references[place])]
    suspects = answered.iloc[contradicting]
    suspicion = suspects["probability"] * [doubt_annotators(references[place]) for place in contradicting]
    ranked = suspects.assign(suspicion=suspicion).sort_values(
        ["suspicion", "question_id"], ascending=[False, True], kind="stable"
    )
    return ranked.head(MOST_SUSPECTS)


def doubt_annotators(references: Sequence[Answer]) -> float:
    """The chance, in (0, 1), that one more annotator would not give the answer that most gave."""
    counts = Counter(normalize(reference["answer"]) for reference in references)
    return 1 - (max(counts.values()) + 1) / (len(references) + 2)


def _is_among(answer: str, references: Sequence[Answer]) -> bool:
    """Whether somebody gave the answer, though a metric policy may give no credit for it."""
    return normalize(answer) in {normalize(reference["answer"]) for reference in references}


def _find_threshold(answered: pd.DataFrame) -> float:
    """The average probability of right answers, but at least one half; without right answers nothing is confident."""
    right = answered.loc[answered["score"] > 0, "probability"]
    return max(_LEAST_PROBABILITY, compute_mean(right.tolist())) if len(right) else np.inf
