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
    splits: tuple[Split, ...] = Field(
        ("test",),
        description="Splits to predict, test among them. Only test is scored: train taught the model, val chose it.",
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
