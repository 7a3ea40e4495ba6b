"""A challenger beside the champion on the same questions: how much better it is, in all and in every slice.

Differences are of paired scores, and their intervals come from drawing images, so that what both find hard cancels out.
Answers are compared by what they earn, so the two may have different vocabularies.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import Field

from vqa_pipeline.evaluation.accuracy import Share, compute_mean
from vqa_pipeline.evaluation.intervals import FEWEST_IMAGES, ImageDraws, Interval
from vqa_pipeline.evaluation.scores import select_scores
from vqa_pipeline.evaluation.slices import list_parts
from vqa_pipeline.schemas import Frozen


class Difference(Frozen):
    """How much more a challenger earns than the champion."""

    difference: float = Field(ge=-1, le=1, description="The challenger's accuracy minus the champion's.")
    interval: Interval = Field(description="95 % interval of `difference`, by drawing images.")
    num_questions: int
    num_images: int


class SliceDifference(Difference):
    """The same for a group of questions."""

    column: str
    value: str

    @property
    def too_small(self) -> bool:
        """Whether it has too few images to say anything."""
        return self.num_images < FEWEST_IMAGES


class Comparison(Frozen):
    """A challenger and the champion on the same questions."""

    champion: str = Field(description="Data version of the champion's checkpoint.")
    champion_accuracy: Share
    total: Difference
    slices: tuple[SliceDifference, ...]


def compare(scores: pd.DataFrame, groups: pd.DataFrame, challenger: str, champion: str) -> Comparison:
    """Compare two checkpoints that answered the same questions.

    Args:
        scores: Rows of `schemas.SCORES`.
        groups: Rows of `schemas.SLICES`, of the same questions in the same order.
        challenger: Data version of the one.
        champion: Data version of the other.
    """
    new, old = (select_scores(scores, checkpoint=checkpoint) for checkpoint in (challenger, champion))
    gains = new["score"].to_numpy(float) - old["score"].to_numpy(float)
    draws = ImageDraws(new["image"].tolist())
    parts = [("", "", np.ones(len(gains), bool)), *list_parts(groups)]
    members = np.stack([rows for *_, rows in parts], axis=1)
    intervals, num_images = draws.find_shifts(gains, members), draws.count_images(members)
    total, *slices = [
        SliceDifference(
            column=column,
            value=value,
            difference=compute_mean(gains[rows].tolist()),
            interval=interval,
            num_questions=int(rows.sum()),
            num_images=int(images),
        )
        for (column, value, rows), interval, images in zip(parts, intervals, num_images, strict=True)
    ]
    return Comparison(
        champion=champion,
        champion_accuracy=compute_mean(old["score"].tolist()),
        total=Difference(**total.model_dump(exclude={"column", "value"})),
        slices=tuple(slices),
    )
