"""Verdicts: promoted beyond chance, held, or more data needed; how often chance promotes is simulated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.evaluation.comparison import Comparison, Difference, SliceDifference
from vqa_pipeline.evaluation.intervals import ImageDraws, Interval
from vqa_pipeline.evaluation.promotion import judge, judge_first
from vqa_pipeline.evaluation.settings import ChampionSettings

RULES = ChampionSettings(minimum_effect=0.01, max_slice_drop=0.05)


def compare(low, high, *slices):
    interval = Interval(low=low, high=high)
    total = Difference(difference=(low + high) / 2, interval=interval, num_questions=900, num_images=300)
    return Comparison(champion="old", champion_accuracy=0.5, total=total, slices=slices)


def fall(difference, high=None, num_images=100, value="no"):
    interval = Interval(low=difference - 0.1, high=difference + 0.01 if high is None else high)
    return SliceDifference(
        column="answer_type",
        value=value,
        difference=difference,
        interval=interval,
        num_questions=num_images,
        num_images=num_images,
    )


@pytest.mark.parametrize(
    ("low", "high", "outcome", "words"),
    [
        (0.001, 0.02, "promoted", "+0.011 (+0.001 to +0.020) against the champion: better beyond chance"),
        (-0.02, 0.05, "needs_more_data", "the questions can tell neither a gain of 0.01 nor none"),
        (0.0, 0.01, "needs_more_data", "the questions can tell neither a gain of 0.01 nor none"),
        (-0.02, 0.005, "held", "a gain of 0.01 can be ruled out"),
        (0.0, 0.0, "held", "a gain of 0.01 can be ruled out"),
        (-0.05, -0.01, "held", "it is worse"),
    ],
)
def test_the_interval_decides(low, high, outcome, words):
    verdict = judge(compare(low, high), RULES, overridden=False)
    assert verdict.outcome == outcome
    assert words in verdict.reasons[0]


def test_a_slice_that_fell_holds_a_better_challenger_and_is_named():
    verdict = judge(compare(0.01, 0.03, fall(-0.06), fall(-0.2, value="yes")), RULES, overridden=False)
    assert verdict.outcome == "held"
    assert verdict.reasons == (
        "answer_type yes fell by 0.200",
        "answer_type no fell by 0.060",
        "+0.020 (+0.010 to +0.030) against the champion: better beyond chance",
    )


@pytest.mark.parametrize(
    "slight",
    [fall(-0.05), fall(-0.3, high=0.001), fall(-0.3, num_images=29)],
    ids=["as much as may be", "may be chance", "too few images"],
)
def test_a_slice_that_fell_little_or_by_chance_or_says_too_little_holds_nothing(slight):
    assert judge(compare(0.01, 0.03, slight), RULES, overridden=False).outcome == "promoted"


def test_of_very_many_slices_that_fell_the_worst_are_named():
    verdict = judge(
        compare(0.01, 0.03, *[fall(-0.06 - n / 100, value=str(n)) for n in range(8)]), RULES, overridden=False
    )
    assert verdict.reasons[0] == "answer_type 7 fell by 0.130"
    assert verdict.reasons[5] == "3 more slices fell"


def test_a_checkpoint_with_other_settings_is_promoted_only_where_that_is_allowed():
    better = compare(0.01, 0.03)
    held = judge(better, RULES, overridden=True)
    assert held.outcome == "held"
    assert "`champion.allow_overridden`" in held.reasons[0]
    allowed = RULES.model_copy(update={"allow_overridden": True})
    assert judge(better, allowed, overridden=True).outcome == "promoted"


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.1, 0.2, "promoted"), (-0.1, 0.2, "needs_more_data"), (-0.2, -0.1, "held")],
)
def test_the_first_has_to_be_better_than_what_does_not_see_the_image(low, high, outcome):
    verdict = judge_first((low + high) / 2, Interval(low=low, high=high), RULES, overridden=False)
    assert verdict.outcome == outcome
    assert "above the best that does not see the image" in verdict.reasons[0]


@given(st.floats(-1, 1), st.floats(0, 1), st.booleans())
def test_nothing_is_promoted_whose_gain_may_be_none(low, width, overridden):
    verdict = judge(compare(low, min(1.0, low + width)), RULES, overridden=overridden)
    assert verdict.reasons
    assert (verdict.outcome == "promoted") == (low > 0 and not overridden)


def test_chance_promotes_few_that_are_no_better():
    """300 challengers as good as the champion, each on 200 images with two questions."""
    rng = np.random.default_rng(3)
    promoted = 0
    for _ in range(300):
        hard = np.repeat(rng.random(200), 2)
        old, new = ((rng.random(400) > hard).astype(float) for _ in range(2))
        draws = ImageDraws([str(number // 2) for number in range(400)], num_draws=200)
        interval = draws.find_difference(new, old)
        promoted += judge(compare(interval.low, interval.high), RULES, overridden=False).outcome == "promoted"
    assert promoted / 300 < 0.05  # 0.025, and what chance adds to it
