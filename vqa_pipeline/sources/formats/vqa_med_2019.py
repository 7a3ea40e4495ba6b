"""`vqa_med_2019`: VQA-Med of ImageCLEF 2019: text files with one question per line, `|` between its fields, no header.

A line is `image|question` (the test set as it was given out), `image|question|answer` (training and validation) or
`image|category|question|answer` (the test set with references); the image is `<image>.jpg`. `#` stands between
several right answers. Blanks at the ends of a line belong to the line, not to its fields. Questions have no id: of the
test set's two files name one, as rows that ask the same and differ in their answers are rejected.

Source: https://github.com/abachaa/VQA-Med-2019
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, BinaryIO, Literal

from pydantic import Field, TypeAdapter

from vqa_pipeline.schemas import Locator, QuestionFields
from vqa_pipeline.sources.formats.format import Recognition, Sample
from vqa_pipeline.sources.formats.records import (
    Part,
    RecordsFormat,
    RecordsSource,
    claim_by_name,
    in_lines,
    take_answers,
)
from vqa_pipeline.sources.settings import DeclaredSplits

_LINE = re.compile(rb"synpic\d+\|[^|\r\n]+(\|[^|\r\n]+){0,2}\r?$", re.MULTILINE)

_NUM_UNANSWERED = 2
_Fields = Annotated[list[str], Field(min_length=2, max_length=4)]


class VqaMed2019Source(RecordsSource):
    """VQA-Med 2019: questions about radiology images."""

    format: Literal["vqa_med_2019"] = Field(description="Kind of source: vqa_med_2019.")
    splits: DeclaredSplits = Field(
        "declared",
        description="declared (the file's name: All_QA_Pairs_train.txt), by_image, train, val, test or {list: FILES}.",
    )


def _in_fields(stream: BinaryIO) -> Iterator[Part]:
    """The lines, each as the JSON list of its fields; one that is no text stays as it is, and is rejected."""
    for part in in_lines(stream):
        try:
            fields = part.payload.decode().split("|")
        except UnicodeDecodeError:
            yield part
        else:
            yield part._replace(payload=json.dumps(fields, ensure_ascii=False).encode())


def _ask(_settings: VqaMed2019Source, fields: list[str], _locator: Locator) -> list[QuestionFields]:
    image, *categories, question = fields if len(fields) == _NUM_UNANSWERED else fields[:-1]
    answers = None if len(fields) == _NUM_UNANSWERED else take_answers(*fields[-1].split("#"))
    return [
        QuestionFields(
            native_id=None,
            image=f"{image}.jpg",
            question=question,
            split=None,
            question_type=categories[0] if categories else None,
            answer_type=None,
            answers=answers,
        )
    ]


def _recognize(sample: Sample) -> Recognition | None:
    lines = sample.start.splitlines()[:100]
    return claim_by_name(sample, 1.0) if lines and 2 * sum(map(bool, map(_LINE.match, lines))) > len(lines) else None


VQA_MED_2019 = RecordsFormat(_in_fields, TypeAdapter(_Fields), _ask, _recognize)
