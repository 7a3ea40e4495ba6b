"""`docvqa`: questions about scanned documents: `{dataset_name, dataset_split, dataset_version, data: […]}`.

A question's answers are spellings of one answer, each as good as the others, not the words of annotators; the test set
has none. The split is the question's `data_split`, else the file's `dataset_split`.

Source: https://www.docvqa.org/datasets/docvqa
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
    questionId: Id
    question: str
    image: str
    answers: NotRequired[list[str] | None]
    data_split: NotRequired[str]


class DocVqaSource(RecordsSource):
    """DocVQA: questions about scanned documents."""

    format: Literal["docvqa"] = Field(description="Kind of source: docvqa.")
    splits: DeclaredSplits = Field(
        "declared",
        description="declared (the `data_split` of each question, else the file's `dataset_split`), by_image, train, "
        "val, test or {list: FILES}.",
    )


def _ask(_settings: DocVqaSource, question: _Question, _locator: Locator) -> list[QuestionFields]:
    answers = question.get("answers")
    return [
        QuestionFields(
            native_id=question["questionId"],
            image=question["image"],
            question=question["question"],
            split=question.get("data_split"),
            question_type=None,
            answer_type=None,
            answers=None if answers is None else take_answers(*answers),
        )
    ]


def _recognize(sample: Sample) -> Recognition | None:
    is_docvqa = "data" in sample.fields and hold(sample, "questionId", "question", "image")
    return claim(sample, 1.0) if is_docvqa else None


DOCVQA = RecordsFormat(in_list("data"), TypeAdapter(_Question), _ask, _recognize, split_key="dataset_split")
