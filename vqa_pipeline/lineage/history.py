"""Every published checkpoint: what it was trained on and with, and how right it was found to be. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import AwareDatetime, Field

from vqa_pipeline.deployment import Change, Deployment
from vqa_pipeline.errors import DamagedVersion
from vqa_pipeline.evaluation.intervals import Interval
from vqa_pipeline.schemas import Frozen
from vqa_pipeline.store import Store, Version

_IN_USE = "in_use"
"""As `evaluation.promotion` says it, which loads pandas."""


class Score(Frozen):
    """How right a checkpoint was, by the newest metrics of its predictions."""

    metrics: str = Field(description="Version of the metrics.")
    metric: str = Field(description="Metric policy.")
    vqa_accuracy: float = Field(ge=0, le=1)
    interval: Interval
    num_scored: int = Field(description="Annotated questions of the test split.")
    verdict: str | None = Field(description="The last on it as a challenger: promoted, held or needs_more_data.")


class Training(Frozen):
    """A published checkpoint."""

    version: str
    data_version: str
    published_at: AwareDatetime
    is_current: bool = Field(description="Whether predictions are made with it.")
    in_use: bool = Field(description="Whether it is the champion.")
    deployments: tuple[Change, ...] = Field(description="Each time that it came into use, the last one last.")
    dataset: str = Field(description="Data version of the dataset that it was trained on.")
    num_train_questions: int | None
    settings: dict[str, Any] = Field(description="What it was trained with.")
    changed: tuple[str, ...] = Field(description="Settings that the checkpoint published before it did not have so.")
    overridden: tuple[str, ...] = Field(description="Settings that were not the declared ones, but told for one run.")
    score: Score | None = Field(description="null: its predictions were not scored.")


def list_trainings(store: Store) -> list[Training]:
    """Every published checkpoint, the newest first.

    Raises:
        DamagedVersion: it cannot be told which checkpoint is current.
        ChampionDamaged: it cannot be told which one is in use.
        DiskError: the store cannot be read.
    """
    current = store.current("checkpoint")
    current_id = current.manifest.version if current else None
    scores, deployments = _find_scores(store), Deployment(store).read_history()
    found: list[Training] = []
    before: Mapping[str, Any] | None = None
    for checkpoint in store.versions("checkpoint"):
        found.append(_describe(checkpoint, before, scores, current_id, deployments))
        before = checkpoint.manifest.settings
    return found[::-1]


def _describe(
    checkpoint: Version,
    before: Mapping[str, Any] | None,
    scores: Mapping[str, Score],
    current: str | None,
    deployments: Sequence[Change],
) -> Training:
    manifest = checkpoint.manifest
    settings, missing = manifest.settings, object()
    changed = [name for name in settings if before is not None and before.get(name, missing) != settings[name]]
    num_questions = manifest.numbers.get("num_train_questions")
    return Training(
        version=manifest.version,
        data_version=manifest.data_version,
        published_at=manifest.created_at,
        is_current=manifest.version == current,
        in_use=bool(deployments) and deployments[-1].version == manifest.version,
        deployments=tuple(one for one in deployments if one.version == manifest.version),
        dataset=manifest.inputs["dataset"].data_version,
        num_train_questions=None if num_questions is None else int(num_questions),
        settings=settings,
        changed=tuple(sorted(changed)),
        overridden=tuple(sorted(manifest.details.get("overridden", ()))),
        score=scores.get(manifest.data_version),
    )


def _find_scores(store: Store) -> dict[str, Score]:
    """By data version of the checkpoint; metrics that are damaged, or of predictions that are gone, tell nothing."""
    predictions = {version.manifest.version: version for version in store.versions("predictions")}
    found: dict[str, Score] = {}
    for metrics in store.versions("metrics"):  # the newest last
        answered = predictions.get(metrics.manifest.inputs["predictions"].version)
        if answered is not None:
            score = _read_score(store, metrics)
            if score is not None:
                checkpoint = answered.manifest.inputs["checkpoint"].data_version
                found[checkpoint] = _keep_verdict(score, found.get(checkpoint))
    return found


def _keep_verdict(score: Score, before: Score | None) -> Score:
    """Once a checkpoint is the champion, metrics judge it no more: what they said before stays."""
    if score.verdict != _IN_USE:
        return score
    return score.model_copy(update={"verdict": before.verdict if before else None})


def _read_score(store: Store, metrics: Version) -> Score | None:
    """None where the metrics are damaged, or nothing was scored."""
    with suppress(DamagedVersion):
        whole = store.require_version("metrics", metrics.manifest.version)
        told = json.loads((whole.path / "metrics.json").read_bytes())
        if told["num_scored"]:
            verdict = told.get("verdict") or {}
            scored = {name: told[name] for name in ("metric", "vqa_accuracy", "interval", "num_scored")}
            return Score(metrics=metrics.manifest.version, verdict=verdict.get("outcome"), **scored)
    return None
