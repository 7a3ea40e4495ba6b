"""`easy_vqa`: the easy-VQA release: `questions.json` with positional [question, answer, image id], and `images/`.

Source: https://github.com/vzhou842/easy-VQA
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from vqa_pipeline.schemas import Answer, Locator, QuestionFields, RawRecord
from vqa_pipeline.sources.formats.files import find_base, find_folder, find_paths, read_each
from vqa_pipeline.sources.formats.format import Parser, Recognition, Sample
from vqa_pipeline.sources.json_records import split_array
from vqa_pipeline.sources.settings import ImageSplits, SourcePath, SourceSettings
from vqa_pipeline.sources.split_words import find_split_word

_Triple = tuple[
    Annotated[str, Field(strict=True)], Annotated[str, Field(strict=True)], Annotated[int, Field(strict=True, ge=0)]
]
_TRIPLE: TypeAdapter[_Triple] = TypeAdapter(_Triple)


class EasyVqaSource(SourceSettings):
    """The easy-VQA release: questions about one coloured shape per picture."""

    format: Literal["easy_vqa"] = Field(description="Kind of source: easy_vqa.")
    folder: SourcePath = Field(description="Folder with `questions.json` and `images/`, such as easy_vqa/train.")
    splits: ImageSplits = Field(
        "by_image", description="by_image (a pure function of the image), train, val, test or {list: FILES}."
    )


class EasyVqaFormat:
    """A JSON list of [question, answer, image id]; a picture is `images/<image id>.png`."""

    def find_files(self, settings: EasyVqaSource, root: Path) -> list[Path]:
        """`questions.json` in the folder."""
        find_folder(settings.name, "folder", settings.folder, root)
        return find_paths(settings.name, "folder", f"{settings.folder}/questions.json", root)

    def find_image_root(self, settings: EasyVqaSource, root: Path) -> Path | None:
        """`images/` in the folder."""
        return find_folder(settings.name, "folder", f"{settings.folder}/images", root)

    def read(self, settings: EasyVqaSource, root: Path, most: int | None = None) -> Iterator[RawRecord]:
        """One record per triple."""
        paths = self.find_files(settings, root)
        base = find_base(paths, self.find_image_root(settings, root))
        for name, number, part in read_each(settings.name, "folder", paths, base, split_array, most):
            yield RawRecord("question", part.payload, Locator(name, number, None, part.byte_offset))

    def build_parser(self, settings: EasyVqaSource, root: Path) -> Parser:  # noqa: ARG002 - every format is given both
        """A triple has no id of its own: its position changes when the file is re-ordered."""

        def parse(raw: RawRecord) -> QuestionFields:
            question, answer, image_id = _TRIPLE.validate_json(raw.payload)
            return QuestionFields(
                native_id=None,
                image=f"{image_id}.png",
                question=question,
                split=None,
                question_type=None,
                answer_type=None,
                answers=[Answer(answer=answer, answer_id=1, answer_confidence=None)],
            )

        return parse

    def recognize(self, sample: Sample) -> Recognition | None:
        """A list of triples in a `questions.json`; the folder is its own."""
        path = PurePosixPath(sample.name)
        if path.name != "questions.json" or sample.layout != "list" or not sample.records:
            return None
        try:
            for record in sample.records:
                _TRIPLE.validate_python(record)
        except ValidationError:
            return None
        split = find_split_word(sample.name)
        return Recognition(1.0, {"folder": str(path.parent), **({"splits": split} if split else {})})
