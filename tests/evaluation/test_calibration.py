"""Confidence as probability: fitted, applied and measured; what was planted is found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from vqa_pipeline.evaluation.calibration import (
    Calibration,
    find_bins,
    fit_calibration,
    measure_calibration,
    measure_error,
)


def simulate(temperature, offset, number=20_000):
    """Logits of answers that are right as often as a planted calibration says."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 4, number)
    return logits, (rng.random(number) < expit(logits / temperature + offset)).astype(float)


@pytest.mark.parametrize(("temperature", "offset"), [(1.0, 0.0), (2.5, 0.0), (0.5, 0.3), (3.0, 1.0)])
def test_a_planted_calibration_is_found(temperature, offset):
    fitted = fit_calibration(*simulate(temperature, offset))
    assert fitted.temperature == pytest.approx(temperature, rel=0.06)
    assert fitted.offset == pytest.approx(offset, abs=0.06)
    assert fitted.ece < 0.015


def test_probabilities_that_are_too_sure_are_mended():
    logits, earned = simulate(3.0, 0.0)
    fitted = fit_calibration(logits, earned)
    assert fitted.ece_before > 0.1 > 5 * fitted.ece


@pytest.mark.parametrize("credit", [0.0, 1.0])
def test_answers_that_are_all_wrong_or_all_right_keep_it_finite(credit):
    fitted = fit_calibration(np.array([2.0, 5.0, -1.0] * 10), np.full(30, credit))
    assert 0.01 < fitted.temperature < 100
    assert (fitted.apply(np.array([2.0])) > 0.5).all() == (credit == 1.0)


def test_without_questions_sigmoids_stay_what_they_are():
    fitted = fit_calibration(np.zeros(0), np.zeros(0))
    assert (fitted.temperature, fitted.offset, fitted.num_questions) == (1, 0, 0)
    assert fitted.abstain_threshold == 1


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(-30, 30), st.sampled_from([0.0, 0.3, 1.0])), min_size=1, max_size=40))
def test_the_order_of_answers_stays(pairs):
    logits, earned = (np.array(column) for column in zip(*pairs, strict=True))
    fitted = fit_calibration(logits, earned)
    probabilities = fitted.apply(np.sort(logits))
    assert (np.diff(probabilities) >= 0).all()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_bins_and_error_by_hand():
    probabilities = np.array([0.95, 0.99, 0.5, 0.01, 1.0])
    earned = np.array([1.0, 0.0, 0.5, 0.0, 1.0])
    bins = find_bins(probabilities, earned)
    assert [(one.num_questions, one.confidence, one.credit) for one in bins] == [
        (1, 0.01, 0.0),
        (1, 0.5, 0.5),
        (3, 0.98, pytest.approx(2 / 3, abs=1e-6)),
    ]
    assert measure_error(bins) == pytest.approx((0.01 + 0 + 3 * (0.98 - 2 / 3)) / 5, abs=1e-6)


def test_coverage_at_risk_by_hand():
    probabilities = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    earned = np.array([1.0, 1.0, 0.5, 1.0, 0.0])
    told = measure_calibration(probabilities, probabilities, earned, threshold=0.65)
    # lost after 1, 2, … answers: 0, 0, 0.5, 0.5, 1.5, that is 0, 0, 0.167, 0.125, 0.3 of them
    assert told.coverage_at_risk == {"0.01": 0.4, "0.05": 0.4, "0.1": 0.4, "0.2": 0.8}
    assert told.abstained_fraction == 0.4
    assert told.accuracy_answered == pytest.approx(2.5 / 3, abs=1e-6)


def test_equally_sure_answers_are_not_parted():
    earned = np.array([1.0, 0.0])
    told = measure_calibration(np.full(2, 0.7), np.full(2, 0.7), earned, threshold=0.9)
    assert set(told.coverage_at_risk.values()) == {0.0}
    assert told.accuracy_answered is None
    assert told.abstained_fraction == 1


def test_at_the_threshold_at_most_a_tenth_of_the_credit_is_lost_on_the_questions_it_was_fitted_on():
    logits, earned = simulate(2.0, 0.0)
    fitted = fit_calibration(logits, earned)
    given_answers = fitted.apply(logits) >= fitted.abstain_threshold
    assert 0.899 <= earned[given_answers].mean() <= 0.91
    assert 0.2 < given_answers.mean() < 0.9


def test_it_survives_json():
    fitted = fit_calibration(*simulate(2.0, 0.5, 100))
    assert Calibration.model_validate_json(fitted.model_dump_json()) == fitted
