"""`owleval`: OwlEval, open questions for people to judge the answers to: JSON Lines without answers.

The questions are unanswered: they can be predicted, not scored. `ability` is the question's type.

Source: https://github.com/X-PLUG/mPLUG-Owl/tree/main/mPLUG-Owl/OwlEval
"""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from vqa_pipeline.schemas import Locator, QuestionFields
from vqa_pipeline.sources.formats.format import Recognition, Sample
from vqa_pipeline.sources.formats.records import Id, RecordsFormat, RecordsSource, claim, hold, in_lines
from vqa_pipeline.sources.settings import ImageSplits


class _Question(TypedDict):
    question_id: Id
    image: str
    question: str
    ability: NotRequired[str | None]


class OwlEvalSource(RecordsSource):
    """OwlEval: open questions, unanswered."""

    format: Literal["owleval"] = Field(description="Kind of source: owleval.")
    splits: ImageSplits = Field(
        "test", description="test (what OwlEval is made for), train, val, by_image or {list: FILES}."
    )


def _ask(_settings: OwlEvalSource, question: _Question, _locator: Locator) -> list[QuestionFields]:
    return [
        QuestionFields(
            native_id=question["question_id"],
            image=question["image"],
            question=question["question"],
            split=None,
            question_type=question.get("ability"),
            answer_type=None,
            answers=None,
        )
    ]


def _recognize(sample: Sample) -> Recognition | None:
    is_form = sample.layout == "lines" and hold(sample, "question_id", "image", "question", "ability")
    return claim(sample, 1.0) if is_form else None


OWLEVAL = RecordsFormat(in_lines, TypeAdapter(_Question), _ask, _recognize)
