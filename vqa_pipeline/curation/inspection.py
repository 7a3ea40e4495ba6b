"""What a folder or file is as a source, learned in seconds: counts, first rows, images, the problems to expect.

Reads beginnings only: the first records of each file go through the validator that curation uses, and a few images are
decoded. What it counts beyond what it read is an estimate and says so. Writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from pydantic import Field, ValidationError

from vqa_pipeline.curation.image_checks import check_images
from vqa_pipeline.curation.paths import resolve_reference
from vqa_pipeline.curation.validation import validate_records
from vqa_pipeline.errors import SettingsError, SourceError
from vqa_pipeline.schemas import Frozen, QuestionFields, RawRecord, RecordKind, Reject
from vqa_pipeline.sources.columns import has_image_suffix
from vqa_pipeline.sources.formats import Source, get_format
from vqa_pipeline.sources.formats.files import find_base, name_file
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.image_search import find_image_root
from vqa_pipeline.sources.recognition import (
    Draft,
    Tree,
    draft_sources,
    list_tree_near,
    recognize_files,
    to_name,
    validate_settings,
)
from vqa_pipeline.sources.samples import SampledFile

_ROWS = 2000
"""Records that are read of a source, over all its files."""

_FEWEST_ROWS = 20
"""Records of each file, where there are many."""

_MOST_ROWS = 20_000
_LOOKED_FOR = 1000
_DECODED = 24
_SHOWN = 3
_SHOWN_FIELDS = 12
_NAMES_NEAR = 50_000
_DATA_LAYOUTS = {"list", "object", "lines", "delimited", "parquet", "archive"}


class Count(Frozen):
    """A number of records."""

    value: int
    basis: Literal["counted", "estimated", "at_least"] = Field(
        description="counted: all were read; estimated: by beginnings and sizes of files; at_least: so many were read."
    )


class FirstRow(Frozen):
    """A question as curation would read it."""

    question_id: str
    question: str
    image: str
    answers: tuple[str, ...] | None
    split: str | None
    locator: str


class Problem(Frozen):
    """A rule that some of what was looked at broke."""

    rule: str
    count: int
    looked_at: int
    unit: Literal["records", "images"] = Field(description="What was looked at.")
    place: str = Field(description="Of the first one: the record's locator, or the image's reference.")
    reason: str
    fix: str
    raw: str = Field(description="The first one's record; of an image, nothing.")


class ImageSearch(Frozen):
    """Which of the images that records name were found."""

    image_root: str | None = Field(description="The folder they are in; None: none of the names was found.")
    looked_for: int
    found: int
    missing: tuple[str, ...] = Field(description="The first references without a file.")


class InspectedSource(Frozen):
    """A source that files make, and what to expect of it."""

    settings: dict[str, Any] = Field(description="The entry for `sources:`, with paths as the project needs them.")
    certainty: float = Field(description="How surely the format was recognised, in (0, 1].")
    num_files: int
    num_bytes: int
    num_questions: Count
    num_annotations: Count = Field(description="Records of answers kept apart from their questions.")
    num_read: int = Field(description="Records that were read and validated.")
    first_rows: tuple[FirstRow, ...]
    images: ImageSearch
    problems: tuple[Problem, ...]
    repairs: dict[str, int] = Field(description="Mends that would be made to the records read, by kind.")
    error: str | None = Field(description="Why reading it ended early.")


class UnknownFile(Frozen):
    """A file with data that became part of no source."""

    name: str
    num_bytes: int
    layout: str
    fields: tuple[str, ...] = Field(description="Names of its fields or columns, as far as they were seen.")
    reason: str


class Inspection(Frozen):
    """What was found at a path."""

    path: str
    num_files: int
    num_images: int = Field(description="Files that are images by their names.")
    is_whole: bool = Field(description="False: there are more files than were listed.")
    sources: tuple[InspectedSource, ...]
    unknown: tuple[UnknownFile, ...]


class _Reading(NamedTuple):
    """What the beginnings of a source's files hold."""

    raws: list[RawRecord]
    rows: dict[RecordKind, list[dict[str, Any]]]
    rejects: list[Reject]
    error: str | None
    most: int
    """Records of each file, at most."""


