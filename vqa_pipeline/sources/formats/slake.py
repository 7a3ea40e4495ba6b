"""`slake`: SLAKE, bilingual questions about radiology images: a JSON list per split, English and Chinese mixed.

Every picture is called `source.jpg` and lies in a folder of its own, so `img_name` (`xmlab1/source.jpg`) is the
reference, and `qid` is unique over the three files. The language (`q_lang`) stays in the raw record; a source of one
language is a file of one language.

Source: https://www.med-vqa.com/slake/
"""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from vqa_pipeline.schemas import Locator, QuestionFields
from vqa_pipeline.sources.formats.format import Recognition, Sample
from vqa_pipeline.sources.formats.records import (
    Id,
    RecordsFormat,
    RecordsSource,
    claim_by_name,
    hold,
    in_list,
    take_answers,
)
from vqa_pipeline.sources.settings import DeclaredSplits


class _Question(TypedDict):
    qid: Id
    img_name: str
    question: str
    answer: str
    answer_type: NotRequired[str | None]
    content_type: NotRequired[str | None]


class SlakeSource(RecordsSource):
    """SLAKE: questions in English and Chinese about radiology images."""

    format: Literal["slake"] = Field(description="Kind of source: slake.")
    splits: DeclaredSplits = Field(
        "declared",
        description="declared (the file's name: train, validate, test), by_image, train, val, test or {list: FILES}.",
    )


def _ask(_settings: SlakeSource, question: _Question, _locator: Locator) -> list[QuestionFields]:
    return [
        QuestionFields(
            native_id=question["qid"],
            image=question["img_name"],
            question=question["question"],
            split=None,
            question_type=question.get("content_type"),
            answer_type=question.get("answer_type"),
            answers=take_answers(question["answer"]),
        )
    ]


def _recognize(sample: Sample) -> Recognition | None:
    if sample.layout != "list" or not hold(sample, "qid", "img_name", "question", "answer", "q_lang"):
        return None
    return claim_by_name(sample, 1.0)


SLAKE = RecordsFormat(in_list(), TypeAdapter(_Question), _ask, _recognize)
