"""`clevr`: questions about rendered shapes: `{info, questions: [{question_index, image_filename, split, question}]}`.

Questions of the test set have no answer. `question_index` starts at 0 in each split, so ids are `<split>-<index>`. The
kind of question is the last function of its program, as in the paper's tables; older files call the key `type`.

Source: https://cs.stanford.edu/people/jcjohns/clevr/
"""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from vqa_pipeline.schemas import Locator, QuestionFields
from vqa_pipeline.sources.formats.format import Recognition, Sample
from vqa_pipeline.sources.formats.records import (
    RecordsFormat,
    RecordsSource,
    claim,
    hold,
    in_list,
    take_answers,
    write_out,
)
from vqa_pipeline.sources.settings import DeclaredSplits


class _Node(TypedDict):
    function: NotRequired[str]
    type: NotRequired[str]


class _Question(TypedDict):
    question_index: int
    image_filename: str
    split: str
    question: str
    answer: NotRequired[str | int | None]
    program: NotRequired[list[_Node]]


class ClevrSource(RecordsSource):
    """CLEVR: questions about rendered shapes."""

    format: Literal["clevr"] = Field(description="Kind of source: clevr.")
    splits: DeclaredSplits = Field(
        "declared", description="declared (the `split` of each question), by_image, train, val, test or {list: FILES}."
    )


def _ask(_settings: ClevrSource, question: _Question, _locator: Locator) -> list[QuestionFields]:
    answer, program = question.get("answer"), question.get("program")
    last = program[-1] if program else _Node()
    return [
        QuestionFields(
            native_id=f"{question['split']}-{question['question_index']}",
            image=question["image_filename"],
            question=question["question"],
            split=question["split"],
            question_type=last.get("function", last.get("type")),
            answer_type=None,
            answers=None if answer is None else take_answers(write_out(answer)),
        )
    ]


def _recognize(sample: Sample) -> Recognition | None:
    is_clevr = "questions" in sample.fields and hold(sample, "question_index", "image_filename", "question")
    return claim(sample, 1.0) if is_clevr else None


CLEVR = RecordsFormat(in_list("questions"), TypeAdapter(_Question), _ask, _recognize)
