"""`vqa_v2`: the official two-file form of VQA v1 and v2, and the many data sets distributed in it.

A questions file `{…, "data_subtype", "questions": [{question_id, image_id, question}]}` and an annotations file
`{…, "annotations": [{question_id, answers: [{answer, answer_id, answer_confidence}], question_type, answer_type}]}`.
`multiple_choice_answer` is not read: in many such files it is merely the first answer.

Source: https://visualqa.org/download.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, with_config
from typing_extensions import NotRequired, TypedDict

from vqa_pipeline.files import open_file
from vqa_pipeline.schemas import AnnotationFields, Answer, Locator, QuestionFields, RawRecord, RecordKind
from vqa_pipeline.sources.formats.files import Paths, find_base, find_folder, find_paths, name_file, reading
from vqa_pipeline.sources.formats.format import MalformedRecord, Parser
from vqa_pipeline.sources.json_records import read_scalars, split_array
from vqa_pipeline.sources.settings import SourcePath, SourceSettings, SplitColumn, Splits

DEFAULT_PATTERN = "COCO_{data_subtype}_{image_id:012d}.jpg"
_FIELD = re.compile(r"\{(image_id(?::0\d{1,2}d)?|data_subtype)\}")
_SPLIT_OF_SUBTYPE = {"train": "train", "val": "val", "test": "test"}

_Id = Annotated[int, Field(strict=True)] | Annotated[str, Field(strict=True, min_length=1)]
_Text = Annotated[str, Field(strict=True)]


@with_config({"extra": "allow"})
class _Question(TypedDict):
    question_id: _Id
    image_id: _Id
    question: _Text


@with_config({"extra": "ignore"})
class _Answer(TypedDict):
    answer: _Text
    answer_id: NotRequired[Annotated[int, Field(strict=True)] | None]
    answer_confidence: NotRequired[_Text | None]


@with_config({"extra": "ignore"})
class _Annotation(TypedDict):
    question_id: _Id
    answers: list[_Answer]
    question_type: NotRequired[_Text | None]
    answer_type: NotRequired[_Text | None]


_QUESTION: TypeAdapter[_Question] = TypeAdapter(_Question)
_ANNOTATION: TypeAdapter[_Annotation] = TypeAdapter(_Annotation)


def _check_pattern(pattern: str) -> str:
    rest = _FIELD.sub("", pattern)
    if "{" in rest or "}" in rest or "image_id" not in pattern:
        raise ValueError("may hold {image_id}, {image_id:012d} and {data_subtype}, the first or second at least once")
    return pattern


class VqaV2Source(SourceSettings):
    """The official VQA form: a questions file and an annotations file, joined on question_id."""

    format: Literal["vqa_v2"]
    questions: Paths = Field(description="Questions files or globs; gzip is recognised by content.")
    annotations: Paths | None = Field(None, description="Annotations files or globs; null: unanswered questions.")
    image_root: SourcePath | None = Field(None, description="Folder of the images.")
    image_pattern: Annotated[str, AfterValidator(_check_pattern)] = Field(
        DEFAULT_PATTERN, description="Name of an image by {image_id} and {data_subtype}; for ids that are numbers."
    )
    data_subtype: str | None = Field(
        None, pattern=r"^[\w-]+$", description="Such as train2014, where the questions file does not say it."
    )
    splits: Splits = Field(
        "declared", description="declared: by data_subtype (train2014, val2014, test2015, …); or as for every source."
    )


class VqaV2Format:
    """Records of kind `question` and `annotation`, streamed from their files."""

    def find_files(self, settings: VqaV2Source, root: Path) -> list[Path]:
        """Questions files, then annotations files."""
        return [path for _, paths in self._find(settings, root) for path in paths]

    def find_image_root(self, settings: VqaV2Source, root: Path) -> Path | None:
        """The folder that `image_root` names."""
        return find_folder(settings.name, "image_root", settings.image_root, root)

    def read(self, settings: VqaV2Source, root: Path) -> Iterator[RawRecord]:
        """Every question, then every annotation."""
        base = find_base(self.find_files(settings, root), self.find_image_root(settings, root))
        for setting, paths in self._find(settings, root):
            kind: RecordKind = "question" if setting == "questions" else "annotation"
            for path in paths:
                with reading(settings.name, setting, path), open_file(path) as file:
                    for number, part in enumerate(split_array(file, setting)):
                        locator = Locator(name_file(path, base), number, byte_offset=part.byte_offset)
                        yield RawRecord(kind, part.payload, locator)

    def build_parser(self, settings: VqaV2Source, root: Path) -> Parser:
        """The function from a question or annotation to its fields; image names need each file's data_subtype."""
        subtypes = self._read_subtypes(settings, root)
        namers = {name: _build_namer(settings.image_pattern, subtype) for name, subtype in subtypes.items()}
        split_of = partial(_find_split, settings.splits, subtypes)

        def parse(raw: RawRecord) -> QuestionFields | AnnotationFields:
            if raw.kind == "annotation":
                return _parse_annotation(raw.payload)
            question = _QUESTION.validate_json(raw.payload)
            return QuestionFields(
                native_id=question["question_id"],
                image=namers[raw.locator.file](question["image_id"]),
                question=question["question"],
                split=split_of(raw.locator.file, question),
                question_type=None,
                answer_type=None,
                answers=None,
            )

        return parse

    def _find(self, settings: VqaV2Source, root: Path) -> list[tuple[Literal["questions", "annotations"], list[Path]]]:
        questions = find_paths(settings.name, "questions", settings.questions, root)
        if settings.annotations is None:
            return [("questions", questions)]
        return [
            ("questions", questions),
            ("annotations", find_paths(settings.name, "annotations", settings.annotations, root)),
        ]

    def _read_subtypes(self, settings: VqaV2Source, root: Path) -> dict[str, str | None]:
        base = find_base(self.find_files(settings, root), self.find_image_root(settings, root))
        subtypes: dict[str, str | None] = {}
        for path in find_paths(settings.name, "questions", settings.questions, root):
            subtype: Any = settings.data_subtype
            if subtype is None:
                with reading(settings.name, "questions", path), open_file(path) as file:
                    subtype = read_scalars(file).get("data_subtype")
            subtypes[name_file(path, base)] = subtype if isinstance(subtype, str) else None
        return subtypes


