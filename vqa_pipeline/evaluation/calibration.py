"""How sure a model may be of its best answer: confidence turned into the probability of being right, and measured.

Pure arithmetic, without pandas, since the worker fits it at the end of a training.

Sources: logistic calibration (Platt, Probabilistic outputs for support vector machines, 1999), which is temperature
scaling (Guo et al., On calibration of modern neural networks, ICML 2017) with an offset: a sigmoid trained on thousands
of answers is often right below one half, which no temperature mends. The expected calibration error has 15 bins of
equal width, as there. Coverage at risk: Whitehead et al., Reliable visual question answering, ECCV 2022.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from vqa_pipeline.schemas import Frozen

NUM_BINS = 15
RISKS = (0.01, 0.05, 0.1, 0.2)
ABSTAIN_RISK = 0.1
"""Below its threshold a model abstains; of the answers that remain, at most this share of the credit was lost on the
validation questions."""

_DECIMALS = 6
"""Fewer digits than the order of additions can change."""

Numbers = np.ndarray[Any, np.dtype[np.float64]]


class Calibration(Frozen):
    """How logits of best answers become probabilities; part of a checkpoint, fitted on its validation questions."""

    temperature: float = Field(gt=0, description="Logits are divided by it: above 1, the model was too sure.")
    offset: float = Field(description="Added to them after that.")
    abstain_threshold: float = Field(ge=0, le=1, description="An answer with a lower probability is better not given.")
    num_questions: int = Field(description="It was fitted on.")
    ece_before: float = Field(
        ge=0, le=1, description="Expected calibration error of plain sigmoids, on these questions."
    )
    ece: float = Field(ge=0, le=1, description="The same of the probabilities.")

    def apply(self, logits: Numbers) -> Numbers:
        """The probabilities that answers with these logits are right; the order of answers stays."""
        return np.asarray(expit(logits / self.temperature + self.offset))


class Bin(Frozen):
    """Answers of about the same probability."""

    num_questions: int
    confidence: float = Field(ge=0, le=1, description="Their mean probability of being right.")
    credit: float = Field(ge=0, le=1, description="Their mean credit.")


class MeasuredCalibration(Frozen):
    """How far probabilities can be trusted, on questions that had no part in fitting them."""

    num_questions: int = Field(description="Answered ones; others have no probability.")
    ece_before: float = Field(ge=0, le=1, description="Expected calibration error of plain sigmoids.")
    ece: float = Field(ge=0, le=1, description="Expected calibration error of the probabilities.")
    bins_before: tuple[Bin, ...]
    bins: tuple[Bin, ...]
    coverage_at_risk: dict[str, float] = Field(
        description="Share of questions that can be answered, the surest first, when so much of the credit may be lost."
    )
    abstain_threshold: float = Field(ge=0, le=1)
    abstained_fraction: float = Field(ge=0, le=1, description="Share of answers below the checkpoint's threshold.")
    accuracy_answered: float | None = Field(description="Accuracy of the others; null: there are none.")


def fit_calibration(logits: Numbers, earned: Numbers) -> Calibration:
    """Temperature and offset under which the best answers' credits are most likely, and the threshold to abstain at.

    A weak prior (standard normal for the logarithm of the temperature and for the offset, worth about one question)
    keeps both finite where all answers are right or wrong, and near 1 and 0 where there are hardly any.

    Args:
        logits: (questions,) of the best answers.
        earned: (questions,) what these earn, in [0, 1].
    """

    def lose(parameters: Numbers) -> float:
        shifted = logits * np.exp(-parameters[0]) + parameters[1]
        likelihood = earned * log_expit(shifted) + (1 - earned) * log_expit(-shifted)
        return float((parameters**2).sum() / 2 - likelihood.sum()) / (len(logits) + 1)

    found = minimize(lose, np.zeros(2), method="BFGS").x if len(logits) else np.zeros(2)
    fitted = Calibration(
        temperature=round(float(np.exp(found[0])), _DECIMALS),
        offset=round(float(found[1]), _DECIMALS),
        abstain_threshold=0,
        num_questions=len(logits),
        ece_before=measure_error(find_bins(expit(logits), earned)),
        ece=0,
    )
    probabilities = fitted.apply(logits)
    return fitted.model_copy(
        update={
            "abstain_threshold": _find_threshold(probabilities, earned, ABSTAIN_RISK),
            "ece": measure_error(find_bins(probabilities, earned)),
        }
    )


def measure_calibration(
    scores: Numbers, probabilities: Numbers, earned: Numbers, threshold: float
) -> MeasuredCalibration:
    """How far probabilities can be trusted.

    Args:
        scores: (questions,) sigmoids of the logits of the answers given.
        probabilities: (questions,) of the same answers.
        earned: (questions,) what they earned, in [0, 1].
        threshold: Below it the model abstains.
    """
    before, after = find_bins(scores, earned), find_bins(probabilities, earned)
    given = probabilities >= threshold
    return MeasuredCalibration(
        num_questions=len(earned),
        ece_before=measure_error(before),
        ece=measure_error(after),
        bins_before=before,
        bins=after,
        coverage_at_risk={f"{risk:g}": _measure_coverage(probabilities, earned, risk) for risk in RISKS},
        abstain_threshold=threshold,
        abstained_fraction=_round(1 - given.mean()) if len(given) else 0.0,
        accuracy_answered=_round(earned[given].mean()) if given.any() else None,
    )


def find_bins(probabilities: Numbers, earned: Numbers) -> tuple[Bin, ...]:
    """Those of 15 bins of equal width that hold answers."""
    places = np.minimum((probabilities * NUM_BINS).astype(int), NUM_BINS - 1)
    return tuple(
        Bin(
            num_questions=int((places == place).sum()),
            confidence=_round(probabilities[places == place].mean()),
            credit=_round(earned[places == place].mean()),
        )
        for place in np.unique(places)
    )


def measure_error(bins: tuple[Bin, ...]) -> float:
    """The expected calibration error: how far confidence and credit of a bin are apart, on average over answers."""
    total = sum(one.num_questions for one in bins)
    return _round(sum(one.num_questions * abs(one.confidence - one.credit) for one in bins) / max(1, total))


def _measure_coverage(probabilities: Numbers, earned: Numbers, risk: float) -> float:
    """The share of answers, the surest first, of which at most this share of the credit is lost."""
    number, _ = _find_cut(probabilities, earned, risk)
    return _round(number / max(1, len(probabilities)))


def _find_threshold(probabilities: Numbers, earned: Numbers, risk: float) -> float:
    """The lowest probability at which at most this share of the credit is lost; 1 where none is high enough."""
    _, lowest = _find_cut(probabilities, earned, risk)
    return lowest


def _find_cut(probabilities: Numbers, earned: Numbers, risk: float) -> tuple[int, float]:
    """How many answers, the surest first, and the probability of the last; equally sure ones are not parted."""
    order = np.argsort(-probabilities, kind="stable")
    sure, lost = probabilities[order], np.cumsum(1 - earned[order])
    numbers = np.arange(1, len(order) + 1)
    ends = np.append(sure[1:] != sure[:-1], True) if len(order) else np.zeros(0, bool)
    fit = np.flatnonzero(ends & (lost <= risk * numbers + 1e-9))
    if not len(fit):
        return 0, 1.0
    return int(numbers[fit[-1]]), float(np.floor(sure[fit[-1]] * 10**_DECIMALS) / 10**_DECIMALS)


def _round(number: float) -> float:
    return round(float(number), _DECIMALS)
