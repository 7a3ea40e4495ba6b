"""`gqa`: compositional questions about scenes, in JSON objects keyed by question id; the whole set comes in shards.

A question's own object is `{imageId, question, answer, fullAnswer, types, semantic, …}`; those of the test set have no
answer. The short `answer` is read, not `fullAnswer`: it is what GQA scores. `equivalent` lists the questions that ask
the same, the question itself among them; `entailed` lists others. No record names its split: its file's name does
(`train_all_questions_0.json`).

Source: https://cs.stanford.edu/people/dorarad/gqa/download.html
"""

from __future__ import annotations

from collections.abc import Iterable
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
    equivalent: NotRequired[list[str] | None]


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
            paraphrase_of=_name_group(question_id, question.get("equivalent") or ()),
        )
    ]


def _name_group(question_id: str, equivalent: Iterable[str]) -> str | None:
    """The same for all of a group, in whatever order each of them lists it."""
    group = {question_id, *equivalent}
    return min(group) if len(group) > 1 else None


def _recognize(sample: Sample) -> Recognition | None:
    return claim_by_name(sample, 1.0) if sample.layout == "object" and hold(sample, "imageId", "question") else None


GQA = RecordsFormat(in_object, TypeAdapter(Entry[_Question]), _ask, _recognize)
