"""What a store may lose, and losing it: versions that nothing kept was made from, and what only they used.

Of each asset the newest `keep` versions stay, and the current one, and the checkpoints that people use or may roll back
to. What any of these was made from stays too, however old, so that every number that is kept can be traced to its rows.
Reads manifests and names of files; publishes nothing, and deletes only while it holds every asset.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from vqa_pipeline.deployment import CHAMPION, Deployment
from vqa_pipeline.files import name_disk_errors
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.schemas import Manifest
from vqa_pipeline.store import MANIFEST, Store

DAYS_OF_JOBS = 30
_ROLLBACK_TARGETS = 2
_SOURCE_STAGES = ("raw", "records")
_WORKING_STAGES = ("dataset", "vocabulary", "checkpoint", "predictions", "metrics", CHAMPION, f"{CHAMPION}/deployment")


class Key(NamedTuple):
    """A version by asset and id."""

    asset: str
    version: str


class Disposable(NamedTuple):
    """Something that may go."""

    what: str
    why: str
    path: Path
    num_bytes: int
    """What deleting all of them frees: a file that something kept links to counts nothing, one linked twice once."""


Found = tuple[str, str, Path]
"""What may go, why, and where it is."""


def find_kept(
    manifests: Iterable[Manifest], keep: int | None, anchors: Iterable[Key], gone: frozenset[str] = frozenset()
) -> set[Key]:
    """The versions that stay: the newest `keep` of each asset, the anchors, and what these were made from.

    Args:
        manifests: Of every version in the store.
        keep: How many of each asset; None: all.
        anchors: Versions that stay however old they are; those that are not in the store are passed over.
        gone: Assets that the settings no longer name: nothing of them stays for its own sake.
    """
    newest_first = sorted(manifests, key=lambda one: (one.created_at, one.version), reverse=True)
    by_key = {Key(one.asset, one.version): one for one in newest_first}
    by_content: dict[tuple[str, str], Key] = {}
    for key, one in by_key.items():
        by_content.setdefault((one.asset, one.data_version), key)
    ranks: Counter[str] = Counter()
    waiting = [key for key in anchors if key in by_key]
    for key in by_key:
        ranks[key.asset] += 1
        if key.asset not in gone and (keep is None or ranks[key.asset] <= keep):
            waiting.append(key)
    kept: set[Key] = set()
    while waiting:
        key = waiting.pop()
        if key in kept:
            continue
        kept.add(key)
        for asset, read in by_key[key].inputs.items():
            found = Key(asset, read.version)
            same = found if found in by_key else by_content.get((asset, read.data_version))
            if same is not None:  # else it was gone before
                waiting.append(same)
    return kept


def list_disposables(pipeline: Pipeline, store: Store, *, caches: bool = False) -> list[Disposable]:
    """What may go by the pipeline's `keep`, in the order in which it goes; changes nothing.

    Args:
        pipeline: Its settings say how many versions stay and which sources there are.
        store: Its versions.
        caches: Whether pixels and hidden states, which the next training needs or makes again, are among it.

    Raises:
        DamagedVersion: a manifest cannot be read, so nobody knows what it needs.
        StoreFormat: a version is of another format.
        DiskError: the store cannot be read.
    """
    with name_disk_errors(store.root):
        manifests = {key: store.read(*key).manifest for key in _list_keys(store) if _has_manifest(store, key)}
        found = [*_list_versions(pipeline, store, manifests), *_list_scratch(pipeline, store, caches=caches)]
        return _measure(found)


def prune(pipeline: Pipeline, store: Store, *, caches: bool = False) -> list[Disposable]:
    """Delete what may go; returns it. Killed in between, it leaves whole versions, and the next time goes on.

    Raises:
        StoreBusy: a run works on an asset; nothing was deleted.
        DamagedVersion, StoreFormat, DiskError: see `list_disposables`.
    """
    with ExitStack() as held:
        sources = [f"{stage}/{source.name}" for stage in _SOURCE_STAGES for source in pipeline.settings.sources]
        for asset in sorted({*_list_assets(store), *sources, *_WORKING_STAGES}):
            held.enter_context(store.lock(asset))
        disposables = list_disposables(pipeline, store, caches=caches)
        for one in disposables:
            with name_disk_errors(one.path):
                _delete(one.path)
        return disposables


def _delete(path: Path) -> None:
    """A folder's manifest goes first: without it the folder is no version, whatever is left of it."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    (path / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(path)


# ------------------------------------------------------------------------------------------------------------ the store


