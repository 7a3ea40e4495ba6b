"""Settings of the metrics stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from vqa_pipeline.schemas import Frozen, Split

REPORTED_SPLIT: Split = "test"
"""The split whose scores are reported: nothing of it had a say in the training."""


class EvaluationSettings(Frozen):
    """What is scored and how."""

    metric: Literal["auto", "official", "normalized"] = Field(
        "auto",
        description="auto: official when every evaluated question has ten references with ids, else normalized.",
    )
    relaxed_numbers: bool = Field(
        False,
        description="Count a number as right that is at most 5 % from a reference, as for charts; never in training.",
    )
    splits: tuple[Split, ...] = Field(
        ("test",),
        description="Splits to predict, test among them. Only test is scored: train taught the model, val chose it.",
    )
    shuffled_image: bool = Field(
        True,
        description="Ask the test questions once more, each about the image of another: how far the model gets without "
        "seeing. Costs as much as answering them.",
    )
    images: bool = Field(
        True,
        description="Show images in the report. Off for confidential ones: then it has none, no name of an image file "
        "and no raw rows; questions and answers it does have.",
    )

    @field_validator("splits")
    @classmethod
    def _test_and_no_split_twice(cls, splits: tuple[Split, ...]) -> tuple[Split, ...]:
        if REPORTED_SPLIT not in splits:
            raise ValueError("test must be among them; scores on train or val would not be of unseen questions")
        if len(set(splits)) < len(splits):
            raise ValueError("a split is named twice")
        return splits


class ChampionSettings(Frozen):
    """When a new checkpoint replaces the one in use."""

    minimum_effect: float = Field(
        0.01,
        gt=0,
        le=1,
        description="The smallest gain in accuracy that is worth knowing of: where the questions can tell neither it "
        "nor none, more of them are needed.",
    )
    max_slice_drop: float = Field(
        0.05,
        ge=0,
        le=1,
        description="No slice may lose more accuracy than this, unless that may be chance (its interval reaches 0) "
        "or the slice is too small to say anything.",
    )
    allow_overridden: bool = Field(
        False,
        description="Promote a checkpoint that was trained with settings other than the declared ones, from the "
        "launchpad or by --set.",
    )
