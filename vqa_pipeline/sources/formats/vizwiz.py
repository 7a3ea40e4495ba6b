"""`vizwiz`: VizWiz as its authors publish it: a JSON list of what blind people asked about their images.

A question is `{image, question, answers: [{answer, answer_confidence}], answer_type, answerable}`; the test set has no
answers. There is no id, and answers have none either: equal ones of several annotators stay as many. The split stands
in the image's name, `VizWiz_train_00000000.jpg`. Questions are speech, often without "?", and stay as they are.

Written from the description at https://vizwiz.org/tasks-and-datasets/vqa/
"""

from __future__ import annotations

import json
import re
from typing import Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from vqa_pipeline.schemas import Answer, Locator, QuestionFields
from vqa_pipeline.sources.formats.format import Recognition, Sample
from vqa_pipeline.sources.formats.records import RecordsFormat, RecordsSource, claim, hold, in_list
from vqa_pipeline.sources.settings import DeclaredSplits

_SPLIT = re.compile(r"VizWiz_(train|val|test)_")


class _Answer(TypedDict):
    answer: str
    answer_confidence: NotRequired[str | None]


class _Question(TypedDict):
    image: str
    question: str
    answers: NotRequired[list[_Answer] | None]
    answer_type: NotRequired[str | None]


class VizWizSource(RecordsSource):
    """VizWiz: what blind people asked about images that they took."""

    format: Literal["vizwiz"] = Field(description="Kind of source: vizwiz.")
    splits: DeclaredSplits = Field(
        "declared",
        description="declared (the image's name, VizWiz_train_…), by_image, train, val, test or {list: FILES}.",
    )


def _ask(_settings: VizWizSource, question: _Question, _locator: Locator) -> list[QuestionFields]:
    split = _SPLIT.search(question["image"])
    return [
        QuestionFields(
            native_id=None,
            image=question["image"],
            question=question["question"],
            split=split.group(1) if split else None,
            question_type=None,
            answer_type=question.get("answer_type"),
            answers=_take_answers(question.get("answers")),
        )
    ]


def _take_answers(answers: list[_Answer] | None) -> list[Answer] | None:
    if answers is None:
        return None
    return [
        Answer(answer=one["answer"], answer_id=None, answer_confidence=one.get("answer_confidence")) for one in answers
    ]


def _recognize(sample: Sample) -> Recognition | None:
    is_form = sample.layout == "list" and hold(sample, "image", "question")
    return claim(sample, 1.0) if is_form and _SPLIT.search(json.dumps(sample.records)) else None


VIZWIZ = RecordsFormat(in_list(), TypeAdapter(_Question), _ask, _recognize)
