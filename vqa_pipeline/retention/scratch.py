"""What scratch may lose: what was found out about sources of the past, overtaken trainings, old jobs, caches."""

from __future__ import annotations

import time
from collections.abc import Iterator

from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.retention.versions import Found
from vqa_pipeline.stages.checkpoint import TRAININGS
from vqa_pipeline.store import Store

DAYS_OF_JOBS = 30


def list_scratch(pipeline: Pipeline, store: Store, *, caches: bool) -> Iterator[Found]:
    """Files in scratch that nobody will ask for; with `caches` also those that the next training makes again."""
    named = {source.name for source in pipeline.settings.sources}
    for file in sorted((store.scratch / "observed").glob("*.json")):
        if file.stem not in named:
            yield f"observations of {file.stem}", "the settings no longer name this source", file
    yield from _list_trainings(store)
    for file in sorted((store.scratch / "jobs").glob("*")):
        if time.time() - file.stat().st_mtime > DAYS_OF_JOBS * 86400:
            yield f"job file {file.name}", f"older than {DAYS_OF_JOBS} days", file
    cache = store.scratch / "cache"
    if caches and cache.is_dir():
        yield "pixels and hidden states", "asked for; the next training makes what it needs again", cache


def _list_trainings(store: Store) -> Iterator[Found]:
    """Progress and curves from before the current checkpoint; an interrupted training is younger, and goes on."""
    current = store.current("checkpoint")
    if current is None:
        return
    published = [version.manifest.details.get("training", {}) for version in store.versions("checkpoint")]
    known = {training.get("fingerprint") for training in published}
    for folder in sorted((store.scratch / TRAININGS).glob("*/")):
        touched = max((path.stat().st_mtime for path in folder.rglob("*")), default=folder.stat().st_mtime)
        if folder.name not in known and touched < current.manifest.created_at.timestamp():
            yield f"training {folder.name}", "a later one was published; its own checkpoint is not there", folder
