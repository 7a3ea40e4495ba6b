"""Which file each image reference of a source means, all of them at once, against one look at the image root.

Together, references tell what one alone does not: `/data/train/0.png` and `/data/test/0.png` cannot both mean `0.png`.
What comes out are tables: a check of an image then needs only its file, wherever it runs. Reads no image.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from vqa_pipeline.curation.image_checks import VERDICTS, reading
from vqa_pipeline.curation.image_index import ImageIndex, Meaning, fold, split_name
from vqa_pipeline.curation.image_roots import ImageRoot
from vqa_pipeline.schemas import REPAIRS, Repair
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
    meanings: dict[str, Meaning] = {}
    verdicts: list[dict[str, Any]] = []
    for reference in references:
        if reference in index.names:
            files.add(reference)
            continue
        try:
            with reading(source, root.path / reference):
                found = _find(index, root, reference)
        except MalformedRecord as error:
            verdicts.append(_refuse(source, reference, error))
            continue
        meanings[reference] = found
        if not found.repairs:
            files.add(found.name)
    contested = _find_contested(meanings, files)
    verdicts += [_refuse(source, reference, error) for reference, error in contested.items()]
    mends: list[dict[str, Any]] = [
        {"source": source, "image": reference, "file": found.name, "file_repairs": found.repairs}
        for reference, found in meanings.items()
        if found.repairs and reference not in contested
    ]
    files |= {mend["file"] for mend in mends}
    return Resolution(sorted(files), pa.Table.from_pylist(mends, MENDS), pa.Table.from_pylist(verdicts, VERDICTS))


def _refuse(source: str, reference: str, error: MalformedRecord) -> dict[str, Any]:
    told = {"image_rule": error.rule, "image_reason": error.reason, "image_fix": error.fix}
    return {"source": source, "image": reference, **told}


class _Claim(NamedTuple):
    """What a mended reference says of the file that it fits, beyond the file's name."""

    reference: str
    front: str | None
    """The folders that were dropped from another machine's path; None: none were."""
    extension: str | None
    """The one that it gives the file; None: none."""


def _find_contested(meanings: Mapping[str, Meaning], named: Collection[str]) -> dict[str, MalformedRecord]:
    """Mended references that cannot all mean the file that each of them fits, or not beside one that names it.

    They come from different folders of another machine, or give the file different extensions: one of them means a
    file that is not there, and nobody knows which.
    """
    claims: dict[str, list[_Claim]] = {}
    for reference, (name, repairs) in meanings.items():
        if repairs:
            claims.setdefault(name, []).append(_read_claim(reference, name, repairs))
    contested: dict[str, MalformedRecord] = {}
    for name, rivals in claims.items():
        own = fold(split_name(name)[2]) or None
        fronts = {claim.front: claim.reference for claim in rivals if claim.front is not None}
        extensions = {claim.extension: claim.reference for claim in rivals if claim.extension is not None}
        extensions |= {own: name} if own is not None and name in named else {}
        for claim in rivals:
            other = _find_other(fronts, claim.front)
            if other is None and claim.extension != own:
                other = _find_other(extensions, claim.extension)
            if other is not None:
                reason = f"{claim.reference} fits {name}, but so does {other}, and they cannot be one file"
                fix = "Bring the files under the paths that the references give, or correct the references."
                contested[claim.reference] = MalformedRecord("image_contested", reason, fix)
    return contested


def _read_claim(reference: str, name: str, repairs: Sequence[Repair]) -> _Claim:
    by_kind = {repair["kind"]: repair for repair in repairs}
    moved, renamed = by_kind.get("absolute_path"), by_kind.get("extension")
    front = fold(moved["before"].removesuffix(moved["after"])) if moved else None
    return _Claim(reference, front, fold(split_name(renamed["before"] if renamed else name)[2]) or None)


def _find_other(references: Mapping[str, str], claimed: str | None) -> str | None:
    """A reference that claims something else of the same file; None: there is none, or nothing is claimed."""
    if claimed is None:
        return None
    return next((reference for other, reference in references.items() if other != claimed), None)


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
    images = pa.array(references, pa.string())
    columns = {
        "source": pa.repeat(source, len(references)),
        "image": images,
        "image_rule": pa.repeat("image_missing", len(references)),
        "image_reason": pc.binary_join_element_wise("the source has no image root to look for", images, "in", " "),
        "image_fix": pa.repeat(fix, len(references)),
    }
    nothing = {field.name: pa.nulls(len(references), field.type) for field in VERDICTS}
    return pa.table(nothing | columns, schema=VERDICTS)
