"""`textvqa`: TextVQA as its authors publish it: `{dataset_type, dataset_name, version, data: […]}`.

Up to version 0.1 a question names its image's path (`train/<id>.jpg`, also in the file of val) and has 6 to 19
answers; from 0.5 on it has `question_id`, `set_name`, `image_id` (the image is `<image_id>.jpg`) and 10 answers. The
image's folder says nothing of the split: the question's `set_name` does, else the file's `dataset_type`. Remarks of
annotators ("not a question") are answers like the others.

Source: https://textvqa.org/dataset/
"""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from vqa_pipeline.schemas import Locator, QuestionFields
from vqa_pipeline.sources.formats.format import MalformedRecord, Recognition, Sample
from vqa_pipeline.sources.formats.records import Id, RecordsFormat, RecordsSource, claim, hold, in_list, take_answers
from vqa_pipeline.sources.settings import DeclaredSplits


class _Question(TypedDict):
    question: str
    image: NotRequired[str]
    image_id: NotRequired[str]
    question_id: NotRequired[Id]
    set_name: NotRequired[str]
    answers: NotRequired[list[str] | None]


class TextVqaSource(RecordsSource):
    """TextVQA: questions about text in images."""

    format: Literal["textvqa"] = Field(description="Kind of source: textvqa.")
    splits: DeclaredSplits = Field(
        "declared",
        description="declared (the `set_name` of each question, else the file's `dataset_type`), by_image, train, "
        "val, test or {list: FILES}.",
    )


def _ask(_settings: TextVqaSource, question: _Question, _locator: Locator) -> list[QuestionFields]:
    answers = question.get("answers")
    return [
        QuestionFields(
            native_id=question.get("question_id"),
            image=_name_image(question),
            question=question["question"],
            split=question.get("set_name"),
            question_type=None,
            answer_type=None,
            answers=None if answers is None else take_answers(*answers),
        )
    ]


def _name_image(question: _Question) -> str:
    if "image" in question:
        return question["image"]
    if "image_id" in question:
        return f"{question['image_id']}.jpg"
    reason = "the question has neither `image` nor `image_id`"
    raise MalformedRecord("record_malformed", reason, "Name the image in `image`.")


def _recognize(sample: Sample) -> Recognition | None:
    is_form = "dataset_type" in sample.fields and "data" in sample.fields and hold(sample, "question")
    if not is_form:
        return None
    return claim(sample, 1.0 if str(sample.fields.get("dataset_name")).lower() == "textvqa" else 0.7)


TEXTVQA = RecordsFormat(in_list("data"), TypeAdapter(_Question), _ask, _recognize, split_key="dataset_type")
