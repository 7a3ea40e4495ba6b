"""`daquar`: questions about indoor scenes, in text files of three lines each (question, answer, image) or of two.

With two lines, the image is named inside the question: "what is on the table in the image3 ?". Which of the two a
file has is told by its first lines. An image is `<image3>.png`. A comma-separated answer ("table, chair") is one
answer, a set: a part of it is not the right answer, as one of several annotators' would be.

Texts stay as they are, the blank before "?" included; blanks at the ends of lines and blank lines are structure. The
line that names an image tells records apart, so that a line too many or too few costs one record, not all that follow.
Questions have no id.

Source: https://www.mpi-inf.mpg.de/departments/computer-vision-and-machine-learning/research/vision-and-language/visual-turing-challenge
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, BinaryIO, Literal

from pydantic import Field, TypeAdapter

from vqa_pipeline.schemas import Locator, QuestionFields
from vqa_pipeline.sources.formats.format import MalformedRecord, Recognition, Sample
from vqa_pipeline.sources.formats.records import (
    Part,
    RecordsFormat,
    RecordsSource,
    claim_by_name,
    in_lines,
    take_answers,
)
from vqa_pipeline.sources.settings import DeclaredSplits

_IMAGE_LINE = re.compile(rb"image\d+")
_IMAGE = re.compile(r"\bimage\d+\b")
_FIRST_LINES = 30
_MOST_LINES = 30  # what is longer is no record of a question, and memory is bounded

_Lines = Annotated[list[str], Field(min_length=1)]


class DaquarSource(RecordsSource):
    """DAQUAR: questions about indoor scenes."""

    format: Literal["daquar"] = Field(description="Kind of source: daquar.")
    splits: DeclaredSplits = Field(
        "declared",
        description="declared (the file's name: qa.894.raw.train.txt), by_image, train, val, test or {list: FILES}.",
    )


# ------------------------------------------------------------------------------------------------------------ reading


def _in_groups(stream: BinaryIO) -> Iterator[Part]:
    """The records, each as the JSON list of its lines."""
    lines = in_lines(stream)
    first = list(itertools.islice(lines, _FIRST_LINES))
    split = _split_triples if _are_triples(first) else _split_pairs
    return map(_join, split(itertools.chain(first, lines)))


def _are_triples(lines: Sequence[Part]) -> bool:
    return any(_IMAGE_LINE.fullmatch(line.payload) for line in lines)


def _split_triples(lines: Iterator[Part]) -> Iterator[list[Part]]:
    """A record ends with the line that is an image's name."""
    record: list[Part] = []
    for line in lines:
        record.append(line)
        if _IMAGE_LINE.fullmatch(line.payload) or len(record) == _MOST_LINES:
            yield record
            record = []
    if record:
        yield record


def _split_pairs(lines: Iterator[Part]) -> Iterator[list[Part]]:
    """A record begins with the line in which an image is named."""
    record: list[Part] = []
    for line in lines:
        if record and (_IMAGE_LINE.search(line.payload) or len(record) == _MOST_LINES):
            yield record
            record = []
        record.append(line)
    if record:
        yield record


def _join(lines: Sequence[Part]) -> Part:
    """The lines as a JSON list; where one of them is no text, as they stand, to be rejected."""
    try:
        payload = json.dumps([line.payload.decode() for line in lines], ensure_ascii=False).encode()
    except UnicodeDecodeError:
        payload = b"\n".join(line.payload for line in lines)
    return lines[0]._replace(payload=payload)


# ------------------------------------------------------------------------------------------------------------ parsing


def _ask(_settings: DaquarSource, lines: list[str], _locator: Locator) -> list[QuestionFields]:
    question, answer, image = _tell_apart(lines)
    return [
        QuestionFields(
            native_id=None,
            image=f"{image}.png",
            question=question,
            split=None,
            question_type=None,
            answer_type=None,
            answers=take_answers(answer),
        )
    ]


def _tell_apart(lines: list[str]) -> tuple[str, str, str]:
    """Question, answer and the image's name."""
    match lines:
        case [question, answer, image] if _IMAGE.fullmatch(image):
            return question, answer, image
        case [question, answer] if len(images := set(_IMAGE.findall(question))) == 1:
            return question, answer, images.pop()
    reason = f"the record has {len(lines)} lines that are not a question, its answer and one image"
    fix = "Write question, answer and image in a line each, or question and answer with the image in the question."
    raise MalformedRecord("record_malformed", reason, fix)


def _recognize(sample: Sample) -> Recognition | None:
    lines = [line.strip() for line in sample.start.splitlines()[:_FIRST_LINES]]
    whole = sum(bool(_IMAGE_LINE.fullmatch(line)) for line in lines)
    inside = sum(bool(_IMAGE_LINE.search(line)) for line in lines)
    if whole and 4 * whole >= len(lines):
        return claim_by_name(sample, 1.0)
    return claim_by_name(sample, 0.8) if sample.layout == "text" and inside and 3 * inside >= len(lines) else None


DAQUAR = RecordsFormat(_in_groups, TypeAdapter(_Lines), _ask, _recognize)
