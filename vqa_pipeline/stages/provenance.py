"""Where a checkpoint comes from: the manifests of all that it was made from, and its card. Reads manifests only."""

from __future__ import annotations

from contextlib import suppress

from vqa_pipeline.errors import DamagedVersion, StoreFormat
from vqa_pipeline.schemas import Manifest
from vqa_pipeline.store import Store, Version


def write_provenance(store: Store, checkpoint: Version, metrics: Version | None = None) -> str:
    """The card of a checkpoint as Markdown.

    Args:
        store: Where it is published.
        checkpoint: Whose card.
        metrics: What it was scored with, if it was.
    """
    from vqa_pipeline.reporting.provenance import provenance_markdown

    made_from = collect_manifests(store, checkpoint)
    scored = collect_manifests(store, metrics) if metrics else {}  # perhaps on other data than it learned from
    others = {asset: manifest for asset, manifest in scored.items() if asset not in made_from}
    return provenance_markdown(checkpoint.manifest, {**made_from, **others})


def write_section(store: Store, checkpoint: Version, metrics: Version | None) -> str:
    """The card as a section of a model card."""
    return f"\n## Where it comes from\n\n{write_provenance(store, checkpoint, metrics)}\n"


def collect_manifests(store: Store, version: Version) -> dict[str, Manifest | None]:
    """A version's manifest and those of all that it was made from, by asset, the first sources first.

    None: that version is gone, and with it what it was made from.
    """
    found: dict[str, Manifest | None] = {}
    for asset, read in version.manifest.inputs.items():
        before = _read(store, asset, read.version) or store.find(asset, read.data_version)
        found |= collect_manifests(store, before) if before else {asset: None}
    return found | {version.asset: version.manifest}


def _read(store: Store, asset: str, version: str) -> Version | None:
    with suppress(DamagedVersion, StoreFormat):
        return store.read(asset, version)
    return None


def find_metrics(store: Store, checkpoint: Version) -> Version | None:
    """The newest metrics of a checkpoint's predictions."""
    made_by = {
        version.manifest.version
        for version in store.versions("predictions")
        if version.manifest.inputs["checkpoint"].data_version == checkpoint.manifest.data_version
    }
    found = [one for one in store.versions("metrics") if one.manifest.inputs["predictions"].version in made_by]
    return found[-1] if found else None