def inspect(path: Path, project: Path) -> Inspection:
    """Look at a file or folder as a source of a project.

    Args:
        path: The file or folder.
        project: The folder that relative paths in a declaration start from; what lies outside is named absolutely.

    Raises:
        SettingsError: there is nothing at the path.
        OSError: a file cannot be read.
    """
    path = path.absolute()
    if not path.exists():
        raise SettingsError("PATH", f"there is no {path}", "Name a file or folder that is there.")
    tree = list_tree_near(path if path.is_dir() else path.parent)
    looked_at = tree if path.is_dir() else tree._replace(names=(path.name,))
    found = recognize_files(looked_at)
    sources: list[InspectedSource] = []
    unknown: list[UnknownFile] = []
    drafts = draft_sources(found)
    for draft in drafts:
        told = to_name(path.name.partition(".")[0]) if len(drafts) == 1 else draft.name()
        name = _find_free_name(told, {source.settings["name"] for source in sources})
        settings = draft.build_settings(name, looked_at, partial(_place, tree.folder, project))
        try:
            source = validate_settings(settings)
        except ValidationError as error:
            unknown += [_describe_unknown(file, _explain_incomplete(draft, error)) for file in draft.sampled.values()]
        else:
            sources.append(_inspect_source(draft, source, settings, tree, project))
    unknown += [_describe_unknown(one.file, "no format is known for it") for one in found if one.format is None]
    return Inspection(
        path=str(path),
        num_files=len(looked_at.names),
        num_images=sum(map(has_image_suffix, tree.names)),
        is_whole=tree.is_whole,
        sources=tuple(sources),
        unknown=tuple(file for file in unknown if file.layout in _DATA_LAYOUTS),
    )


def _place(folder: Path, project: Path, name: str) -> str:
    """A path below a folder as a declaration writes it."""
    path = folder / name
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else str(path)


def _find_free_name(name: str, taken: Collection[str]) -> str:
    return next(
        free
        for number in range(1, len(taken) + 2)
        if (free := name if number == 1 else f"{name}_{number}") not in taken
    )


def _explain_incomplete(draft: Draft, error: ValidationError) -> str:
    missing = [str(one["loc"][-1]) for one in error.errors(include_url=False) if one["type"] == "missing"]
    lacks = f" that lacks {', '.join(missing)}" if missing else f" that cannot be: {error.errors()[0]['msg']}"
    return f"{', '.join(draft.places)} of a {draft.format} source{lacks}"


def _describe_unknown(file: SampledFile, reason: str) -> UnknownFile:
    first = next((record for record in file.sample.records if isinstance(record, dict)), file.sample.fields)
    fields = tuple(map(str, first))[:_SHOWN_FIELDS]
    layout, name = file.sample.layout, file.sample.name
    return UnknownFile(name=name, num_bytes=file.size, layout=layout, fields=fields, reason=reason)


