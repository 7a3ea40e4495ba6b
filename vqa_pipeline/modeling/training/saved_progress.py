"""Unfinished training on disk: saved whole or not at all, checked by digest before it is trusted.

    <folder>/<fingerprint>/step-00000500-epoch-0007/  weights.safetensors, optimizer.safetensors, state.json,
                                                      digests.json
    <folder>/<fingerprint>/best-00000480.safetensors

Only weights that learn are here; the others are the backbone's, known by their digest. Tensors are safetensors and
everything else is JSON: no pickle. The last two are kept, with what they refer to; a damaged newest one falls back to
the one before.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from vqa_pipeline.files import digest_file, make_folder, name_disk_errors, sync_folder, write_json
from vqa_pipeline.modeling.tensor_files import write_tensors
from vqa_pipeline.modeling.training.state import Best, TrainingState

KEPT = 2
_DIGESTS = "digests.json"
_FILES = ("weights.safetensors", "optimizer.safetensors", "state.json")

Tensors = Mapping[str, torch.Tensor]


class Saved(NamedTuple):
    """Progress read from disk."""

    state: TrainingState
    weights: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    path: Path


class SavedProgress:
    """The progress of one training."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder, self._fingerprint = folder / fingerprint, fingerprint
        make_folder(self.folder)
        self.skipped: list[str] = []
        """Why saved progress was passed over, newest first."""

    def save(self, state: TrainingState, weights: Tensors, optimizer: Tensors) -> Path:
        """Keep this state; older ones than the last two disappear.

        Raises:
            DiskError: it cannot be written; what was saved before stays.
        """
        path = self.folder / state.name
        if path.is_dir():  # the same state, as it was loaded: to replace it would put it at risk
            return path
        unfinished = path.with_name(f".{path.name}")
        with name_disk_errors(path):
            try:
                self._write(unfinished, state, weights, optimizer)
                unfinished.rename(path)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
            sync_folder(self.folder)
            self.prune()
        return path

    def _write(self, folder: Path, state: TrainingState, weights: Tensors, optimizer: Tensors) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_tensors(folder / "weights.safetensors", weights)
        write_tensors(folder / "optimizer.safetensors", optimizer)
        write_json(folder / "state.json", state.model_dump(mode="json"))
        write_json(folder / _DIGESTS, {name: digest_file(folder / name) for name in _FILES})

    def save_best(self, step: int, weights: Tensors) -> tuple[str, str]:
        """Keep the weights of the best epoch so far; returns file name and digest for the state.

        Raises:
            DiskError: it cannot be written; what was saved before stays.
        """
        path = self.folder / f"best-{step:08d}.safetensors"
        unfinished = path.with_name(f".{path.name}")
        with name_disk_errors(path):
            try:
                write_tensors(unfinished, weights)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
        return path.name, digest_file(path)

    def load_best(self, best: Best) -> dict[str, torch.Tensor]:
        """The weights of the best epoch."""
        weights: dict[str, torch.Tensor] = load_file(self.folder / best.file)
        return weights

    def load_good(self, name: str) -> Saved:
        """Progress that a state refers to as good; it is kept as long as one does."""
        return self._load(self.folder / name)

    def load(self, frozen: str = "") -> Saved | None:
        """The newest saved progress that is undamaged and belongs to this training; None: there is none.

        What is newer and cannot be used is removed, to be made again.

        `frozen` is the digest of the weights that do not learn: those the saved ones were trained with.
        """
        self._remove_unfinished()
        for path in sorted(self.folder.glob("step-*"), reverse=True):
            try:
                return self._load_whole(path, frozen)
            except (OSError, ValueError, ValidationError, SafetensorError) as error:
                self.skipped.append(f"{path.name}: {error}")
                shutil.rmtree(path)
        return None

    def _load_whole(self, path: Path, frozen: str) -> Saved:
        saved = self._load(path)
        if saved.state.fingerprint != self._fingerprint:
            raise ValueError(f"it belongs to training {saved.state.fingerprint}")
        if saved.state.frozen != frozen:
            raise ValueError("it belongs to another backbone")
        if saved.state.best is not None and digest_file(self.folder / saved.state.best.file) != saved.state.best.digest:
            raise ValueError(f"{saved.state.best.file} is damaged")
        if saved.state.good not in {"", path.name}:
            _check(self.folder / saved.state.good)
        return saved

    def _load(self, path: Path) -> Saved:
        _check(path)
        state = TrainingState.model_validate_json((path / "state.json").read_bytes())
        weights = load_file(path / "weights.safetensors")
        return Saved(state, weights, load_file(path / "optimizer.safetensors"), path)

    def prune(self, kept: int = KEPT) -> None:
        """Forget all but the newest saved progress and what it refers to."""
        everything = sorted(self.folder.glob("step-*"))
        newest = everything[-kept:]
        needed = {path.name for path in newest}.union(*map(_list_referred, newest))
        for path in everything:
            if path.name not in needed:
                shutil.rmtree(path)
        for path in self.folder.glob("best-*.safetensors"):
            if path.name not in needed:
                path.unlink()

    def _remove_unfinished(self) -> None:
        for path in self.folder.glob(".*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _check(path: Path) -> None:
    digests = json.loads((path / _DIGESTS).read_bytes())
    for name in _FILES:
        if digest_file(path / name) != digests.get(name):
            raise ValueError(f"{name} is damaged")


def _list_referred(path: Path) -> set[str]:
    """The files and folders that a saved progress refers to; a damaged one refers to none."""
    try:
        state = TrainingState.model_validate_json((path / "state.json").read_bytes())
    except (OSError, ValueError):
        return set()
    return {state.good, state.best.file if state.best else ""}
