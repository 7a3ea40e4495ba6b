"""`pope`: POPE, yes-no questions about objects that are or are not in the picture: JSON Lines in files named `.json`.

`question_id` starts at 1 in each file (random, popular, adversarial), so the question's id here is the file's name and
that number, `coco_pope_random/1`: files of the same name in two folders belong in two sources.

Source: https://github.com/RUCAIBox/POPE
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from vqa_pipeline.schemas import Locator, QuestionFields
from vqa_pipeline.sources.formats.format import Recognition, Sample
from vqa_pipeline.sources.formats.records import Id, RecordsFormat, RecordsSource, claim, hold, in_lines, take_answers
from vqa_pipeline.sources.settings import ImageSplits


class _Question(TypedDict):
    question_id: Id
    image: str
    text: str
    label: str


class PopeSource(RecordsSource):
    """POPE: is this object in the picture?"""

    format: Literal["pope"] = Field(description="Kind of source: pope.")
    splits: ImageSplits = Field(
        "test", description="test (what POPE is made for), train, val, by_image or {list: FILES}."
    )


def _ask(_settings: PopeSource, question: _Question, locator: Locator) -> list[QuestionFields]:
    return [
        QuestionFields(
            native_id=f"{PurePosixPath(locator.file).stem}/{question['question_id']}",
            image=question["image"],
            question=question["text"],
            split=None,
            question_type=None,
            answer_type=None,
            answers=take_answers(question["label"]),
        )
    ]


def _recognize(sample: Sample) -> Recognition | None:
    is_form = sample.layout == "lines" and hold(sample, "question_id", "image", "text", "label")
    return claim(sample, 1.0) if is_form else None


POPE = RecordsFormat(in_lines, TypeAdapter(_Question), _ask, _recognize)
