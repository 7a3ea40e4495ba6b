"""A challenger beside the champion, worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vqa_pipeline.evaluation.comparison import compare
from vqa_pipeline.evaluation.slices import SLICE_COLUMNS


def score(checkpoint, scores, images):
    return pd.DataFrame(
        {
            "question_id": [f"s/{number}" for number in range(len(scores))],
            "image": images,
            "variant": "model",
            "checkpoint": checkpoint,
            "answer": "yes",
            "score": scores,
            "exact": False,
        }
    )


def group(**columns):
    size = len(next(iter(columns.values())))
    told = {name: columns.get(name, [None] * size) for name in SLICE_COLUMNS}
    return pd.DataFrame({"question_id": [f"s/{number}" for number in range(size)], **told})


IMAGES = ["a", "a", "b", "c"]
SCORES = pd.concat(
    [
        score("old", [1.0, 0.0, 0.5, 0.0], IMAGES),
        score("new", [1.0, 1.0, 0.0, 1.0], IMAGES),
        score("new", [0.0, 0.0, 0.0, 0.0], IMAGES).assign(variant="shuffled_image"),
    ]
)
GROUPS = group(source=["one", "one", "two", "two"])


def test_the_difference_is_of_the_same_questions():
    compared = compare(SCORES, GROUPS, "new", "old")
    assert compared.champion == "old"
    assert compared.champion_accuracy == 1.5 / 4
    assert compared.total.difference == pytest.approx((3.0 - 1.5) / 4)
    assert (compared.total.num_questions, compared.total.num_images) == (4, 3)
    assert compared.total.interval.low < compared.total.difference < compared.total.interval.high


def test_every_slice_has_its_difference():
    told = {(one.column, one.value): one.difference for one in compare(SCORES, GROUPS, "new", "old").slices}
    assert told == {("source", "one"): 0.5, ("source", "two"): pytest.approx(0.25)}


def test_the_other_way_round_it_is_the_opposite():
    one, other = compare(SCORES, GROUPS, "new", "old").total, compare(SCORES, GROUPS, "old", "new").total
    assert other.difference == -one.difference
    assert (other.interval.low, other.interval.high) == pytest.approx((-one.interval.high, -one.interval.low), abs=0.2)


def test_against_itself_nothing_differs():
    compared = compare(SCORES, GROUPS, "new", "new")
    assert (compared.total.difference, compared.total.interval.low, compared.total.interval.high) == (0, 0, 0)


def test_what_both_find_hard_cancels_out():
    rng = np.random.default_rng(0)
    hard = rng.random(400)
    images = [str(number) for number in range(400)]
    better = np.minimum(1, hard + 0.1)
    compared = compare(
        pd.concat([score("old", hard, images), score("new", better, images)]), group(source=["s"] * 400), "new", "old"
    )
    assert compared.total.interval.high - compared.total.interval.low < 0.02


def test_a_slice_of_few_images_says_so():
    (one, *_) = compare(SCORES, GROUPS, "new", "old").slices
    assert one.too_small
