"""`vqa_v2`: the official two-file form of VQA v1 and v2, and the many data sets distributed in it.

A questions file `{…, "data_subtype", "questions": [{question_id, image_id, question}]}` and an annotations file
`{…, "annotations": [{question_id, answers: [{answer, answer_id, answer_confidence}], question_type, answer_type}]}`.
`multiple_choice_answer` is not read: in many such files it is merely the first answer.

Source: https://visualqa.org/download.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NotRequired, cast

from pydantic import AfterValidator, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from vqa_pipeline.schemas import AnnotationFields, Answer, Locator, QuestionFields, RawRecord, RecordKind
from vqa_pipeline.sources.formats.files import (
    Paths,
    find_base,
    find_image_root,
    find_paths,
    name_file,
    open_rows,
    read_each,
    reading,
)
from vqa_pipeline.sources.formats.format import MalformedRecord, Parser, Recognition, Sample
from vqa_pipeline.sources.json_records import Scalar, read_scalars, split_array
from vqa_pipeline.sources.settings import SourcePath, SourceSettings, SplitColumn, Splits
from vqa_pipeline.sources.split_words import find_split_word

DEFAULT_PATTERN = "COCO_{data_subtype}_{image_id:012d}.jpg"
ABSTRACT_PATTERN = "abstract_v002_{data_subtype}_{image_id:012d}.png"
_SUBTYPE = re.compile(r"[\w-]+")
_FIELD = re.compile(r"\{(image_id(?::0\d{1,2}d)?|data_subtype)\}")
_NAMES_KEPT = 1024  # the questions of an image stand together

_Id = Annotated[int, Field(strict=True)] | Annotated[str, Field(strict=True, min_length=1)]
_Text = Annotated[str, Field(strict=True)]
_AnswerId = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]


@with_config({"extra": "allow"})
class _Question(TypedDict):
    question_id: _Id
    image_id: _Id
    question: _Text
    rephrasing_of: NotRequired[_Id | None]


@with_config({"extra": "ignore"})
class _Answer(TypedDict):
    answer: _Text
    answer_id: NotRequired[_AnswerId | None]
    answer_confidence: NotRequired[_Text | None]


@with_config({"extra": "ignore"})
class _Annotation(TypedDict):
    question_id: _Id
    answers: list[_Answer]
    question_type: NotRequired[_Text | None]
    answer_type: NotRequired[_Text | None]


_NUM_ANSWER_FIELDS = len(Answer.__annotations__)
_NUM_QUESTION_FIELDS = 3  # of most questions: nothing else is looked for in them
# the adapters' validators themselves: called millions of times
_QUESTION = TypeAdapter(_Question).validator
_ANNOTATION = TypeAdapter(_Annotation).validator


def _check_pattern(pattern: str) -> str:
    rest = _FIELD.sub("", pattern)
    if "{" in rest or "}" in rest or "image_id" not in pattern:
        raise ValueError("may hold {image_id}, {image_id:012d} and {data_subtype}, the first or second at least once")
    return pattern


class VqaV2Source(SourceSettings):
    """The official VQA form: a questions file and an annotations file, joined on question_id."""

    format: Literal["vqa_v2"] = Field(description="Kind of source: vqa_v2.")
    questions: Paths = Field(
        description="Questions files, folders, archives or globs; `v2.zip!/*Questions*` names members."
    )
    annotations: Paths | None = Field(
        None, description="Annotations files, as `questions`; null: unanswered questions."
    )
    image_root: SourcePath | None = Field(None, description="Folder of the images, or a zip or tar archive.")
    image_pattern: Annotated[str, AfterValidator(_check_pattern)] = Field(
        DEFAULT_PATTERN,
        description="An image's file name by {data_subtype} and {image_id}, for numbers and texts, or {image_id:012d}, "
        "for numbers: ids that are texts are then file names already.",
    )
    data_subtype: str | None = Field(
        None,
        pattern=f"^{_SUBTYPE.pattern}$",
        description="Such as train2014, where the questions file does not say it.",
    )
    splits: Splits = Field(
        "declared",
        description="declared (a `split` in each record, else the file's data_subtype: train2014, val2014, test2015), "
        "{column: NAME}, by_image, train, val, test or {list: FILES}.",
    )


class VqaV2Format:
    """Records of kind `question` and `annotation`, streamed from their files."""

    def find_files(self, settings: VqaV2Source, root: Path) -> list[Path]:
        """Questions files, then annotations files."""
        return [path for _, paths in self._find(settings, root) for path in paths]

    def find_image_root(self, settings: VqaV2Source, root: Path) -> Path | None:
        """The folder or archive that `image_root` names."""
        return find_image_root(settings.name, settings.image_root, root)

    def read(self, settings: VqaV2Source, root: Path, most: int | None = None) -> Iterator[RawRecord]:
        """Every question, then every annotation."""
        base = find_base(self.find_files(settings, root), self.find_image_root(settings, root))
        for setting, paths in self._find(settings, root):
            kind: RecordKind = "question" if setting == "questions" else "annotation"
            split = partial(split_array, key=setting)
            for name, number, part in read_each(settings.name, setting, paths, base, split, most):
                yield RawRecord(kind, part.payload, Locator(name, number, None, part.byte_offset))

    def build_parser(self, settings: VqaV2Source, root: Path) -> Parser:
        """The function from a question or annotation to its fields; image names need each file's data_subtype."""
        subtypes = self._read_subtypes(settings, root)
        name_image = lru_cache(_NAMES_KEPT)(partial(_name_image, settings.image_pattern))
        find_split = partial(_find_split, settings.splits)

        def parse(raw: RawRecord) -> QuestionFields | AnnotationFields:
            if raw.kind == "annotation":
                return _parse_annotation(raw.payload)
            question: _Question = _QUESTION.validate_json(raw.payload)
            subtype = subtypes[raw.locator.file]
            return QuestionFields(
                native_id=question["question_id"],
                image=name_image(subtype, question["image_id"]),
                question=question["question"],
                split=find_split(subtype, question),
                question_type=None,
                answer_type=None,
                answers=None,
                paraphrase_of=_find_original(question),
            )

        return parse

    def recognize(self, sample: Sample) -> Recognition | None:
        """An object with `questions` or `annotations`; both halves of a source tell the same `data_subtype`."""
        keys = ("questions", "annotations")
        kind = next((key for key in keys if isinstance(sample.fields.get(key), list)), None)
        wanted = {"question_id", *(("image_id", "question") if kind == "questions" else ("answers",))}
        records = [record for record in sample.records if isinstance(record, dict) and wanted <= record.keys()]
        if kind is None or 2 * len(records) <= len(sample.records):
            return None
        subtype = sample.fields.get("data_subtype")
        told = {"data_subtype": subtype} if isinstance(subtype, str) and _SUBTYPE.fullmatch(subtype) else {}
        guessed = _guess_settings(sample, records, told.get("data_subtype")) if kind == "questions" else {}
        return Recognition(0.9, {kind: sample.name, **told, **guessed})

    def _find(self, settings: VqaV2Source, root: Path) -> list[tuple[Literal["questions", "annotations"], list[Path]]]:
        questions = self._find_questions(settings, root)
        if settings.annotations is None:
            return [("questions", questions)]
        name, corrections = settings.name, settings.corrections
        annotations = find_paths(name, "annotations", settings.annotations, root, without=corrections)
        return [("questions", questions), ("annotations", annotations)]

    def _find_questions(self, settings: VqaV2Source, root: Path) -> list[Path]:
        return find_paths(settings.name, "questions", settings.questions, root, without=settings.corrections)

    def _read_subtypes(self, settings: VqaV2Source, root: Path) -> dict[str, str | None]:
        base = find_base(self.find_files(settings, root), self.find_image_root(settings, root))
        subtypes: dict[str, str | None] = {}
        for path in self._find_questions(settings, root):
            subtype: Scalar = settings.data_subtype
            if subtype is None and _needs_subtype(settings):
                with reading(settings.name, "questions", path), open_rows(path) as file:
                    subtype = read_scalars(file).get("data_subtype")
            subtypes[name_file(path, base)] = subtype if isinstance(subtype, str) else None
        return subtypes


