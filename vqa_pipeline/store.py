"""Which version of which asset lies where, and how one is published. Knows paths and manifests; no Dagster, no torch.

    <store>/<name>/<asset>/versions/<id>/…      files, then manifest.json, written last: no manifest, no version
    <store>/<name>/<asset>/current.json         {"version": "<id>"}, replaced atomically
    <store>/<name>/<asset>/candidates/…         the last candidate that failed a gate: rejects and page, to look at
    <store>/<name>/<asset>/images/…             (dataset) image packs, immutable, shared between versions
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vqa_pipeline.schemas import Manifest


@dataclass(frozen=True)
class Version:
    """A published version of an asset."""

    path: Path
    manifest: Manifest


class Store:
    def __init__(self, root: Path) -> None:
        self.root = root

    def current(self, asset: str) -> Version | None: ...
    def require(self, asset: str) -> Version: ...
