"""The images of an inspected source: where they are, which of them are there, and what is wrong with a few of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic import ValidationError

from vqa_pipeline.curation.findings import ImageSearch, Problem
from vqa_pipeline.curation.image_checks import check_images
from vqa_pipeline.curation.image_roots import ImageRoot
from vqa_pipeline.curation.resolution import resolve_references
from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import QuestionFields
from vqa_pipeline.sources.archives import ArchiveError, keep_open
from vqa_pipeline.sources.formats import Source, get_format
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.image_search import find_image_root, has_image_suffix
from vqa_pipeline.sources.recognition import Tree, list_tree_near

_LOOKED_FOR = 1000
_DECODED = 24
_SHOWN = 3
_NAMES_NEAR = 50_000
_ARCHIVES = (".zip", ".tar")
_MOST_ARCHIVES = 8


class ImageFindings(NamedTuple):
    """What became of the images that records name."""

    search: ImageSearch
    problems: list[Problem]
    mends: Counter[str]
    """References that mean a file only after a repair, by its kind."""


def place_path(path: Path, project: Path) -> str:
    """A path as a declaration writes it: relative to the project, or absolute where it lies outside of it."""
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else str(path)


def search_image_root(source: Source, project: Path, most: int, tree: Tree) -> str | None:
    """Where a source's images are, as a declaration writes it; None: none is found.

    Looks below what is inspected, into archives there, and beside it, where it counts only if most of them are there.

    Args:
        source: The source, its image root not set.
        project: The folder that relative paths start from.
        most: Records of each file to take references from.
        tree: What is inspected.
    """
    references = list(islice(_list_references(source, project, most), _LOOKED_FOR))
    root = find_image_root(references, filter(has_image_suffix, tree.names))
    if root is not None:
        return place_path(tree.folder / root, project)
    archives = [name for name in tree.names if name.lower().endswith(_ARCHIVES)][:_MOST_ARCHIVES]
    root = find_image_root(references, (member for name in archives for member in _list_members(tree.folder, name)))
    if root in archives:
        return place_path(tree.folder / root, project)
    beside = list_tree_near(tree.folder.parent, _NAMES_NEAR)
    root = find_image_root(references, filter(has_image_suffix, beside.names), least=len(references) // 2 + 1)
    return None if root is None else place_path(beside.folder / root, project)


def _list_members(folder: Path, archive: str) -> Iterator[str]:
    try:
        yield from (f"{archive}/{member}" for member in keep_open(folder / archive).members)
    except ArchiveError:
        return  # it is none, whatever it is called


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


def look_for_images(source: str, root: ImageRoot | None, references: Iterable[str], project: Path) -> ImageFindings:
    """Which references mean an image, and what is wrong with those that do not and with a few of the images."""
    asked = list(islice(dict.fromkeys(references), _LOOKED_FOR))
    resolution = resolve_references(source, root, asked)
    missed = [row for row in resolution.verdicts.to_pylist() if row["image_rule"]]
    decoded = resolution.files[:: max(1, len(resolution.files) // _DECODED)][:_DECODED]
    broken = []
    if root is not None:
        broken = [row for row in check_images(source, root, decoded).to_pylist() if row["image_rule"]]
    mends = Counter(mend["kind"] for row in resolution.mends.to_pylist() for mend in row["file_repairs"])
    search = ImageSearch(
        image_root=place_path(root.path, project) if root and root.path != Path() else None,
        looked_for=len(asked),
        found=len(asked) - len(missed),
        missing=tuple(row["image"] for row in missed[:_SHOWN]),
    )
    return ImageFindings(search, [*_group_images(missed, len(asked)), *_group_images(broken, len(decoded))], mends)


def _group_images(broken: Sequence[dict[str, Any]], looked_at: int) -> Iterator[Problem]:
    """The rules that images broke, the most frequent first, each with its first image."""
    for rule, count in Counter(row["image_rule"] for row in broken).most_common():
        first = next(row for row in broken if row["image_rule"] == rule)
        yield Problem(
            rule=rule,
            count=count,
            looked_at=looked_at,
            unit="images",
            place=first["image"],
            reason=first["image_reason"],
            fix=first["image_fix"],
            raw="",
        )
