"""The dataset's last candidate that failed a gate, as long as nothing that it was made from was published after it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.store import Store


def find_failed_candidate(pipeline: Pipeline, store: Store) -> Path | None:
    """Folder of the candidate that the dataset's gate stopped, or None when that is settled or never happened."""
    folders = sorted((store.root / "dataset" / "candidates").glob("*/"), key=lambda folder: folder.stat().st_mtime)
    if not folders:
        return None
    failed_at = datetime.fromtimestamp(folders[-1].stat().st_mtime, UTC)
    sources = [f"{kind}/{source.name}" for kind in ("raw", "records") for source in pipeline.settings.sources]
    versions = [store.current(asset) for asset in (*sources, "dataset")]
    settled = any(version is not None and version.manifest.created_at > failed_at for version in versions)
    return None if settled else folders[-1]
