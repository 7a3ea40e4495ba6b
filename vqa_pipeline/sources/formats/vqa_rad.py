"""`vqa_rad`: VQA-RAD, questions about radiology images with one answer each: a JSON list.

Two forms are about: the public file, in which `phrase_type` alone tells the test questions (test_freeform, test_para),
and a pair trainset.json, testset.json. An answer may be a number and is written out as the file writes it. Some answer
types end in a blank ("CLOSED "), which is cut off. Paraphrases of a question are questions of their own, linked by
`qid_linked_id`; by_image keeps them together, while the published split asks about the same pictures in train and test.

Source: https://osf.io/89kps/
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
    claim,
    hold,
    in_list,
    take_answers,
    write_out,
)
from vqa_pipeline.sources.settings import DeclaredSplits
from vqa_pipeline.sources.split_words import find_split_word


class _Question(TypedDict):
    qid: Id
    image_name: str
    question: str
    answer: str | int | float
    answer_type: NotRequired[str | None]
    question_type: NotRequired[str | None]
    phrase_type: NotRequired[str | None]
    qid_linked_id: NotRequired[str | None]


class VqaRadSource(RecordsSource):
    """VQA-RAD: questions of clinicians about radiology images."""

    format: Literal["vqa_rad"] = Field(description="Kind of source: vqa_rad.")
    splits: DeclaredSplits = Field(
        "by_image",
        description="by_image, declared (test by `phrase_type`, else the file's name, else train), train, val, test or "
        "{list: FILES}.",
    )


def _ask(_settings: VqaRadSource, question: _Question, locator: Locator) -> list[QuestionFields]:
    answer_type = question.get("answer_type")
    return [
        QuestionFields(
            native_id=question["qid"],
            image=question["image_name"],
            question=question["question"],
            split=_find_split(question.get("phrase_type"), locator),
            question_type=question.get("question_type"),
            answer_type=answer_type.rstrip(" ") if answer_type else None,
            answers=take_answers(write_out(question["answer"])),
            paraphrase_of=question.get("qid_linked_id") or None,
        )
    ]


def _find_split(phrase_type: str | None, locator: Locator) -> str:
    is_test = phrase_type is not None and phrase_type.startswith("test")
    return "test" if is_test else find_split_word(locator.file) or "train"


def _recognize(sample: Sample) -> Recognition | None:
    if sample.layout != "list" or not hold(sample, "qid", "image_name", "question", "answer"):
        return None
    return claim(sample, 1.0 if hold(sample, "phrase_type") else 0.8)


VQA_RAD = RecordsFormat(in_list(), TypeAdapter(_Question), _ask, _recognize)
