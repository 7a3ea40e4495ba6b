"""`visual_genome`: the question-answer pairs of Visual Genome: a JSON list of images, each with its `qas`.

Answers stay as they are written, with a capital and a full stop ("A teddy bear."): scoring normalizes both sides. The
images come in two folders, and no record says in which one `<image_id>.jpg` lies: it is looked up.

Source: https://homes.cs.washington.edu/~ranjay/visualgenome/api.html
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from vqa_pipeline.schemas import Locator, QuestionFields, RawRecord
from vqa_pipeline.sources.archives import keep_open
from vqa_pipeline.sources.formats.format import Recognition, Sample
from vqa_pipeline.sources.formats.records import (
    Asked,
    QuestionParser,
    RecordsFormat,
    RecordsSource,
    ask_each,
    claim,
    hold,
    in_list,
    take_answers,
)
from vqa_pipeline.sources.settings import ImageSplits, SourcePath


class _Image(TypedDict):
    qas: list[Any]


class _Question(TypedDict):
    qa_id: int
    image_id: int
    question: str
    answer: NotRequired[str | None]


_QUESTION = TypeAdapter(_Question)


class VisualGenomeSource(RecordsSource):
    """Visual Genome: free questions about regions of images, several on each."""

    format: Literal["visual_genome"] = Field(description="Kind of source: visual_genome.")
    image_folders: tuple[SourcePath, ...] = Field(
        ("VG_100K", "VG_100K_2"), description="Folders below `image_root` that the images are looked for in."
    )
    splits: ImageSplits = Field("by_image", description="by_image, train, val, test or {list: FILES}.")


class VisualGenomeFormat(RecordsFormat[VisualGenomeSource, _Image]):
    """Questions of an image's `qas`; an image in none of the folders is looked for in `image_root` itself."""

    def build_parser(self, settings: VisualGenomeSource, root: Path) -> QuestionParser:
        """The function from a row to its fields; it knows which images lie in which folder."""
        parse_question = super().build_parser(settings, root)
        image_root = self.find_image_root(settings, root)
        places = dict(_list_images(image_root, settings.image_folders)) if image_root else {}

        def parse(raw: RawRecord) -> QuestionFields:
            fields = parse_question(raw)
            return fields | {"image": places.get(fields["image"], fields["image"])}

        return parse


def _list_images(image_root: Path, folders: tuple[SourcePath, ...]) -> Iterator[tuple[str, str]]:
    """Each image's name, and the name with its folder, in a folder or an archive."""
    members = keep_open(image_root).members if image_root.is_file() else ()
    for folder in folders:
        yield from ((name.removeprefix(f"{folder}/"), name) for name in members if name.startswith(f"{folder}/"))
        if (image_root / folder).is_dir():
            for name in os.listdir(image_root / folder):  # noqa: PTH208 - a hundred thousand names, not as many paths
                yield name, f"{folder}/{name}"


def _ask(_settings: VisualGenomeSource, image: _Image, _locator: Locator) -> list[Asked]:
    return ask_each(image["qas"], _ask_one)


def _ask_one(item: Any) -> QuestionFields:
    question = _QUESTION.validate_python(item, strict=True)
    answer = question.get("answer")
    return QuestionFields(
        native_id=question["qa_id"],
        image=f"{question['image_id']}.jpg",
        question=question["question"],
        split=None,
        question_type=None,
        answer_type=None,
        answers=None if answer is None else take_answers(answer),
    )


def _recognize(sample: Sample) -> Recognition | None:
    return claim(sample, 1.0) if sample.layout == "list" and hold(sample, "qas") else None


VISUAL_GENOME = VisualGenomeFormat(in_list(), TypeAdapter(_Image), _ask, _recognize)
