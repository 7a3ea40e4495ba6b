"""What the plan knows of each image reference: the verdict on it, which image it is, and that image's near-duplicates.

Made once for the whole, where the verdicts come together; a task of the plan is given those on its own images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

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
    told = zip(verdicts["image"].to_pylist(), verdicts["image_sha256"].to_pylist(), strict=True)
    front = f"{place}/" if place else ""
    return verdicts.append_column(_IDENTITY, pa.array([sha or front + image for image, sha in told], pa.string()))


def append_groups(verdicts: pa.Table, groups: Mapping[str, str]) -> pa.Table:
    """Identified verdicts as `JUDGED`; `groups` names the group of the images that have near-duplicates."""
    named = [groups.get(identity, identity) for identity in verdicts["identity"].to_pylist()]
    return verdicts.append_column(_GROUP, pa.array(named, pa.string())).select(JUDGED.names)


def miss_images(source: str, references: Sequence[str]) -> pa.Table:
    """`JUDGED` on references of a source without an image root: each is missing, and nobody need remember it."""
    return append_groups(identify(resolve_references(source, None, references).verdicts), {})
