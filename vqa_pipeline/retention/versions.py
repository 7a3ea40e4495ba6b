"""What the store may lose: versions, image packs that only they used, and checkpoints that were deployed long ago."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from vqa_pipeline.deployment import CHAMPION, Deployment
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.retention.kept import Key, find_kept
from vqa_pipeline.schemas import Manifest
from vqa_pipeline.stages.champion_changes import list_line
from vqa_pipeline.stages.provenance import find_metrics
from vqa_pipeline.store import MANIFEST, Store, Version

SOURCE_STAGES = ("raw", "records")
_ROLLBACK_TARGETS = 2

Found = tuple[str, str, Path]
"""What may go, why, and where it is."""


def list_versions(pipeline: Pipeline, store: Store) -> Iterator[Found]:
    """Versions, image packs and deployed checkpoints that may go.

    Raises:
        DamagedVersion: a manifest cannot be read, so nobody knows what it needs.
        StoreFormat: a version is of another format.
    """
    manifests = {key: store.read(*key).manifest for key in _list_keys(store) if _has_manifest(store, key)}
    keep = pipeline.settings.keep
    gone = _find_gone(pipeline, store)
    champions = _list_champions(store, 0 if keep == "all" else keep)
    anchors = [*_list_current(store, gone), *_list_in_use(store, champions, manifests)]
    kept = find_kept(manifests.values(), None if keep == "all" else keep, anchors, gone)
    for asset in sorted(gone):
        if not any(key.asset == asset for key in kept):
            yield f"{asset} pointer", "the settings no longer name this source", store.root / asset / "current.json"
    for key in _list_keys(store):
        if key not in kept:
            yield f"{key.asset} version {key.version}", _explain(key, manifests, gone, keep), _locate(store, key)
    yield from _list_packs(store, [manifests[key] for key in kept if key.asset == "dataset"])
    for folder in sorted((store.root / CHAMPION / "deployed").glob("*/")):
        if keep != "all" and folder.name not in champions:
            yield f"deployed checkpoint {folder.name}", f"not among the last {len(champions)} champions", folder


def _list_packs(store: Store, datasets: Iterable[Manifest]) -> Iterator[Found]:
    named = {name for dataset in datasets for name in dataset.details.get("image_packs", [])}
    for pack in sorted((store.root / "dataset" / "shared").glob("*")):
        if f"shared/{pack.name}" not in named:
            yield f"image pack {pack.stem[:16]}", "no version that stays has its images", pack


def _explain(key: Key, manifests: Mapping[Key, Manifest], gone: frozenset[str], keep: object) -> str:
    if key not in manifests:
        return "unfinished: somebody was killed while writing or deleting it"
    return "the settings no longer name this source" if key.asset in gone else f"older than the newest {keep}"


def _find_gone(pipeline: Pipeline, store: Store) -> frozenset[str]:
    named = {source.name for source in pipeline.settings.sources}
    parts = {asset: asset.partition("/") for asset in list_assets(store)}
    return frozenset(asset for asset, (stage, _, name) in parts.items() if stage in SOURCE_STAGES and name not in named)


def list_assets(store: Store) -> list[str]:
    """Every asset that has a folder of versions in the store."""
    folders = [*store.root.glob("*/versions"), *store.root.glob("*/*/versions")]
    return sorted(folder.parent.relative_to(store.root).as_posix() for folder in folders)


def _list_keys(store: Store) -> list[Key]:
    folders = {asset: (store.root / asset / "versions").glob("*/") for asset in list_assets(store)}
    return [Key(asset, folder.name) for asset, found in folders.items() for folder in sorted(found)]


def _locate(store: Store, key: Key) -> Path:
    return store.root / key.asset / "versions" / key.version


def _has_manifest(store: Store, key: Key) -> bool:
    return (_locate(store, key) / MANIFEST).exists()


def _list_current(store: Store, gone: frozenset[str]) -> list[Key]:
    found = [store.current(asset) for asset in list_assets(store) if asset not in gone]
    return [Key(version.asset, version.manifest.version) for version in found if version is not None]


def _list_champions(store: Store, keep: int) -> list[str]:
    """The checkpoints in use last, the newest first: the champion and those that a person may roll back to."""
    line = list_line(Deployment(store).read_history())
    return list(dict.fromkeys(reversed(line)))[: max(keep, _ROLLBACK_TARGETS)]


def _list_in_use(store: Store, champions: Iterable[str], manifests: Mapping[Key, Manifest]) -> Iterator[Key]:
    """Champions and the metrics that they were judged by, which tell what their predictions were."""
    for key in (Key("checkpoint", version) for version in champions):
        if key in manifests:
            yield key
            metrics = find_metrics(store, Version(_locate(store, key), manifests[key]))
            if metrics is not None:
                yield Key("metrics", metrics.manifest.version)
