"""Answers by what a person calls them: `latest`, `previous`, `champion`, the beginning of a version's id, or a path.

The versions may be of metrics, predictions or a checkpoint. A path leads to a version, or to a file of predictions.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from vqa_pipeline.deployment import CHAMPION, Deployment
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.lineage.versions import follow
from vqa_pipeline.store import Store, Version

LATEST, PREVIOUS = "latest", "previous"

_SEARCHED = ("metrics", "predictions", "checkpoint")
_FEWEST_CHARACTERS = 4
_FIX = "Name latest, previous, champion, the beginning of a version's id, or a path; `vqa-pipeline history` tells ids."


class NamedAnswers(NamedTuple):
    """Where answers lie."""

    predictions: Version | Path
    metrics: Version | None
    """The newest of these predictions; None: they were not scored."""
    checkpoint: str | None
    """Data version of whose answers are meant; None: of a file, of whoever answered."""


def find_named(store: Store, name: str) -> NamedAnswers:
    """The answers that a name means.

    Raises:
        SettingsError: it means nothing, or several things.
        NotPublished: there are no metrics.
        NoChampion: there is no champion yet.
        DamagedVersion: a version lost a file.
    """
    if name == LATEST:
        return _of_metrics(store, name, store.require("metrics"))
    if name == PREVIOUS:
        return _of_metrics(store, name, _find_previous(store))
    if name == CHAMPION:
        return _of_checkpoint(store, name, Deployment(store).require_champion().data_version)
    path = Path(name)
    version = _find_at(store, path) if path.exists() else _find_by_id(store, name)
    if version is None and path.is_file():
        return NamedAnswers(path, None, None)
    if version is None:
        raise SettingsError(name, "is no version of metrics, predictions or a checkpoint, and no file", _FIX)
    return _of_version(store, name, version)


def _find_previous(store: Store) -> Version:
    """The newest metrics before the current ones that say something else."""
    current, versions = store.require("metrics").manifest, store.versions("metrics")
    before = [one for one in versions if one.manifest.created_at < current.created_at]
    before = [one for one in before if one.manifest.data_version != current.data_version]
    if not before:
        raise SettingsError(PREVIOUS, "no metrics before the latest say anything else", "Run again after a change.")
    return store.require_version("metrics", before[-1].manifest.version)


def _find_at(store: Store, path: Path) -> Version | None:
    """The version of this store that a path lies in."""
    root, inside = store.root.resolve(), path.resolve()
    parts = inside.relative_to(root).parts if inside.is_relative_to(root) else ()
    if len(parts) < 3 or parts[0] not in _SEARCHED or parts[1] != "versions":  # noqa: PLR2004 - asset, versions, id
        return None
    return store.require_version(parts[0], parts[2])


def _find_by_id(store: Store, name: str) -> Version | None:
    """The newest version whose id or data version begins so."""
    if len(name) < _FEWEST_CHARACTERS:
        return None
    found = {
        (asset, version.manifest.data_version): version  # of equal content: the newest
        for asset in _SEARCHED
        for version in store.versions(asset)
        if version.manifest.version.startswith(name) or version.manifest.data_version.startswith(name)
    }
    if len(found) > 1:
        named = ", ".join(f"{version.asset} {version.manifest.version}" for version in found.values())
        raise SettingsError(name, f"may be {named}", "Give more of the id.")
    return next((store.require_version(one.asset, one.manifest.version) for one in found.values()), None)


def _of_version(store: Store, name: str, version: Version) -> NamedAnswers:
    if version.asset == "metrics":
        return _of_metrics(store, name, version)
    if version.asset == "predictions":
        return NamedAnswers(version, _find_metrics(store, version), _tell_challenger(version))
    return _of_checkpoint(store, name, version.manifest.data_version)


def _of_metrics(store: Store, name: str, metrics: Version) -> NamedAnswers:
    predictions = follow(store, metrics, "predictions")
    if predictions is None:
        raise SettingsError(name, "the predictions that these metrics are of are gone from the store", _FIX)
    return NamedAnswers(predictions, metrics, _tell_challenger(predictions))


def _of_checkpoint(store: Store, name: str, checkpoint: str) -> NamedAnswers:
    """The newest answers of a checkpoint, as the challenger or as the champion beside one."""
    for version in reversed(store.versions("predictions")):
        if checkpoint in {_tell_challenger(version), version.manifest.details.get("champion")}:
            predictions = store.require_version("predictions", version.manifest.version)
            return NamedAnswers(predictions, _find_metrics(store, predictions), checkpoint)
    raise SettingsError(name, f"the checkpoint {checkpoint} has answered nothing", "Name one that made predictions.")


def _tell_challenger(predictions: Version) -> str:
    return predictions.manifest.inputs["checkpoint"].data_version


def _find_metrics(store: Store, predictions: Version) -> Version | None:
    """The newest metrics of these predictions."""
    made_of = predictions.manifest.version
    found = [one for one in store.versions("metrics") if one.manifest.inputs["predictions"].version == made_of]
    return store.require_version("metrics", found[-1].manifest.version) if found else None
