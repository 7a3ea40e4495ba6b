"""`aokvqa`: A-OKVQA: a JSON list of questions that ask for knowledge, with ten direct answers and four choices.

The direct answers are read; the choices belong to another task. The test set has none. Images are those of COCO 2017,
`<image_id, twelve digits>.jpg`.

Source: https://github.com/allenai/aokvqa
"""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from vqa_pipeline.schemas import Locator, QuestionFields
from vqa_pipeline.sources.formats.format import Recognition, Sample
from vqa_pipeline.sources.formats.records import Id, RecordsFormat, RecordsSource, claim, hold, in_list, take_answers
from vqa_pipeline.sources.settings import DeclaredSplits


class _Question(TypedDict):
    question_id: Id
    image_id: int
    question: str
    split: NotRequired[str]
    direct_answers: NotRequired[list[str] | None]


class AokVqaSource(RecordsSource):
    """A-OKVQA: questions that ask for knowledge beyond the image."""

    format: Literal["aokvqa"] = Field(description="Kind of source: aokvqa.")
    splits: DeclaredSplits = Field(
        "declared", description="declared (the `split` of each question), by_image, train, val, test or {list: FILES}."
    )


def _ask(_settings: AokVqaSource, question: _Question, _locator: Locator) -> list[QuestionFields]:
    answers = question.get("direct_answers")
    return [
        QuestionFields(
            native_id=question["question_id"],
            image=f"{question['image_id']:012d}.jpg",
            question=question["question"],
            split=question.get("split"),
            question_type=None,
            answer_type=None,
            answers=None if answers is None else take_answers(*answers),
        )
    ]


def _recognize(sample: Sample) -> Recognition | None:
    is_aokvqa = sample.layout == "list" and hold(sample, "question_id", "image_id", "question", "choices")
    return claim(sample, 1.0) if is_aokvqa else None


AOKVQA = RecordsFormat(in_list(), TypeAdapter(_Question), _ask, _recognize)
