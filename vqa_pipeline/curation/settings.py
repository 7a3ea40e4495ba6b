"""Settings of the dataset stage."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from vqa_pipeline.schemas import Frozen

MAX_NEAR_DUPLICATE_DISTANCE = 7
"""Of 64 bits. Beyond it a search has bands of less than eight bits, in which most images are candidates."""


class SplitFractions(Frozen):
    """Shares of images, for questions without a declared split and for carving a missing one from train."""

    train: float = Field(0.8, ge=0, le=1, description="Share of images learned from.")
    val: float = Field(0.1, ge=0, le=1, description="Share of images on which the best checkpoint is chosen.")
    test: float = Field(0.1, ge=0, le=1, description="Share of images kept for the report.")

    @model_validator(mode="after")
    def _sum_to_one(self) -> SplitFractions:
        total = self.train + self.val + self.test
        if not math.isclose(total, 1):
            raise ValueError(f"train + val + test must be 1, not {total:g}")
        return self


class ComputeSettings(Frozen):
    """With what the dataset is made; never what comes out."""

    workers: int = Field(
        1,
        ge=1,
        le=256,
        description="Processes that check images and join questions side by side. Each takes a core and up to half a "
        "gigabyte; the results are the same bytes.",
    )


class DatasetSettings(Frozen):
    """How records become the dataset, and what stops it."""

    split_fractions: SplitFractions = Field(SplitFractions(), description="Shares of images per split.")
    max_reject_fraction: float = Field(
        0.01, ge=0, le=1, description="More rejected rows than this share and nothing is published."
    )
    leakage: Literal["fail", "drop_from_train", "report"] = Field(
        "fail",
        description="An image or a near-duplicate in two splits: fail publishes nothing; drop_from_train excludes its "
        "rows from the split nearer to training (train before val before test); report only counts it.",
    )
    near_duplicate_distance: int | None = Field(
        3,
        ge=0,
        le=MAX_NEAR_DUPLICATE_DISTANCE,
        description="Images of the same colours whose 64-bit difference hashes differ in at most so many bits are "
        "near-duplicates. 3 finds copies that were saved or scaled anew (124 of 125 in a trial); 0: equal hashes only; "
        "null: look for identical files only.",
    )
    images_required: bool = Field(
        True, description="false keeps questions whose image is missing; nothing can be trained on them."
    )
