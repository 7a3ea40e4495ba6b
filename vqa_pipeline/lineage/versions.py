"""From a version to those that it was made from, by its manifest."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from pydantic import AwareDatetime

from vqa_pipeline.errors import DamagedVersion
from vqa_pipeline.schemas import Frozen
from vqa_pipeline.store import Store, Version


class VersionTold(Frozen):
    """A version that something came from."""

    asset: str
    version: str
    data_version: str
    published_at: AwareDatetime
    is_current: bool


def follow(store: Store, version: Version, asset: str) -> Version | None:
    """The version of `asset` that `version` was made from, or one of the same content; None: it is gone."""
    read = version.manifest.inputs.get(asset)
    if read is None:
        return None
    with suppress(DamagedVersion):
        return store.require_version(asset, read.version)
    return store.find(asset, read.data_version)


def name_checkpoints(store: Store) -> dict[str, str]:
    """The id of the newest version of each published checkpoint, by its data version, which its answers name."""
    return {one.manifest.data_version: one.manifest.version for one in store.versions("checkpoint")}


def tell_candidate(store: Store) -> str:
    """A sentence where rows may be in a candidate of the dataset that failed a gate; empty where there is none."""
    is_there = store.find_failed("dataset") is not None
    return " A newer candidate failed a gate: `vqa-pipeline rejects` lists its rows." if is_there else ""


def tell_versions(store: Store, versions: Iterable[Version | None]) -> tuple[VersionTold, ...]:
    """Those that are there, in the order given."""
    return tuple(
        VersionTold(
            asset=version.asset,
            version=version.manifest.version,
            data_version=version.manifest.data_version,
            published_at=version.manifest.created_at,
            is_current=_is_current(store, version),
        )
        for version in versions
        if version is not None
    )


def _is_current(store: Store, version: Version) -> bool:
    with suppress(DamagedVersion):
        current = store.current(version.asset)
        return current is not None and current.manifest.version == version.manifest.version
    return False
