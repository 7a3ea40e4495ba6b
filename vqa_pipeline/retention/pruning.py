"""Everything that may go, with its size; and deleting it, while no run works on anything."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from vqa_pipeline.deployment import CHAMPION
from vqa_pipeline.files import name_disk_errors
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.retention.scratch import list_scratch
from vqa_pipeline.retention.versions import SOURCE_STAGES, Found, list_assets, list_versions
from vqa_pipeline.store import MANIFEST, Store

_WORKING_STAGES = ("dataset", "vocabulary", "checkpoint", "predictions", "metrics", CHAMPION, f"{CHAMPION}/deployment")


class Disposable(NamedTuple):
    """Something that may go."""

    what: str
    why: str
    path: Path
    num_bytes: int
    """What deleting all of them frees: a file that something kept links to counts nothing, one linked twice once."""


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
        return _measure([*list_versions(pipeline, store), *list_scratch(pipeline, store, caches=caches)])


def prune(pipeline: Pipeline, store: Store, *, caches: bool = False) -> list[Disposable]:
    """Delete what may go; returns it. Killed in between, it leaves whole versions, and the next time goes on.

    Raises:
        StoreBusy: a run works on an asset; nothing was deleted.
        DamagedVersion, StoreFormat, DiskError: see `list_disposables`.
    """
    with ExitStack() as held:
        sources = [f"{stage}/{source.name}" for stage in SOURCE_STAGES for source in pipeline.settings.sources]
        for asset in sorted({*list_assets(store), *sources, *_WORKING_STAGES}):
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