def _list_versions(pipeline: Pipeline, store: Store, manifests: Mapping[Key, Manifest]) -> Iterator[Found]:
    keep = pipeline.settings.keep
    gone = _find_gone(pipeline, store)
    champions = _list_champions(store, 0 if keep == "all" else keep)
    anchors = [*_list_current(store, gone), *(Key("checkpoint", version) for version in champions)]
    kept = find_kept(manifests.values(), None if keep == "all" else keep, anchors, gone)
    for asset in sorted(gone):
        if not any(key.asset == asset for key in kept):
            yield f"{asset} pointer", "the settings no longer name this source", store.root / asset / "current.json"
    for key in _list_keys(store):
        if key not in kept:
            yield f"{key.asset} version {key.version}", _explain(key, manifests, gone, keep), _locate(store, key)
    named = {name for key in kept if key.asset == "dataset" for name in manifests[key].details.get("image_packs", [])}
    for pack in sorted((store.root / "dataset" / "shared").glob("*")):
        if f"shared/{pack.name}" not in named:
            yield f"image pack {pack.stem[:16]}", "no version that stays has its images", pack
    for folder in sorted((store.root / CHAMPION / "deployed").glob("*/")):
        if keep != "all" and folder.name not in champions:
            yield f"deployed checkpoint {folder.name}", f"more than {len(champions)} champions ago", folder


def _explain(key: Key, manifests: Mapping[Key, Manifest], gone: frozenset[str], keep: object) -> str:
    if key not in manifests:
        return "unfinished: somebody was killed while writing or deleting it"
    return "the settings no longer name this source" if key.asset in gone else f"older than the newest {keep}"


def _find_gone(pipeline: Pipeline, store: Store) -> frozenset[str]:
    named = {source.name for source in pipeline.settings.sources}
    parts = {asset: asset.partition("/") for asset in _list_assets(store)}
    return frozenset(
        asset for asset, (stage, _, name) in parts.items() if stage in _SOURCE_STAGES and name not in named
    )


def _list_assets(store: Store) -> list[str]:
    folders = [*store.root.glob("*/versions"), *store.root.glob("*/*/versions")]
    return sorted(folder.parent.relative_to(store.root).as_posix() for folder in folders)


def _list_keys(store: Store) -> list[Key]:
    folders = {asset: (store.root / asset / "versions").glob("*/") for asset in _list_assets(store)}
    return [Key(asset, folder.name) for asset, found in folders.items() for folder in sorted(found)]


def _locate(store: Store, key: Key) -> Path:
    return store.root / key.asset / "versions" / key.version


def _has_manifest(store: Store, key: Key) -> bool:
    return (_locate(store, key) / MANIFEST).exists()


def _list_current(store: Store, gone: frozenset[str]) -> list[Key]:
    found = [store.current(asset) for asset in _list_assets(store) if asset not in gone]
    return [Key(version.asset, version.manifest.version) for version in found if version is not None]


def _list_champions(store: Store, keep: int) -> list[str]:
    """The checkpoints in use last, the newest first: the champion and those that a person may roll back to."""
    used = dict.fromkeys(change.version for change in reversed(Deployment(store).read_history()))
    return list(used)[: max(keep, _ROLLBACK_TARGETS)]


# -------------------------------------------------------------------------------------------------------------- scratch


def _list_scratch(pipeline: Pipeline, store: Store, *, caches: bool) -> Iterator[Found]:
    named = {source.name for source in pipeline.settings.sources}
    for file in sorted((store.scratch / "observed").glob("*.json")):
        if file.stem not in named:
            yield f"observations of {file.stem}", "the settings no longer name this source", file
    yield from _list_trainings(store)
    for file in sorted((store.scratch / "jobs").glob("*")):
        if time.time() - file.stat().st_mtime > DAYS_OF_JOBS * 86400:
            yield f"job file {file.name}", f"older than {DAYS_OF_JOBS} days", file
    if caches and (store.scratch / "cache").is_dir():
        yield (
            "pixels and hidden states",
            "asked for; the next training makes what it needs again",
            store.scratch / "cache",
        )


def _list_trainings(store: Store) -> Iterator[Found]:
    """Progress and curves from before the current checkpoint; an interrupted training is younger, and goes on."""
    current = store.current("checkpoint")
    if current is None:
        return
    known = {
        told.get("fingerprint")
        for told in (v.manifest.details.get("training", {}) for v in store.versions("checkpoint"))
    }
    for folder in sorted((store.scratch / "trainings").glob("*/")):
        touched = max((path.stat().st_mtime for path in folder.rglob("*")), default=folder.stat().st_mtime)
        if folder.name not in known and touched < current.manifest.created_at.timestamp():
            yield (
                f"training {folder.name}",
                "a later one was published, and its own checkpoint is not in the store",
                folder,
            )


# ----------------------------------------------------------------------------------------------------------------- size


def _measure(found: Iterable[Found]) -> list[Disposable]:
    """A file frees its room once all its names are among what goes; it counts where the last of them does."""
    listed = [(what, why, path, list(_list_files(path))) for what, why, path in found]
    left: Counter[tuple[int, int]] = Counter()
    measured = []
    for what, why, path, files in listed:
        num_bytes = 0
        for file in files:
            status = file.lstat()
            inode = (status.st_dev, status.st_ino)
            left[inode] += 1
            num_bytes += status.st_size if left[inode] == status.st_nlink else 0
        measured.append(Disposable(what, why, path, num_bytes))
    return [one for one in measured if one.path.exists()]


def _list_files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in path.rglob("*") if not file.is_dir())
    elif path.exists():
        yield path
