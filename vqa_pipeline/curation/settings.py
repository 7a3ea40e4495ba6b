"""Settings of the dataset stage."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from vqa_pipeline.schemas import Frozen


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


class DatasetSettings(Frozen):
    """How records become the dataset, and what stops it."""

    split_fractions: SplitFractions = Field(SplitFractions(), description="Shares of images per split.")
    max_reject_fraction: float = Field(
        0.01, ge=0, le=1, description="More rejected rows than this share and nothing is published."
    )
    leakage: Literal["fail", "drop_from_train", "report"] = Field(
        "fail",
        description="An image in two splits: fail publishes nothing; drop_from_train excludes its rows from the split "
        "nearer to training (train before val before test); report only counts it.",
    )
    images_required: bool = Field(
        True, description="false keeps questions whose image is missing; nothing can be trained on them."
    )
