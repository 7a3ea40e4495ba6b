"""`nlvr2`: NLVR2, statements about two pictures: JSON Lines in files named `.json`.

A question here is about one image, so every record is rejected, with the two pictures named. The format is there so
that whoever brings such a file learns why at once.

Source: https://github.com/lil-lab/nlvr/tree/master/nlvr2
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from vqa_pipeline.schemas import Locator, QuestionFields
from vqa_pipeline.sources.formats.format import MalformedRecord, Recognition, Sample
from vqa_pipeline.sources.formats.records import RecordsFormat, RecordsSource, claim, hold, in_lines
from vqa_pipeline.sources.settings import ImageSplits


class _Statement(TypedDict):
    identifier: str
    sentence: str


class Nlvr2Source(RecordsSource):
    """NLVR2: statements about two pictures, none of which can be a question about one."""

    format: Literal["nlvr2"] = Field(description="Kind of source: nlvr2.")
    splits: ImageSplits = Field("by_image", description="by_image, train, val, test or {list: FILES}.")


def _ask(_settings: Nlvr2Source, statement: _Statement, _locator: Locator) -> list[QuestionFields]:
    pictures, _, _ = statement["identifier"].rpartition("-")  # dev-896-0-1 is a sentence about the pictures dev-896-0
    reason = f"it is a statement about two images, {pictures}-img0.png and {pictures}-img1.png"
    raise MalformedRecord("images_several", reason, "Leave this source out: a question is about one image here.")


def _recognize(sample: Sample) -> Recognition | None:
    is_form = sample.layout == "lines" and hold(sample, "identifier", "sentence", "left_url", "right_url")
    return claim(sample, 1.0) if is_form else None


NLVR2 = RecordsFormat(in_lines, TypeAdapter(_Statement), _ask, _recognize)