def _parse_annotation(payload: bytes) -> AnnotationFields:
    annotation = _ANNOTATION.validate_json(payload)
    answers = [
        Answer(answer=a["answer"], answer_id=a.get("answer_id"), answer_confidence=a.get("answer_confidence"))
        for a in annotation["answers"]
    ]
    return AnnotationFields(
        native_id=annotation["question_id"],
        question_type=annotation.get("question_type"),
        answer_type=annotation.get("answer_type"),
        answers=answers,
    )


def _build_namer(pattern: str, subtype: str | None) -> Callable[[int | str], str]:
    """The function from image_id to file name; ids that are texts are names already (VizWiz, TextVQA)."""
    if subtype is not None and subtype.startswith("test-dev"):
        subtype = subtype.removeprefix("test-dev").join(("test", ""))  # test-dev2015 shows the images of test2015

    def name_image(image_id: int | str) -> str:
        if isinstance(image_id, str):
            return image_id
        if "{data_subtype}" in pattern and subtype is None:
            reason = f"the image's name is {pattern}, but the file has no data_subtype"
            raise MalformedRecord("image_name_unknown", reason, "Set `data_subtype` or `image_pattern` of the source.")
        return _FIELD.sub(lambda field: _format_field(field.group(1), image_id, subtype), pattern)

    return name_image


def _format_field(field: str, image_id: int, subtype: str | None) -> str:
    name, _, width = field.partition(":")
    if name == "data_subtype":
        return str(subtype)
    return str(image_id).zfill(int(width.rstrip("d"))) if width else str(image_id)


def _find_split(splits: Splits, subtypes: dict[str, str | None], file: str, question: _Question) -> str | None:
    if isinstance(splits, SplitColumn):
        value = dict(question).get(splits.column)
        if not isinstance(value, str):
            reason = f"`{splits.column}` holds no split ({value!r:.40})"
            raise MalformedRecord("split_unknown", reason, "Write train, val or test into it.")
        return value
    if splits != "declared":
        return None
    subtype = subtypes[file] or ""
    declared = next((split for start, split in _SPLIT_OF_SUBTYPE.items() if subtype.startswith(start)), None)
    if declared is None:
        reason = f"data_subtype {subtype or 'is missing and'!r} names no split"
        raise MalformedRecord("split_unknown", reason, "Set `splits` of the source: train, val, test or by_image.")
    return declared
