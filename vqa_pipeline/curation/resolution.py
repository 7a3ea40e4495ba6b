"""Which file each image reference of a source means, all of them at once, against one look at the image root.

What comes out are tables: a check of an image then needs only its file, wherever it runs. Reads no image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from vqa_pipeline.curation.image_checks import VERDICTS, reading
from vqa_pipeline.curation.image_index import ImageIndex, Meaning
from vqa_pipeline.curation.image_roots import ImageRoot
from vqa_pipeline.schemas import REPAIRS
from vqa_pipeline.sources.formats.format import MalformedRecord

MENDS = pa.schema([("source", pa.string()), ("image", pa.string()), ("file", pa.string()), ("file_repairs", REPAIRS)])
"""One row per repaired (source, image reference): the file that it means, and how it was found."""


class Resolution(NamedTuple):
    """What became of a source's references."""

    files: list[str]
    """Names of the files that they mean, relative to the image root, each once, sorted."""
    mends: pa.Table
    """`MENDS`."""
    verdicts: pa.Table
    """`image_checks.VERDICTS` on references that mean no file."""


def resolve_references(source: str, root: ImageRoot | None, references: Sequence[str]) -> Resolution:
    """Find the file of each tidy reference; without a root every image is missing.

    Raises:
        SourceError: the image root cannot be listed, which says nothing about an image.
        SourceChanged: a folder went away while it was listed.
    """
    if root is None:
        return Resolution([], MENDS.empty_table(), _miss_all(source, references))
    with reading(source, root.path):
        index = ImageIndex(root.list_names(), root.name)
    files: set[str] = set()
    mends: list[dict[str, Any]] = []
    verdicts: list[dict[str, Any]] = []
    for reference in references:
        if reference in index.names:
            files.add(reference)
            continue
        try:
            with reading(source, root.path / reference):
                found = _find(index, root, reference)
        except MalformedRecord as error:
            told = {"image_rule": error.rule, "image_reason": error.reason, "image_fix": error.fix}
            verdicts.append({"source": source, "image": reference, **told})
            continue
        files.add(found.name)
        if found.repairs:
            mends.append({"source": source, "image": reference, "file": found.name, "file_repairs": found.repairs})
    return Resolution(sorted(files), pa.Table.from_pylist(mends, MENDS), pa.Table.from_pylist(verdicts, VERDICTS))


def _find(index: ImageIndex, root: ImageRoot, reference: str) -> Meaning:
    """Ask the index and, where it knows nothing, the root: a folder has linked folders, which are not listed."""
    try:
        return index.find(reference)
    except MalformedRecord as error:
        if error.rule != "image_missing":
            raise
        missing = error
    try:
        root.check(reference)
    except MalformedRecord as error:
        raise (missing if error.rule == "image_missing" else error) from error
    return Meaning(reference, [])


def _miss_all(source: str, references: Sequence[str]) -> pa.Table:
    fix = "Set `image_root`, or `dataset: {images_required: false}`."
    columns = {
        "source": [source] * len(references),
        "image": references,
        "image_rule": ["image_missing"] * len(references),
        "image_reason": [f"the source has no image root to look for {one} in" for one in references],
        "image_fix": [fix] * len(references),
    }
    nothing = pa.nulls(len(references))
    arrays = [pa.array(columns[field.name]) if field.name in columns else nothing for field in VERDICTS]
    return pa.Table.from_arrays(
        [array.cast(field.type) for array, field in zip(arrays, VERDICTS, strict=True)], schema=VERDICTS
    )
