"""Splits: what words mean, and that an image's split depends on the image alone."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_pipeline.curation.settings import SplitFractions
from vqa_pipeline.curation.splits import assign_split, carve_split, parse_split

FRACTIONS = SplitFractions(train=0.8, val=0.1, test=0.1)
SHAS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(10_000)]


@st.composite
def fractions(draw) -> SplitFractions:
    test, val = sorted([draw(st.integers(0, 100)), draw(st.integers(0, 100))])
    return SplitFractions(train=(100 - val) / 100, val=(val - test) / 100, test=test / 100)


# -------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("train", "train"),
        ("training", "train"),
        ("val", "val"),
        ("valid", "val"),
        ("validation", "val"),
        ("dev", "val"),
        ("test", "test"),
        ("testing", "test"),
        ("TRAIN", "train"),
        (" Dev\n", "val"),
    ],
)
def test_a_word_means_a_split_whatever_its_case(word, split):
    assert parse_split(word) == split


@pytest.mark.parametrize("word", ["", "holdout", "train2014", "test-dev", "trainval", "tr ain", "0", "declared"])
def test_other_words_mean_no_split(word):
    assert parse_split(word) is None


# ------------------------------------------------------------------------------------------------------------ assigned


def test_the_split_of_an_image_never_changes_from_version_to_version():
    """Golden: another outcome here moves every image that users have."""
    assigned = [assign_split(sha, FRACTIONS) for sha in SHAS[:40]]
    assert [number for number, split in enumerate(assigned) if split == "test"] == [4, 24, 29, 33, 34, 36]
    assert [number for number, split in enumerate(assigned) if split == "val"] == [8, 11, 12, 14, 17, 18, 22, 25, 32]
    carved = [carve_split(sha, FRACTIONS, frozenset({"val", "test"})) for sha in SHAS[:40]]
    assert [number for number, split in enumerate(carved) if split == "test"] == [12, 13, 14, 17, 19, 27, 38]
    assert [number for number, split in enumerate(carved) if split == "val"] == [24]


def test_fractions_are_roughly_met():
    counts = {split: [assign_split(sha, FRACTIONS) for sha in SHAS].count(split) for split in ("train", "val", "test")}
    assert sum(counts.values()) == 10_000
    assert 7850 < counts["train"] < 8150
    assert 880 < counts["val"] < 1120
    assert 880 < counts["test"] < 1120


def test_a_fraction_of_nothing_gets_nothing_and_of_all_gets_all():
    assert {assign_split(sha, SplitFractions(train=1, val=0, test=0)) for sha in SHAS} == {"train"}
    assert {assign_split(sha, SplitFractions(train=0, val=1, test=0)) for sha in SHAS} == {"val"}
    assert {assign_split(sha, SplitFractions(train=0, val=0, test=1)) for sha in SHAS} == {"test"}
    assert {assign_split(sha, SplitFractions(train=0, val=0.5, test=0.5)) for sha in SHAS} == {"val", "test"}


@settings(deadline=None)
@given(st.lists(st.text(), unique=True), st.lists(st.text(), unique=True), st.randoms(), fractions())
def test_growing_the_set_in_any_order_moves_nothing(before, new, random, shares):
    first = {image: assign_split(image, shares) for image in before}
    grown = [*before, *new]
    random.shuffle(grown)
    after = {image: assign_split(image, shares) for image in grown}
    assert {image: after[image] for image in before} == first


@settings(deadline=None)
@given(st.sampled_from(SHAS), st.integers(0, 50), st.integers(0, 50))
def test_a_larger_test_share_takes_images_and_gives_none_away(image, smaller, more):
    shares = [SplitFractions(train=1 - share / 100, val=0, test=share / 100) for share in (smaller, smaller + more)]
    if assign_split(image, shares[0]) == "test":
        assert assign_split(image, shares[1]) == "test"


# -------------------------------------------------------------------------------------------------------------- carved


def test_nothing_is_carved_when_nothing_is_missing():
    assert {carve_split(sha, FRACTIONS, frozenset()) for sha in SHAS} == {"train"}


@pytest.mark.parametrize("missing", ["val", "test"])
def test_only_what_is_missing_is_carved_in_its_share(missing):
    carved = [carve_split(sha, FRACTIONS, frozenset({missing})) for sha in SHAS]
    assert set(carved) == {"train", missing}
    assert 880 < carved.count(missing) < 1120


def test_both_are_carved_in_their_shares_and_train_keeps_the_rest():
    shares = SplitFractions(train=0.5, val=0.2, test=0.3)
    carved = [carve_split(sha, shares, frozenset({"val", "test"})) for sha in SHAS]
    assert 1850 < carved.count("val") < 2150
    assert 2850 < carved.count("test") < 3150
    assert 4850 < carved.count("train") < 5150


def test_carving_is_not_correlated_with_assigning():
    """Else nothing would be left to carve from the images that were assigned to train."""
    train = [sha for sha in SHAS if assign_split(sha, FRACTIONS) == "train"]
    carved = [carve_split(sha, FRACTIONS, frozenset({"test"})) for sha in train]
    assert 0.08 < carved.count("test") / len(train) < 0.12


@settings(deadline=None)
@given(st.text(), fractions(), st.sets(st.sampled_from(["val", "test"])))
def test_a_carved_split_is_train_or_a_missing_one(image, shares, missing):
    split = carve_split(image, shares, frozenset(missing))
    assert split in {"train", *missing}
    assert split == "train" or getattr(shares, split) > 0
