"""Training and predicting by themselves: from a published dataset into a folder or file of one's own.

Nothing is published and nothing upstream is made. A training has the fingerprint that the pipeline's own would have, so
each of the two goes on from progress that the other saved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vqa_pipeline.errors import GateFailed, NotPublished, SettingsError
from vqa_pipeline.files import make_folder
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.schemas import Split
from vqa_pipeline.stages.checkpoint import Recipe
from vqa_pipeline.stages.predictions import make_predict_job
from vqa_pipeline.stages.stage import RunWorker, open_store
from vqa_pipeline.store import MANIFEST, Store, Version

_TRAINING = "training.json"
_VERSIONS = "versions"


class Published(NamedTuple):
    """A published dataset, and what is declared for work on it."""

    store: Store
    dataset: Version
    training: TrainingSettings
    root: Path
    """The folder that relative paths in the settings start from."""
    splits: tuple[Split, ...]
    """To predict."""


def find_published(pipeline: Pipeline) -> Published:
    """A pipeline's current dataset.

    Raises:
        NotPublished: it has none yet.
        DamagedVersion: a file of it is missing or has another size than its manifest says.
    """
    store, settings = open_store(pipeline), pipeline.settings
    return Published(
        store, store.require("dataset"), settings.training, pipeline.project_root, settings.evaluation.splits
    )


def open_published(folder: Path, scratch: Path) -> Published:
    """A dataset by its folder, `<store>/<pipeline>` or a version in it; no project is needed.

    Args:
        folder: Of the pipeline in the store, whose current dataset is meant, or of one version of the dataset.
        scratch: Where caches and unfinished work go.

    Raises:
        SettingsError: there is no dataset.
        DamagedVersion: a file of it is missing or has another size than its manifest says.
    """
    folder = folder.resolve()
    if (folder / "dataset" / "current.json").is_file():
        store = Store(folder, scratch)
        dataset = store.require("dataset")
    elif (folder / MANIFEST).is_file() and folder.parts[-3:-1] == ("dataset", _VERSIONS):
        store = Store(folder.parents[2], scratch)
        dataset = store.require_version("dataset", folder.name)
    else:
        fix = "Name a folder such as data/store/clinic, or a version in it: data/store/clinic/dataset/versions/…"
        raise SettingsError("--dataset", f"{folder} holds no published dataset", fix)
    return Published(store, dataset, TrainingSettings(), Path.cwd(), ("test",))


def train_into(folder: Path, published: Published, training: TrainingSettings, run_worker: RunWorker) -> dict[str, Any]:
    """Train a checkpoint into a folder; returns what its `training.json` tells. One that is there already stays.

    Raises:
        SettingsError: the folder holds something else, or there is nothing to train on or to choose by.
        NotPublished: no vocabulary was made from the dataset.
        StoreBusy: another run trains.
        GateFailed: the checkpoint, read back from its files, answers otherwise than the model that was trained.
        TrainingError: training did not end well; the next run resumes.
    """
    folder = folder.resolve()
    recipe = Recipe(published.store, published.dataset, _find_vocabulary(published), training, published.root)
    before = _read_training(folder, "--output")
    is_good = not before.get("reloaded", {}).get("problem")
    if is_good and before.get("fingerprint") == recipe.compute_fingerprint():
        return dict(before)
    with published.store.lock("checkpoint"):
        run_worker(recipe.make_job(folder))
    told = dict(_read_training(folder, "--output"))
    if problem := told["reloaded"]["problem"]:
        raise GateFailed("checkpoint", [problem], folder)
    return told


def predict_into(
    file: Path,
    checkpoint: Path | None,
    published: Published,
    training: TrainingSettings,
    run_worker: RunWorker,
) -> int:
    """Write a checkpoint's answers, as Parquet with `schemas.PREDICTIONS`; returns how many.

    Args:
        file: Is replaced as a whole.
        checkpoint: Its folder; None: the current checkpoint of the store.
        published: The dataset, and which of its splits.
        training: How much at once, on which device, at which precision, with how many threads.
        run_worker: Runs the job.

    Raises:
        NotPublished: no checkpoint was named, and none is published.
        SettingsError: the folder is no checkpoint.
        TrainingError: prediction did not end well.
    """
    import pyarrow.parquet as pq

    folder = checkpoint.resolve() if checkpoint else published.store.require("checkpoint").path
    told = _read_training(folder, "--checkpoint")
    if not told:
        raise SettingsError("--checkpoint", f"{folder} holds no checkpoint", "Name one that `train` made.")
    file = file.resolve()
    make_folder(file.parent)
    version: str = told["fingerprint"]
    store, dataset, splits = published.store, published.dataset, published.splits
    run_worker(make_predict_job(folder, version, store, dataset, splits, training, file))
    return int(pq.read_metadata(file).num_rows)


def _find_vocabulary(published: Published) -> Version:
    """The newest vocabulary that was made from the dataset."""
    data_version = published.dataset.manifest.data_version
    for version in reversed(published.store.versions("vocabulary")):
        if version.manifest.inputs["dataset"].data_version == data_version:
            return published.store.require_version("vocabulary", version.manifest.version)
    raise NotPublished("vocabulary", published.store.root)


def _read_training(folder: Path, option: str) -> Mapping[str, Any]:
    """What a checkpoint's folder, named by an option, tells of its training; empty where there is nothing.

    Raises:
        SettingsError: something else is in the folder.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return {}
    try:
        told: Mapping[str, Any] = json.loads((folder / _TRAINING).read_bytes())
    except (OSError, ValueError) as error:
        fix = "Name a folder that holds one" + (", or a new one." if option == "--output" else ".")
        raise SettingsError(option, f"{folder} is there already and is no checkpoint", fix) from error
    return told
