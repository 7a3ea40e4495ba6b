"""Settings of the answer vocabulary."""

from __future__ import annotations

from pydantic import Field

from vqa_pipeline.schemas import Frozen


class VocabularySettings(Frozen):
    """Which answers a model can give."""

    min_count: int = Field(1, ge=1, description="Answers given to fewer training questions than this are left out.")
    max_answers: int = Field(3129, ge=2, description="At most this many answers; the most frequent stay.")
