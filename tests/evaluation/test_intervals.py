"""Intervals: they hold the truth as often as they promise, and know that questions of one image go together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_pipeline.evaluation.intervals import ImageDraws

NUM_WORLDS = 200


def everything(rows):
    return np.ones((rows, 1), bool)


def simulate(num_images, accuracy, most_questions, likeness, seed):
    """Images, and scores of 0 and 1 of their questions; `likeness` is the correlation of scores of one image."""
    generator = np.random.default_rng(seed)
    spread = (1 - likeness) / likeness
    shares = generator.beta(accuracy * spread, (1 - accuracy) * spread, num_images)
    images = np.repeat(np.arange(num_images), generator.integers(1, most_questions + 1, num_images))
    return [str(image) for image in images], (generator.random(len(images)) < shares[images]).astype(float)


@pytest.mark.parametrize(
    ("num_images", "accuracy", "most_questions", "likeness"),
    [(30, 0.7, 5, 0.3), (30, 0.95, 5, 0.3), (100, 0.98, 3, 0.2), (100, 0.5, 10, 0.6), (10, 0.7, 5, 0.3)],
)
def test_nineteen_of_twenty_intervals_hold_the_true_accuracy(num_images, accuracy, most_questions, likeness):
    held = 0
    for world in range(NUM_WORLDS):
        images, scores = simulate(num_images, accuracy, most_questions, likeness, world)
        (interval,) = ImageDraws(images, num_draws=200).find_intervals(scores, everything(len(scores)))
        held += interval.low <= accuracy <= interval.high
    assert 0.91 <= held / NUM_WORLDS <= 0.99  # 0.95, give or take what 200 worlds can tell


def test_nineteen_of_twenty_differences_hold_the_true_one():
    held = 0
    for world in range(NUM_WORLDS):
        images, worse = simulate(80, 0.6, 5, 0.3, world)
        mended = np.random.default_rng(world).random(len(worse)) < 0.25  # of the wrong ones, so 0.1 of all
        interval = ImageDraws(images, num_draws=200).find_difference(np.where(mended, 1.0, worse), worse)
        held += interval.low <= 0.1 <= interval.high
    assert 0.90 <= held / NUM_WORLDS <= 0.99


def test_ten_questions_of_one_image_that_agree_say_as_much_as_one():
    scores = np.tile([0.0, 1.0, 1.0, 1.0], 25)
    (alone,) = ImageDraws([str(number) for number in range(100)]).find_intervals(scores, everything(100))
    repeated = [str(number) for number in range(100) for _ in range(10)]
    (together,) = ImageDraws(repeated).find_intervals(np.repeat(scores, 10), everything(1000))
    assert together == alone
    (apart,) = ImageDraws([str(number) for number in range(1000)]).find_intervals(
        np.repeat(scores, 10), everything(1000)
    )
    assert apart.high - apart.low < 0.5 * (alone.high - alone.low)


def test_all_right_is_not_all_certain():
    (interval,) = ImageDraws([str(number) for number in range(40)]).find_intervals(np.ones(40), everything(40))
    assert interval.high == 1.0
    assert interval.low == pytest.approx(40 / (40 + 1.96**2), abs=0.01)


def test_one_image_says_nothing():
    (interval,) = ImageDraws(["a"] * 50).find_intervals(np.tile([0.0, 1.0], 25), everything(50))
    assert interval.low < 0.05
    assert interval.high > 0.95


def test_a_group_has_the_interval_it_would_have_alone():
    generator = np.random.default_rng(0)
    images = [str(number // 2) for number in range(400)]
    scores, first = generator.random(400), np.arange(400) < 200
    members = np.stack([first, ~first], axis=1)
    together = ImageDraws(images).find_intervals(scores, members)
    (alone,) = ImageDraws(images[:200]).find_intervals(scores[:200], everything(200))
    assert together[0].low == pytest.approx(alone.low, abs=0.01)
    assert together[0].high == pytest.approx(alone.high, abs=0.01)


def test_images_of_groups_are_counted_once():
    members = np.array([[True, False], [True, True], [False, True]])
    assert ImageDraws(["a", "a", "b"]).count_images(members).tolist() == [1, 2]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefg"), st.sampled_from([0.0, 0.3, 0.6, 0.9, 1.0])), min_size=1, max_size=30
    ),
    st.randoms(use_true_random=False),
)
def test_intervals_hold_the_mean_and_do_not_depend_on_the_order_of_rows(rows, random):
    (interval,) = find([*rows])
    mean = sum(score for _, score in rows) / len(rows)
    assert 0 <= interval.low <= mean + 1e-6
    assert mean - 1e-6 <= interval.high <= 1
    random.shuffle(rows)
    assert find(rows) == [interval]


def find(rows):
    scores = np.array([score for _, score in rows])
    return ImageDraws([image for image, _ in rows], num_draws=50).find_intervals(scores, everything(len(rows)))
