"""What every stage has: a number, settings, checks, inputs. They decide whether a version is up to date."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vqa_pipeline.errors import StaleInput
from vqa_pipeline.modeling.jobs import PredictJob, TrainJob
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.publishing import CheckDeclaration, Stage
from vqa_pipeline.schemas import Frozen
from vqa_pipeline.store import Store, Version

RunWorker = Callable[[TrainJob | PredictJob], None]
"""Runs a job in a process of its own and returns when it is done; raises `TrainingError` when it did not end well."""

STAGE_NUMBERS: dict[str, int] = {
    "raw": 2,
    "records": 3,
    "dataset": 4,
    "vocabulary": 1,
    "checkpoint": 3,
    "predictions": 3,
    "metrics": 4,
    "champion": 1,
}
"""Raised by hand when a stage's results change for the same inputs and settings; golden tests tell when."""

CHECKS: dict[str, tuple[CheckDeclaration, ...]] = {
    "records": (CheckDeclaration("corrections_fit", False, "Every correction fits a row."),),
    "dataset": (
        CheckDeclaration("ledger_balances", True, "Every raw row has exactly one fate."),
        CheckDeclaration("has_questions", True, "Every source has rows, and a question is accepted."),
        CheckDeclaration("reject_fraction", True, "At most `dataset.max_reject_fraction` of the rows are rejected."),
        CheckDeclaration(
            "no_leakage", True, "No image, or near-duplicate, is in two splits, unless `dataset.leakage` allows it."
        ),
        CheckDeclaration("no_rejects", False, "No row was rejected."),
        CheckDeclaration("drift", False, "Rows and answers are much as in the version before, and no field is lost."),
    ),
    "vocabulary": (CheckDeclaration("coverage", False, "The vocabulary covers 95 % of the training questions."),),
    "checkpoint": (
        CheckDeclaration("reloads", True, "Read back from its files, it answers as the model that was trained."),
    ),
    "metrics": (
        CheckDeclaration(
            "looks_at_images", False, "The model is better than all that do not see the image, beyond chance."
        ),
        CheckDeclaration("calibrated", False, "Probabilities are at most 0.1 off on average (of 300 answers or more)."),
    ),
    "champion": (
        CheckDeclaration("no_regression", False, "The checkpoint may replace the champion, or is the champion."),
    ),
}
"""Checks by asset. Blocking checks gate publishing; the others warn."""

_NOT_IN_FINGERPRINT = {
    "cache",
    "cache_gigabytes",
    "checkpoint_every_steps",
    "compile",
    "device",
    "gradient_checkpointing",
    "micro_batch",
    "processes",
    "threads",
}
"""Training settings that change how fast a checkpoint comes about, not which."""


_NOT_IN_ROWS = {"license"}
"""Settings of a source that its files and records do not depend on."""


_INPUTS: dict[str, tuple[str, ...]] = {
    "vocabulary": ("dataset",),
    "checkpoint": ("dataset", "vocabulary"),
    "predictions": ("dataset", "checkpoint"),
    "metrics": ("dataset", "predictions"),
    "champion": ("dataset", "checkpoint", "predictions", "metrics"),
}
"""What each stage reads, where that does not depend on the sources; DESIGN: conditions see direct inputs only."""


def list_assets(pipeline: Pipeline) -> list[str]:
    """Every asset of a pipeline, each after those that it reads."""
    sources = [source.name for source in pipeline.settings.sources]
    return [f"{kind}/{name}" for name in sources for kind in ("raw", "records")] + ["dataset", *_INPUTS]


def list_inputs(pipeline: Pipeline, asset: str) -> list[str]:
    """The assets that a stage reads."""
    stage, _, source = asset.partition("/")
    if stage == "dataset":
        sources = [source.name for source in pipeline.settings.sources]
        return [f"{kind}/{name}" for kind in ("records", "raw") for name in sources]
    if stage == "records":
        return [f"raw/{source}"]
    return list(_INPUTS.get(stage, ()))


def open_store(pipeline: Pipeline) -> Store:
    """The store of a pipeline's versions."""
    return Store(pipeline.store_folder, pipeline.scratch_folder)


def stage_settings(pipeline: Pipeline, asset: str, training: TrainingSettings | None = None) -> dict[str, Any]:
    """The settings that a stage's results depend on; `asset` is a key such as `records/shapes` or `dataset`.

    Absolute paths are made relative to the project: no absolute path is stored.
    """
    settings = pipeline.settings
    stage, _, source = asset.partition("/")
    if source:
        return _dump(pipeline.source(source), pipeline.project_root, exclude=_NOT_IN_ROWS)
    if stage == "checkpoint":
        return training_settings(training or settings.training, pipeline.project_root)
    own: dict[str, dict[str, Any]] = {
        "champion": settings.champion.model_dump(mode="json"),
        "dataset": settings.dataset.model_dump(mode="json") | {"licenses": find_licenses(pipeline)},
        "vocabulary": settings.vocabulary.model_dump(mode="json"),
        "predictions": settings.evaluation.model_dump(mode="json", include={"splits", "shuffled_image"}),
        "metrics": settings.evaluation.model_dump(mode="json")
        | {"champion": settings.champion.model_dump(mode="json")},
    }
    return own[stage]


def training_settings(training: TrainingSettings, root: Path) -> dict[str, Any]:
    """The settings that a checkpoint depends on; absolute paths are made relative to `root`."""
    return _dump(training, root, exclude=_NOT_IN_FINGERPRINT)


def find_licenses(pipeline: Pipeline) -> dict[str, str]:
    """The licences of the sources that state one, by source."""
    return {source.name: source.license for source in pipeline.settings.sources if source.license is not None}


def _dump(settings: Frozen, root: Path, exclude: set[str] | None = None) -> dict[str, Any]:
    chosen = settings.model_dump(mode="json", exclude=exclude)
    return {key: _without_absolute_paths(value, root) for key, value in chosen.items()}


def _without_absolute_paths(value: Any, root: Path) -> Any:
    if isinstance(value, dict):
        return {key: _without_absolute_paths(item, root) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_absolute_paths(item, root) for item in value]
    return os.path.relpath(value, root) if isinstance(value, str) and value.startswith("/") else value


def make_stage(pipeline: Pipeline, asset: str, inputs: Mapping[str, Version]) -> Stage:
    """What `publishing.run_stage` must know of an asset: number, settings, inputs and checks."""
    name = asset.partition("/")[0]
    return Stage(asset, STAGE_NUMBERS[name], stage_settings(pipeline, asset), inputs, CHECKS.get(name, ()))


def check_made_from(version: Version, source: Version, asset: str) -> None:
    """Refuse a version that was made from another state of `source` than the one read beside it."""
    made_from = version.manifest.inputs[source.asset]
    if made_from.data_version != source.manifest.data_version:
        raise StaleInput(asset, version.asset, source.asset)
