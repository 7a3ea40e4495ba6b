"""Unfinished training on disk: saved whole or not at all, checked by digest before it is trusted.

    <folder>/<fingerprint>/step-00000500-epoch-0007/  weights.safetensors, optimizer.safetensors, state.json,
                                                      digests.json
    <folder>/<fingerprint>/best-00000480.safetensors

Tensors are safetensors and everything else is JSON: no pickle. The last two are kept; a damaged newest one falls back
to the one before. Random generators need no place here, because order and dropout are drawn from seed, epoch and step.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vqa_pipeline.files import digest_file, write_json
from vqa_pipeline.schemas import Frozen

KEPT = 2
_DIGESTS = "digests.json"


class CurvePoint(Frozen):
    """What is known at the end of an epoch."""

    epoch: int = Field(description="From 1.")
    step: int
    loss: float = Field(description="Mean over the epoch's steps, nats per question.")
    learning_rate: float = Field(description="Of the trunk, at the epoch's last step.")
    val_accuracy: float = Field(description="VQA accuracy on the validation questions, in [0, 1].")
    seconds: float = Field(description="Training time so far, interruptions excluded.")


class Best(Frozen):
    """The best epoch so far, and where its weights are."""

    epoch: int
    step: int
    val_accuracy: float
    file: str
    digest: str


class TrainingState(Frozen):
    """Everything but tensors that a training needs to go on."""

    fingerprint: str
    step: int = 0
    epoch_loss: float = Field(0.0, description="Sum of the losses of the epoch's steps so far.")
    curve: tuple[CurvePoint, ...] = ()
    best: Best | None = None
    seconds: float = 0.0


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
        self.folder.mkdir(parents=True, exist_ok=True)
        self.skipped: list[str] = []
        """Why saved progress was passed over, newest first."""

    def save(
        self, state: TrainingState, weights: Mapping[str, torch.Tensor], optimizer: Mapping[str, torch.Tensor]
    ) -> Path:
        """Keep this state; older ones than the last two disappear."""
        path = self.folder / f"step-{state.step:08d}-epoch-{len(state.curve):04d}"  # the second: epochs finished
        unfinished = path.with_name(f".{path.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        save_file(_to_plain(weights), unfinished / "weights.safetensors")
        save_file(_to_plain(optimizer), unfinished / "optimizer.safetensors")
        write_json(unfinished / "state.json", state.model_dump(mode="json"))
        digests = {file.name: digest_file(file) for file in sorted(unfinished.iterdir())}
        write_json(unfinished / _DIGESTS, digests)
        for name in ("weights.safetensors", "optimizer.safetensors", "."):
            _sync(unfinished / name)
        shutil.rmtree(path, ignore_errors=True)
        unfinished.rename(path)
        _sync(self.folder)
        self.prune()
        return path

    def save_best(self, step: int, weights: Mapping[str, torch.Tensor]) -> tuple[str, str]:
        """Keep the weights of the best epoch so far; returns file name and digest for the state."""
        path = self.folder / f"best-{step:08d}.safetensors"
        unfinished = path.with_name(f".{path.name}")
        save_file(_to_plain(weights), unfinished)
        _sync(unfinished)
        unfinished.replace(path)
        return path.name, digest_file(path)

    def load_best(self, best: Best) -> dict[str, torch.Tensor]:
        """The weights of the best epoch."""
        weights: dict[str, torch.Tensor] = load_file(self.folder / best.file)
        return weights

    def load(self) -> Saved | None:
        """The newest saved progress that is undamaged and belongs to this training; None: there is none."""
        self._remove_unfinished()
        for path in sorted(self.folder.glob("step-*"), reverse=True):
            try:
                return self._load(path)
            except (OSError, ValueError, ValidationError, SafetensorError) as error:
                self.skipped.append(f"{path.name}: {error}")
        return None

    def _load(self, path: Path) -> Saved:
        digests = json.loads((path / _DIGESTS).read_bytes())
        for name in ("weights.safetensors", "optimizer.safetensors", "state.json"):
            if digest_file(path / name) != digests.get(name):
                raise ValueError(f"{name} is damaged")
        state = TrainingState.model_validate_json((path / "state.json").read_bytes())
        if state.fingerprint != self._fingerprint:
            raise ValueError(f"it belongs to training {state.fingerprint}")
        if state.best is not None and digest_file(self.folder / state.best.file) != state.best.digest:
            raise ValueError(f"{state.best.file} is damaged")
        weights = load_file(path / "weights.safetensors")
        return Saved(state, weights, load_file(path / "optimizer.safetensors"), path)

    def prune(self, kept: int = KEPT) -> None:
        """Forget all but the newest saved progress, and best weights that no kept one refers to."""
        newest = sorted(self.folder.glob("step-*"))[-kept:]
        for path in set(self.folder.glob("step-*")) - set(newest):
            shutil.rmtree(path)
        needed = {_name_best(path) for path in newest}
        for path in self.folder.glob("best-*.safetensors"):
            if path.name not in needed:
                path.unlink()

    def _remove_unfinished(self) -> None:
        for path in self.folder.glob(".*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _name_best(path: Path) -> str | None:
    """The file of best weights that a saved progress refers to; a damaged one refers to none."""
    try:
        best = json.loads((path / "state.json").read_bytes()).get("best")
    except (OSError, ValueError):
        return None
    return best["file"] if best else None


def _to_plain(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
