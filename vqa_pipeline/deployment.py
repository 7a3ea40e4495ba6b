"""Which checkpoint is in use, since when and why, and the folder that people deploy. Knows paths; no Dagster, no torch.

    <store>/<name>/champion/history.json      every change of champion, replaced as a whole; the last entry counts
    <store>/<name>/champion/deployed/<id>/…   a checkpoint's files and its model card; its manifest is written last
    <store>/<name>/champion/current           a link to the folder of the champion

The history is the truth and the link follows it: whoever is killed between the two leaves a link that the next change,
or `mend`, puts right. `deployed/<id>` is complete before the history names it, so there is never a champion in parts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from vqa_pipeline.errors import ChampionDamaged, NoChampion
from vqa_pipeline.files import make_folder, name_disk_errors, sync_folder, write_atomically
from vqa_pipeline.schemas import Frozen, Manifest
from vqa_pipeline.store import MANIFEST, Store, Version, copy_files, find_alteration

CHAMPION = "champion"
MODEL_CARD = "README.md"

How = Literal["promoted", "pinned", "rolled back", "released"]
"""promoted: a challenger earned it; pinned: a person chose it, and no challenger replaces it until it is released or
rolled back; rolled back: a person went back to the one before; released: a pin was lifted."""


class Change(Frozen):
    """One entry of the history: from then on this checkpoint was in use."""

    version: str = Field(description="Id of the checkpoint's version.")
    data_version: str = Field(description="The checkpoint's data version.")
    how: How
    reason: str
    at: AwareDatetime


class _History(Frozen):
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Champion:
    """The checkpoint in use."""

    folder: Path
    """What people deploy; complete, and never changed but for its model card."""
    manifest: Manifest
    """The checkpoint's."""
    change: Change
    """How it came into use."""

    @property
    def version(self) -> str:
        """Id of the checkpoint's version."""
        return self.change.version

    @property
    def data_version(self) -> str:
        """The checkpoint's data version, which predictions name."""
        return self.change.data_version

    @property
    def is_pinned(self) -> bool:
        """Whether a person chose it and challengers have to wait."""
        return self.change.how == "pinned"


class Deployment:
    """The champion of one pipeline."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.root = store.root / CHAMPION

    @property
    def current(self) -> Path:
        """The stable path that leads to the champion's folder."""
        return self.root / "current"

    def read_history(self) -> tuple[Change, ...]:
        """Every change of champion, oldest first; empty before the first.

        Raises:
            ChampionDamaged: the file is none.
            DiskError: it cannot be read.
        """
        path = self.root / "history.json"
        with name_disk_errors(path):
            try:
                return _History.model_validate_json(path.read_bytes()).changes
            except FileNotFoundError:
                return ()
            except ValidationError as error:
                told = error.errors(include_url=False)[0]["msg"]
                raise ChampionDamaged("?", path, f"is not a history ({told})") from error

    def find_champion(self) -> Champion | None:
        """The checkpoint in use, each of its files read and found as published; None before the first promotion.

        Its bytes are links to those of the store, so whoever alters one alters both: sizes alone would tell nothing.

        Raises:
            ChampionDamaged: its folder lacks a file, or one has other bytes.
            DiskError: it cannot be read.
        """
        history = self.read_history()
        return self._open(history[-1]) if history else None

    def require_champion(self) -> Champion:
        """The checkpoint in use.

        Raises:
            NoChampion: there is none yet.
            ChampionDamaged: its folder lacks a file, or one has other bytes.
            DiskError: it cannot be read.
        """
        champion = self.find_champion()
        if champion is None:
            raise NoChampion(self.root)
        return champion

    def deploy(self, checkpoint: Version, card: str, how: How, reason: str) -> Champion:
        """Put a checkpoint into use: its folder first, then the history, then the link.

        Args:
            checkpoint: A published version.
            card: Its model card, Markdown.
            how: How it came to this.
            reason: Why, in words.

        Raises:
            StoreBusy: another run is at it.
            DiskError: a file cannot be written; the champion before stays.
        """
        manifest = checkpoint.manifest
        with self._hold():
            self._copy(checkpoint, card)
            change = Change(
                version=manifest.version,
                data_version=manifest.data_version,
                how=how,
                reason=reason,
                at=datetime.now(UTC),
            )
            told = _History(changes=(*self.read_history(), change)).model_dump(mode="json")
            write_atomically(self.root / "history.json", json.dumps(told, indent=1, ensure_ascii=False).encode())
            self._link(change)
        return self._open(change)

    def mend(self) -> None:
        """Have the link lead to the champion, should somebody have been killed before it did.

        Raises:
            DiskError: it cannot be written.
        """
        with self._hold():
            history = self.read_history()
            if history and not self._leads_to(history[-1]):
                self._link(history[-1])

    def locate(self, version: str) -> Path:
        """The folder of a checkpoint that is deployed, or would be."""
        return self.root / "deployed" / version

    # ------------------------------------------------------------------------------------------------------- writing

    @contextmanager
    def _hold(self) -> Iterator[None]:
        with self._store.lock(f"{CHAMPION}/deployment"):
            yield

    def _copy(self, checkpoint: Version, card: str) -> None:
        """Files, card, then the manifest: without it the folder is nobody's."""
        folder = self.locate(checkpoint.manifest.version)
        copy_files(checkpoint.path, checkpoint.manifest.files, folder, checkpoint.path)
        write_atomically(folder / MODEL_CARD, card.encode())
        write_atomically(folder / MANIFEST, checkpoint.manifest.model_dump_json(indent=1).encode())

    def _link(self, change: Change) -> None:
        make_folder(self.root)
        unfinished = self.root / f".current.{os.getpid()}"
        with name_disk_errors(self.current):
            unfinished.unlink(missing_ok=True)
            unfinished.symlink_to(self._name_target(change), target_is_directory=True)
            unfinished.replace(self.current)
            sync_folder(self.root)

    def _leads_to(self, change: Change) -> bool:
        return self.current.is_symlink() and self.current.readlink() == self._name_target(change)

    def _name_target(self, change: Change) -> Path:
        """Relative, so that a store can be moved."""
        return self.locate(change.version).relative_to(self.root)

    # ------------------------------------------------------------------------------------------------------- reading

    def _open(self, change: Change) -> Champion:
        folder = self.locate(change.version)
        path = folder / MANIFEST
        with name_disk_errors(path):
            try:
                manifest = Manifest.model_validate_json(path.read_bytes())
            except FileNotFoundError as error:
                raise ChampionDamaged(change.version, path, "is missing") from error
            except ValidationError as error:
                raise ChampionDamaged(change.version, path, "is not a manifest") from error
        damage = find_alteration(Version(folder, manifest))
        if damage is not None:
            raise ChampionDamaged(change.version, damage.path, damage.reason) from damage
        return Champion(folder, manifest, change)
