"""Settings of the metrics stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vqa_pipeline.schemas import Frozen, Split


class EvaluationSettings(Frozen):
    """What is scored and how."""

    metric: Literal["auto", "official", "normalized"] = Field(
        "auto",
        description="auto: official when every evaluated question has exactly ten references, else normalized.",
    )
    splits: tuple[Split, ...] = Field(
        ("test",), min_length=1, description="Splits to predict and score; val chose the checkpoint, so not val alone."
    )
