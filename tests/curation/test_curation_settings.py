"""Settings of the dataset stage: defaults, and mistakes that are told before anything is read."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from vqa_pipeline.curation.settings import DatasetSettings, SplitFractions


def test_the_defaults_are_strict():
    assert DatasetSettings().model_dump() == {
        "split_fractions": {"train": 0.8, "val": 0.1, "test": 0.1},
        "max_reject_fraction": 0.01,
        "leakage": "fail",
        "near_duplicate_distance": 3,
        "images_required": True,
    }


@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.1), (1, 0, 0), (0.7, 0.2, 0.1), (1 / 3, 1 / 3, 1 / 3)])
def test_fractions_that_make_a_whole_are_taken(shares):
    fractions = SplitFractions(train=shares[0], val=shares[1], test=shares[2])
    assert (fractions.train, fractions.val, fractions.test) == shares


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"train": 0.8, "val": 0.1, "test": 0.2}, r"train \+ val \+ test must be 1, not 1.1"),
        ({"train": 0.9}, r"train \+ val \+ test must be 1, not 1.1"),
        ({"train": 80, "val": 10, "test": 10}, "less than or equal to 1"),
        ({"train": 1.1, "val": -0.1, "test": 0}, "greater than or equal to 0"),
        ({"train": "most"}, "valid number"),
        ({"dev": 0.1}, "not permitted"),
        ({"train": float("nan")}, "train"),
    ],
)
def test_fractions_that_make_no_whole_are_refused(told, message):
    with pytest.raises(ValidationError, match=message):
        SplitFractions.model_validate(told)


@pytest.mark.parametrize(
    "told",
    [
        {"max_reject_fraction": 1.5},
        {"max_reject_fraction": -0.1},
        {"leakage": "ignore"},
        {"leekage": "fail"},
        {"near_duplicate_distance": 8},
        {"near_duplicate_distance": -1},
    ],
)
def test_other_mistakes_name_their_setting(told):
    with pytest.raises(ValidationError) as caught:
        DatasetSettings.model_validate(told)
    assert [error["loc"] for error in caught.value.errors()] == [tuple(told)]


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        DatasetSettings().leakage = "report"
