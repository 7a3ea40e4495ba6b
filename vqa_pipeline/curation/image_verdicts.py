"""What the plan knows of each image reference: the verdict on it, which image it is, and that image's near-duplicates.

Made once for the whole, where the verdicts come together; a task of the plan is given those on its own images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from vqa_pipeline.curation.image_checks import VERDICTS
from vqa_pipeline.curation.resolution import resolve_references

_IDENTITY = pa.field("identity", pa.string())
"""An image's sha256 or, where there is no image, the place where it would lie."""

_GROUP = pa.field("group", pa.string())
"""Of near-duplicates: the identity of one of them; of most images, their own."""

JUDGED = pa.schema([*(field for field in VERDICTS if field.name != "colours"), _IDENTITY, _GROUP])
"""Verdicts as `merge` takes them."""


def identify(verdicts: pa.Table, place: str = "") -> pa.Table:
    """`VERDICTS` with the identity of each image; `place` is the name of the root that references are relative to."""
    places = pc.binary_join_element_wise(f"{place}/" if place else "", verdicts["image"], "")
    return verdicts.append_column(_IDENTITY, pc.coalesce(verdicts["image_sha256"], places))


def append_groups(verdicts: pa.Table, groups: Mapping[str, str]) -> pa.Table:
    """Identified verdicts as `JUDGED`; `groups` names the group of the images that have near-duplicates."""
    named = verdicts["identity"]
    if groups:
        named = pa.array([groups.get(identity, identity) for identity in named.to_pylist()], pa.string())
    return verdicts.append_column(_GROUP, named).select(JUDGED.names)


def miss_images(source: str, references: Sequence[str]) -> pa.Table:
    """`JUDGED` on references of a source without an image root: each is missing, and nobody need remember it."""
    return append_groups(identify(resolve_references(source, None, references).verdicts), {})
