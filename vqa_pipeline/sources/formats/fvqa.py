"""`fvqa`: questions that need a fact of a knowledge base, in a JSON object keyed by question id.

A question is `{img_file, question, answer, visual_concept, ans_source, …}`. The concept asked about (object, scene,
action) is its type, and where the answer stands (image or knowledge base) the type of its answer.

Source: https://arxiv.org/abs/1606.05433
"""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from vqa_pipeline.schemas import Locator, QuestionFields
from vqa_pipeline.sources.formats.format import Recognition, Sample
from vqa_pipeline.sources.formats.records import (
    Entry,
    RecordsFormat,
    RecordsSource,
    claim,
    hold,
    in_object,
    take_answers,
)
from vqa_pipeline.sources.settings import ImageSplits


class _Question(TypedDict):
    img_file: str
    question: str
    answer: str
    visual_concept: NotRequired[str | None]
    ans_source: NotRequired[str | None]


class FvqaSource(RecordsSource):
    """FVQA: questions that need a fact of a knowledge base."""

    format: Literal["fvqa"] = Field(description="Kind of source: fvqa.")
    splits: ImageSplits = Field("by_image", description="by_image, train, val, test or {list: FILES}.")


def _ask(_settings: FvqaSource, entry: Entry[_Question], _locator: Locator) -> list[QuestionFields]:
    [(question_id, question)] = entry.items()
    return [
        QuestionFields(
            native_id=question_id,
            image=question["img_file"],
            question=question["question"],
            split=None,
            question_type=question.get("visual_concept"),
            answer_type=question.get("ans_source"),
            answers=take_answers(question["answer"]),
        )
    ]


def _recognize(sample: Sample) -> Recognition | None:
    return claim(sample, 1.0) if sample.layout == "object" and hold(sample, "img_file", "question", "answer") else None


FVQA = RecordsFormat(in_object, TypeAdapter(Entry[_Question]), _ask, _recognize)
