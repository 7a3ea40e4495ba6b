"""What a folder or file is as a source, learned in seconds: counts, first rows, images, the problems to expect.

Reads beginnings only: the first records of each file go through the validator that curation uses, and a few images are
decoded. What it counts beyond what it read is an estimate and says so. Writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic import ValidationError

from vqa_pipeline.curation.findings import (
    Count,
    FirstRow,
    InspectedSource,
    Inspection,
    Problem,
    UnknownFile,
)
from vqa_pipeline.curation.image_checks import VERDICTS
from vqa_pipeline.curation.image_inspection import look_for_images, place_path, search_image_root
from vqa_pipeline.curation.image_roots import EmbeddedImages, HeldImages, ImageRoot, open_image_root
from vqa_pipeline.curation.merge import merge_bucket
from vqa_pipeline.curation.records import build_table
from vqa_pipeline.curation.resolution import MENDS
from vqa_pipeline.curation.validation import validate_records
from vqa_pipeline.errors import SettingsError, SourceError
from vqa_pipeline.schemas import ANNOTATION_RECORDS, QUESTION_RECORDS, Locator, RawRecord, RecordKind, Reject
from vqa_pipeline.sources.containers import measure_file
from vqa_pipeline.sources.formats import Source, get_format
from vqa_pipeline.sources.formats.files import find_base, name_file
from vqa_pipeline.sources.formats.split_lists import is_split_list
from vqa_pipeline.sources.image_search import has_image_suffix
from vqa_pipeline.sources.recognition import (
    NO_FORMAT,
    Draft,
    Recognized,
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
_MOST_BYTES = 64 << 20
"""Of records that are read of a source, about."""

_UNKNOWN_BYTES = 1 << 20
"""Taken for the length of a record where it cannot be told, as in archives of images, if the file is as long."""

_DECODED = 24
_SHOWN = 3
_SHOWN_FIELDS = 12
_SPLIT_LIST = "a split list: name it in the `splits: {list: FILES}` of the source that it is about"
_DATA_LAYOUTS = {"list", "object", "lines", "delimited", "parquet", "archive"}


_TABLES: dict[RecordKind, pa.Schema] = {"question": QUESTION_RECORDS, "annotation": ANNOTATION_RECORDS}
_NO_VERDICTS = pa.schema([*VERDICTS, pa.field("identity", pa.string()), pa.field("group", pa.string())]).empty_table()
_REPEATS = {"answers_in_rows", "duplicate_row", "duplicate_id", "duplicate_annotation", "annotation_conflict"}
"""Rules that a beginning can show; whether a row's other half is there only the whole can tell."""


class _Reading(NamedTuple):
    """What the beginnings of a source's files hold."""

    raws: list[RawRecord]
    rows: dict[RecordKind, list[dict[str, Any]]]
    rejects: list[Reject]
    error: str | None
    most: int
    """Records of each file, at most."""
    embedded: dict[str, bytes]
    """The first few of the images that the files hold, by their references."""
    passed_over: set[str]
    """References of the others."""


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
    found, passed_over = recognize_files(looked_at)
    sources: list[InspectedSource] = []
    unknown: list[UnknownFile] = []
    drafts = draft_sources(found)
    for draft in drafts:
        told = to_name(path.name.partition(".")[0]) if len(drafts) == 1 else draft.name()
        name = _find_free_name(told, {source.settings["name"] for source in sources})
        settings = draft.build_settings(name, looked_at, lambda name: place_path(tree.folder / name, project))
        try:
            source = validate_settings(settings)
        except ValidationError as error:
            unknown += [_describe_unknown(file, _explain_incomplete(draft, error)) for file in draft.sampled.values()]
        else:
            sources.append(_inspect_source(draft, source, settings, tree, project))
    unknown += [_describe_unknown(one.file, _explain_unknown(one)) for one in found if one.format is None]
    return Inspection(
        path=str(path),
        num_files=len(looked_at.names),
        num_passed_over=len(passed_over),
        num_images=sum(map(has_image_suffix, tree.names)),
        is_whole=tree.is_whole,
        sources=tuple(sources),
        unknown=tuple(file for file in unknown if file.layout in _DATA_LAYOUTS or file.reason != NO_FORMAT),
    )