def _guess_settings(sample: Sample, questions: Sequence[Mapping[str, Any]], subtype: str | None) -> dict[str, Any]:
    """How images are named and where the split stands, where it is not as in the official files."""
    guessed: dict[str, Any] = {}
    first = questions[0]["image_id"]
    if isinstance(first, str):
        guessed |= {} if PurePosixPath(first).suffix else {"image_pattern": "{image_id}.jpg"}
    elif subtype is None:
        guessed |= {"image_pattern": "{image_id:012d}.jpg"}
    elif str(sample.fields.get("data_type")).startswith("abstract"):
        guessed |= {"image_pattern": ABSTRACT_PATTERN}
    if any(isinstance(question.get("split"), str) for question in questions):
        guessed |= {"splits": {"column": "split"}}
    elif not find_split_word(subtype or ""):
        guessed |= {"splits": find_split_word(sample.name) or "by_image"}
    return guessed


def _needs_subtype(settings: VqaV2Source) -> bool:
    """Looking for it means going through the whole file."""
    return settings.splits == "declared" or "{data_subtype}" in settings.image_pattern


def _parse_annotation(payload: bytes) -> AnnotationFields:
    annotation: _Annotation = _ANNOTATION.validate_json(payload)
    return AnnotationFields(
        native_id=annotation["question_id"],
        question_type=annotation.get("question_type"),
        answer_type=annotation.get("answer_type"),
        answers=_fill(annotation["answers"]),
    )


