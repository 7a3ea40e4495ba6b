"""`vsr`: Visual Spatial Reasoning, captions that are true or false of a picture: JSON Lines.

The caption stands as the question, unchanged: it is a statement. `label` is a number that names one of two classes, so
the answer is "true" or "false" (a "1" would be the answer to a counting question elsewhere); the spatial relation is
the question's type. There is no id.

Source: https://github.com/cambridgeltl/visual-spatial-reasoning
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from vqa_pipeline.schemas import Locator, QuestionFields
from vqa_pipeline.sources.formats.format import Recognition, Sample
from vqa_pipeline.sources.formats.records import (
    RecordsFormat,
    RecordsSource,
    claim_by_name,
    hold,
    in_lines,
    take_answers,
)
from vqa_pipeline.sources.settings import DeclaredSplits

_ANSWERS = ("false", "true")


class _Caption(TypedDict):
    image: str
    caption: str
    label: Annotated[int, Field(ge=0, le=1)]
    relation: NotRequired[str | None]


class VsrSource(RecordsSource):
    """VSR: captions about where things are, true or false."""

    format: Literal["vsr"] = Field(description="Kind of source: vsr.")
    splits: DeclaredSplits = Field(
        "declared",
        description="declared (the file's name: train, dev, test), by_image, train, val, test or {list: FILES}.",
    )


def _ask(_settings: VsrSource, caption: _Caption, _locator: Locator) -> list[QuestionFields]:
    return [
        QuestionFields(
            native_id=None,
            image=caption["image"],
            question=caption["caption"],
            split=None,
            question_type=caption.get("relation"),
            answer_type=None,
            answers=take_answers(_ANSWERS[caption["label"]]),
        )
    ]


def _recognize(sample: Sample) -> Recognition | None:
    if sample.layout != "lines" or not hold(sample, "image", "caption", "label", "relation"):
        return None
    return claim_by_name(sample, 1.0)


VSR = RecordsFormat(in_lines, TypeAdapter(_Caption), _ask, _recognize)
