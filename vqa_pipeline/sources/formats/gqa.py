"""`gqa`: compositional questions about scenes, in JSON objects keyed by question id; the whole set comes in shards.

A question's own object is `{imageId, question, answer, fullAnswer, types, semantic, …}`; those of the test set have no
answer. The short `answer` is read, not `fullAnswer`: it is what GQA scores. No record names its split: its file's name
does (`train_all_questions_0.json`).

Source: https://cs.stanford.edu/people/dorarad/gqa/download.html
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
    claim_by_name,
    hold,
    in_object,
    take_answers,
)
from vqa_pipeline.sources.settings import DeclaredSplits


class _Types(TypedDict):
    structural: NotRequired[str | None]


class _Question(TypedDict):
    imageId: str
    question: str
    answer: NotRequired[str | None]
    types: NotRequired[_Types | None]


class GqaSource(RecordsSource):
    """GQA: compositional questions about scenes; an image is `<imageId>.jpg`."""

    format: Literal["gqa"] = Field(description="Kind of source: gqa.")
    splits: DeclaredSplits = Field(
        "declared",
        description="declared (the file's name: val_balanced_questions), by_image, train, val, test or {list: FILES}.",
    )


def _ask(_settings: GqaSource, entry: Entry[_Question], _locator: Locator) -> list[QuestionFields]:
    [(question_id, question)] = entry.items()
    answer = question.get("answer")
    return [
        QuestionFields(
            native_id=question_id,
            image=f"{question['imageId']}.jpg",
            question=question["question"],
            split=None,
            question_type=(question.get("types") or {}).get("structural"),
            answer_type=None,
            answers=None if answer is None else take_answers(answer),
        )
    ]


def _recognize(sample: Sample) -> Recognition | None:
    return claim_by_name(sample, 1.0) if sample.layout == "object" and hold(sample, "imageId", "question") else None


GQA = RecordsFormat(in_object, TypeAdapter(Entry[_Question]), _ask, _recognize)