def _arrange(settings: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """The settings in the order in which people read them: what it is, its files and images, its splits."""
    fields = [field for field in type(source).model_fields if field not in {"name", "format", "splits"}]
    return {name: settings[name] for name in ("name", "format", *fields, "splits") if name in settings}


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


def _explain_unknown(one: Recognized) -> str:
    return _SPLIT_LIST if is_split_list(one.file.sample) else one.reason


def _describe_unknown(file: SampledFile, reason: str) -> UnknownFile:
    first = next((record for record in file.sample.records if isinstance(record, dict)), file.sample.fields)
    fields = tuple(map(str, first))[:_SHOWN_FIELDS]
    layout, name = file.sample.layout, file.sample.name
    return UnknownFile(name=name, num_bytes=file.size, layout=layout, fields=fields, reason=reason)


def _inspect_source(
    draft: Draft, source: Source, settings: dict[str, Any], tree: Tree, project: Path
) -> InspectedSource:
    most = _choose_most(draft)
    if "image_root" in type(source).model_fields:
        root = search_image_root(source, project, most, tree)
        settings |= {} if root is None else {"image_root": root}
        source = validate_settings(settings)
    reading = _read(source, project, most)
    questions = reading.rows["question"]
    asked = [row["image"] for row in questions if row["image"] not in reading.passed_over]
    images = look_for_images(source.name, _find_images(source, project, reading.embedded), asked, project)
    repairs = images.mends + Counter(mend["kind"] for row in questions for mend in row["repairs"])
    files = [] if reading.error else get_format(source).find_files(source, project)
    count = partial(_count, draft, reading, _locate(source, project, files))
    return InspectedSource(
        settings=_arrange(settings, source),
        certainty=draft.certainty,
        num_files=len(files),
        num_bytes=sum(map(measure_file, files)),
        num_questions=count("question"),
        num_annotations=count("annotation"),
        num_read=len(reading.raws),
        first_rows=tuple(_list_first_rows(reading)),
        images=images.search,
        problems=(*_describe_rejects(reading), *_describe_repeats(source.name, reading), *images.problems),
        repairs=dict(sorted(repairs.items())),
        error=reading.error,
    )


def _choose_most(draft: Draft) -> int:
    """Records to read of each file: fewer where files are many, or records long, as with images in them."""
    num_files = sum(map(len, draft.places.values()))
    estimates = [(file.size, file.estimate_records()) for file in draft.sampled.values()]
    longest = max(
        (size / records if records else min(size, _UNKNOWN_BYTES) for size, records in estimates), default=1.0
    )
    return max(_FEWEST_ROWS, min(_ROWS, int(_MOST_BYTES / max(1, longest))) // num_files)


# ------------------------------------------------------------------------------------------------------------- records


def _read(source: Source, project: Path, most: int) -> _Reading:
    """The first records of each file, validated; an error of a whole file ends it and is told."""
    reading = _Reading([], {"question": [], "annotation": []}, [], None, most, {}, set())
    try:
        for whole, outcome in islice(validate_records(source, project, most), _MOST_ROWS):
            raw = whole._replace(image=None)
            reading.raws.append(raw)
            if whole.image is not None and len(reading.embedded) < _DECODED:
                reading.embedded[whole.image.sha256] = whole.image.data
            elif whole.image is not None and whole.image.sha256 not in reading.embedded:
                reading.passed_over.add(whole.image.sha256)
            if isinstance(outcome, Reject):
                reading.rejects.append(outcome._replace(raw=raw))
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


def _build_records(source: str, reading: _Reading, kind: RecordKind) -> pa.Table:
    """The records read as the plan takes them."""
    rows = reading.rows[kind]
    table = build_table(rows, _TABLES[kind]) if rows else _TABLES[kind].empty_table()
    return table.append_column("source", pa.array([source] * len(rows), pa.string()))


def _describe_repeats(source: str, reading: _Reading) -> Iterator[Problem]:
    """The rules that tell rows apart which ask or answer the same, as far as the records read show it."""
    questions, annotations = (_build_records(source, reading, kind) for kind in _TABLES)
    merged = merge_bucket(questions, annotations, _NO_VERDICTS, MENDS.empty_table(), images_required=False)
    rejects = merged.rejects.to_pylist()
    counts = Counter(row["rule"] for row in rejects if row["rule"] in _REPEATS)
    for rule, count in counts.most_common():
        first = next(row for row in rejects if row["rule"] == rule)
        yield Problem(
            rule=rule,
            count=count,
            looked_at=len(reading.raws),
            unit="records",
            place=str(Locator(**first["locator"])),
            reason=first["reason"],
            fix=first["fix"],
            raw=first["raw"].decode("utf-8", "backslashreplace"),
        )


def _find_root(source: Source, project: Path) -> Path | None:
    try:
        return get_format(source).find_image_root(source, project)
    except SourceError:
        return None


def _find_images(source: Source, project: Path, embedded: Mapping[str, bytes]) -> ImageRoot | None:
    beside = open_image_root(_find_root(source, project))
    return EmbeddedImages(HeldImages(embedded), beside) if embedded else beside
