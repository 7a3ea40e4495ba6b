"""Changes of champion that a person makes: pinned, released, gone back from. No Dagster, no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from vqa_pipeline.deployment import Champion, Change, Deployment
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.stages.provenance import find_metrics, write_section
from vqa_pipeline.stages.stage import open_store
from vqa_pipeline.store import Store, Version

_FEWEST_CHARACTERS = 4


def pin_champion(pipeline: Pipeline, version: str, reason: str) -> Champion:
    """Put a published checkpoint into use, until it is released or gone back from.

    Args:
        pipeline: Whose.
        version: Id of the checkpoint's version, or the beginning of it.
        reason: Why, for the history.

    Raises:
        SettingsError: no checkpoint, or several, are called so.
        StoreBusy: another run is at it.
        DiskError: it cannot be deployed; the champion before stays.
    """
    store = open_store(pipeline)
    return _deploy(pipeline, store, _find_checkpoint(store, version), "pinned", reason)


def release_champion(pipeline: Pipeline, reason: str) -> Champion:
    """Let challengers replace a champion that was pinned.

    Raises:
        NoChampion: there is none.
        SettingsError: it is not pinned.
    """
    store = open_store(pipeline)
    champion = Deployment(store).require_champion()
    if not champion.is_pinned:
        raise SettingsError("release", f"the champion {champion.version} is not pinned", "There is nothing to do.")
    return _deploy(pipeline, store, store.require_version("checkpoint", champion.version), "released", reason)


def roll_back_champion(pipeline: Pipeline, reason: str) -> Champion:
    """Go back to the checkpoint that was in use before the champion; the one gone back from is not promoted again.

    Going back twice goes back further, never to what was just gone back from.

    Raises:
        SettingsError: there was none before.
        DamagedVersion: the checkpoint before is not in the store any more.
    """
    store = open_store(pipeline)
    *before, _ = list_line(Deployment(store).read_history()) or [""]
    if not before:
        fix = "`vqa-pipeline champion pin` chooses one of `vqa-pipeline history`."
        raise SettingsError("rollback", "no other checkpoint was in use before", fix)
    return _deploy(pipeline, store, store.require_version("checkpoint", before[-1]), "rolled back", reason)


def list_line(history: Sequence[Change]) -> list[str]:
    """Versions that came into use one after another up to the champion, without those that were gone back from."""
    line: list[str] = []
    for change in history:
        if change.how == "rolled back" and change.version in line:
            while line[-1] != change.version:
                line.pop()
        elif line[-1:] != [change.version]:
            line.append(change.version)
    return line


def _deploy(pipeline: Pipeline, store: Store, checkpoint: Version, how: Any, reason: str) -> Champion:
    from vqa_pipeline.reporting.model_card import render_model_card

    metrics = find_metrics(store, checkpoint)
    told = json.loads((metrics.path / "metrics.json").read_bytes()) if metrics else None
    dataset = metrics.manifest.inputs["dataset"].version if metrics else None
    scored_on = store.require_version("dataset", dataset) if dataset else store.require("dataset")
    words = f"{how.capitalize()}: {reason}" if reason else how.capitalize()
    scored = told if told and told["num_scored"] else None
    card = render_model_card(pipeline.name, checkpoint.manifest, scored_on.manifest, scored, words)
    card += write_section(store, checkpoint, metrics)
    return Deployment(store).deploy(checkpoint, card, how, reason)


def _find_checkpoint(store: Store, name: str) -> Version:
    found = {
        version.manifest.version
        for version in store.versions("checkpoint")
        if len(name) >= _FEWEST_CHARACTERS and version.manifest.version.startswith(name)
    }
    if len(found) != 1:
        told = f"may be {', '.join(sorted(found))}" if found else "is the beginning of no checkpoint's id"
        raise SettingsError(name, told, "`vqa-pipeline history` lists them; four characters are the fewest.")
    return store.require_version("checkpoint", found.pop())