def _fill(answers: list[_Answer]) -> list[Answer]:
    """The answers with nothing missing; most have it all, and are what they should be already."""
    if sum(map(len, answers)) == _NUM_ANSWER_FIELDS * len(answers):
        return cast("list[Answer]", answers)
    return [
        Answer(answer=one["answer"], answer_id=one.get("answer_id"), answer_confidence=one.get("answer_confidence"))
        for one in answers
    ]


def _name_image(pattern: str, subtype: str | None, image_id: int | str) -> str:
    """An image's file name; ids that are texts (VizWiz, TextVQA) are names already, unless the pattern takes texts."""
    if isinstance(image_id, str) and "{image_id}" not in pattern:
        return image_id
    if "{data_subtype}" in pattern and subtype is None:
        reason = f"the image's name is {pattern}, but the file has no data_subtype"
        raise MalformedRecord("image_name_unknown", reason, "Set `data_subtype` or `image_pattern` of the source.")
    return _FIELD.sub(lambda field: _format_field(field.group(1), image_id, subtype), pattern)


def _format_field(field: str, image_id: int | str, subtype: str | None) -> str:
    name, _, width = field.partition(":")
    if name == "image_id":
        return str(image_id).zfill(int(width.rstrip("d"))) if width else str(image_id)
    subtype = str(subtype)
    # test-dev2015 asks about some of the images of test2015
    return "test" + subtype.removeprefix("test-dev") if subtype.startswith("test-dev") else subtype


def _find_original(question: _Question) -> str | None:
    """The question that this one rephrases, as VQA-Rephrasings tells it; the original itself tells nothing."""
    original = question.get("rephrasing_of") if len(question) > _NUM_QUESTION_FIELDS else None
    return None if original is None else str(original)


def _find_split(splits: Splits, subtype: str | None, question: _Question) -> str | None:
    if isinstance(splits, SplitColumn):
        value = dict(question).get(splits.column)
        if isinstance(value, str):
            return value
        reason = f"`{splits.column}` holds no split ({value!r:.40})"
        raise MalformedRecord("split_unknown", reason, "Write train, val or test into it.")
    return _find_declared_split(subtype, question) if splits == "declared" else None


@lru_cache
def _read_subtype_split(subtype: str | None) -> str | None:
    return find_split_word(subtype or "")


def _find_declared_split(subtype: str | None, question: _Question) -> str:
    own = dict(question).get("split") if len(question) > _NUM_QUESTION_FIELDS else None
    if isinstance(own, str):
        return own
    declared = _read_subtype_split(subtype)
    if declared:
        return declared
    told = f"its file's data_subtype is {subtype!r}" if subtype else "its file has no data_subtype"
    reason = f"the record has no `split`, and {told}, which names no split"
    raise MalformedRecord("split_unknown", reason, "Set `splits` of the source: train, val, test or by_image.")