def _inspect_source(
    draft: Draft, source: Source, settings: dict[str, Any], tree: Tree, project: Path
) -> InspectedSource:
    most = max(_FEWEST_ROWS, _ROWS // sum(map(len, draft.places.values())))
    if "image_root" in type(source).model_fields:
        root = _search_image_root(list(islice(_list_references(source, project, most), _LOOKED_FOR)), tree, project)
        settings |= {} if root is None else {"image_root": root}
        source = validate_settings(settings)
    reading = _read(source, project, most)
    questions = reading.rows["question"]
    search, image_problems = _look_for_images(source, project, [row["image"] for row in questions])
    files = [] if reading.error else get_format(source).find_files(source, project)
    count = partial(_count, draft, reading, _locate(source, project, files))
    return InspectedSource(
        settings=settings,
        certainty=draft.certainty,
        num_files=len(files),
        num_bytes=sum(path.stat().st_size for path in files),
        num_questions=count("question"),
        num_annotations=count("annotation"),
        num_read=len(reading.raws),
        first_rows=tuple(_list_first_rows(reading)),
        images=search,
        problems=(*_describe_rejects(reading), *image_problems),
        repairs=dict(sorted(Counter(mend["kind"] for row in questions for mend in row["repairs"]).items())),
        error=reading.error,
    )


# ------------------------------------------------------------------------------------------------------------- records


def _read(source: Source, project: Path, most: int) -> _Reading:
    """The first records of each file, validated; an error of a whole file ends it and is told."""
    reading = _Reading([], {"question": [], "annotation": []}, [], None, most)
    try:
        for raw, outcome in islice(validate_records(source, project, most), _MOST_ROWS):
            reading.raws.append(raw)
            if isinstance(outcome, Reject):
                reading.rejects.append(outcome)
            else:
                reading.rows[raw.kind].append(outcome)
    except SourceError as error:
        return reading._replace(error=str(error))
    return reading


def _locate(source: Source, project: Path, files: Sequence[Path]) -> dict[str, Path]:
    """The files by their names in locators."""
    base = find_base(list(files), _find_root(source, project)) if files else project
    return {name_file(path, base): path for path in files}


def _count(draft: Draft, reading: _Reading, files: dict[str, Path], kind: RecordKind) -> Count:
    """Records of a kind: counted where a file was read to its end, else as dense as in its beginning."""
    rows = Counter(raw.locator.file for raw in reading.raws if raw.kind == kind)
    records = Counter(file for file, _ in {(raw.locator.file, raw.locator.record) for raw in reading.raws})
    total, bases = 0.0, {"counted"}
    for name, path in files.items():
        is_cut = records[name] >= reading.most or len(reading.raws) >= _MOST_ROWS
        estimate = draft.estimate_records(path) if is_cut and records[name] else None
        total += rows[name] if estimate is None else rows[name] / records[name] * estimate
        bases.add(("at_least" if estimate is None else "estimated") if is_cut else "counted")
    basis: Any = next(basis for basis in ("at_least", "estimated", "counted") if basis in bases)
    return Count(value=round(total), basis=basis)


def _list_first_rows(reading: _Reading) -> Iterator[FirstRow]:
    answers = {row["question_id"]: row["answers"] for row in reading.rows["annotation"]}
    for row in reading.rows["question"][:_SHOWN]:
        given = row["answers"] or answers.get(row["question_id"])
        yield FirstRow(
            question_id=row["question_id"],
            question=row["question"],
            image=row["image"],
            answers=None if given is None else tuple(answer["answer"] for answer in given),
            split=row["split"],
            locator=str(row["locator"]),
        )


def _describe_rejects(reading: _Reading) -> Iterator[Problem]:
    """The rules that records broke, the most frequent first, each with its first record."""
    counts = Counter(reject.rule for reject in reading.rejects)
    for rule, count in counts.most_common():
        first = next(reject for reject in reading.rejects if reject.rule == rule)
        yield Problem(
            rule=rule,
            count=count,
            looked_at=len(reading.raws),
            unit="records",
            place=str(first.raw.locator),
            reason=first.reason,
            fix=first.fix,
            raw=first.raw.payload.decode("utf-8", "backslashreplace"),
        )


# -------------------------------------------------------------------------------------------------------------- images


def _list_references(source: Source, project: Path, most: int) -> Iterator[str]:
    """The image references of the first records, as the source gives them."""
    try:
        parse = get_format(source).build_parser(source, project)
        for raw in get_format(source).read(source, project, most):
            try:
                if raw.kind == "question":
                    yield cast("QuestionFields", parse(raw))["image"]
            except (MalformedRecord, ValidationError):
                continue  # told when the records are validated
    except SourceError:
        return  # told when the source is read


def _search_image_root(references: Sequence[str], tree: Tree, project: Path) -> str | None:
    """The folder of the images, looked for below what is inspected and then beside it, as a declaration writes it."""
    for near in (tree, list_tree_near(tree.folder.parent, _NAMES_NEAR)):
        root = find_image_root(references, filter(has_image_suffix, near.names))
        if root is not None:
            return _place(near.folder, project, root)
    return None


def _find_root(source: Source, project: Path) -> Path | None:
    try:
        return get_format(source).find_image_root(source, project)
    except SourceError:
        return None


def _look_for_images(source: Source, project: Path, references: Iterable[str]) -> tuple[ImageSearch, list[Problem]]:
    """Which references name a file, and what is wrong with those that do not and with a few of the files."""
    root = _find_root(source, project)
    asked = list(dict.fromkeys(references))[:_LOOKED_FOR]
    if root is None:
        search = ImageSearch(image_root=None, looked_for=len(asked), found=0, missing=tuple(asked[:_SHOWN]))
        return search, []
    missed = {reference: error for reference in asked if (error := _miss(root, reference)) is not None}
    found = [reference for reference in asked if reference not in missed]
    decoded = found[:: max(1, len(found) // _DECODED)][:_DECODED]
    try:
        verdicts = check_images(source.name, root, decoded).to_pylist()
    except SourceError:
        verdicts = []  # of one file, and no verdict on any image
    search = ImageSearch(
        image_root=_place(root, project, ""),
        looked_for=len(asked),
        found=len(found),
        missing=tuple(list(missed)[:_SHOWN]),
    )
    lost = [(reference, error.rule, error.reason, error.fix) for reference, error in missed.items()]
    broken = [
        (row["image"], row["image_rule"], row["image_reason"], row["image_fix"])
        for row in verdicts
        if row["image_rule"]
    ]
    return search, [*_group_images(lost, len(asked)), *_group_images(broken, len(decoded))]


def _miss(root: Path, reference: str) -> MalformedRecord | None:
    """Why a reference names no file; None: it does."""
    try:
        resolve_reference(root, reference)
    except MalformedRecord as error:
        return error
    return None


def _group_images(broken: Sequence[tuple[str, str, str, str]], looked_at: int) -> Iterator[Problem]:
    """The rules that images broke, the most frequent first; each is (reference, rule, reason, fix)."""
    for rule, count in Counter(rule for _, rule, _, _ in broken).most_common():
        place, _, reason, fix = next(one for one in broken if one[1] == rule)
        yield Problem(
            rule=rule, count=count, looked_at=looked_at, unit="images", place=place, reason=reason, fix=fix, raw=""
        )
