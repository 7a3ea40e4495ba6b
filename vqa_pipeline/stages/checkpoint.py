"""`checkpoint`: a model trained on the dataset, by a worker in a process of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vqa_pipeline.deployment import Deployment
from vqa_pipeline.errors import SettingsError, StaleInput
from vqa_pipeline.modeling.backbone_files import digest_backbone
from vqa_pipeline.modeling.jobs import TrainJob, locate_curves
from vqa_pipeline.modeling.settings import CHAMPION_PARENT, NO_PARENT, TINY, TrainingSettings
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.publishing import PAGE, Log, Outcome, Work, compute_fingerprint, run_stage
from vqa_pipeline.stages.dataset import find_image_packs, find_questions
from vqa_pipeline.stages.provenance import write_provenance
from vqa_pipeline.stages.stage import (
    STAGE_NUMBERS,
    RunWorker,
    check_made_from,
    make_stage,
    open_store,
    stage_settings,
    training_settings,
)
from vqa_pipeline.store import Store, Version

_PARENT = "warm_start_parent"
_NO_FOLDERS = {TINY, NO_PARENT, CHAMPION_PARENT}

TRAININGS = "training"
"""Folder in scratch with the progress and the curves of every training."""


def train_checkpoint(pipeline: Pipeline, training: TrainingSettings, run_worker: RunWorker, log: Log) -> Outcome:
    """`checkpoint`: a ViLT trained on the dataset, with its processor and vocabulary, loadable by plain transformers.

    `training` are the settings of this run: the pipeline's own, unless the launchpad or the command line changed some.
    A checkpoint with the same fingerprint that was published before is used again.

    Raises:
        GateFailed: the checkpoint, read back from its files, answers otherwise than the model that was trained.
        StaleInput: the vocabulary was made from another dataset.
        SettingsError: there is nothing to train on or to choose by.
        TrainingError: training did not end well; the next run resumes.
    """
    from vqa_pipeline.reporting.cards import checkpoint_markdown

    store = open_store(pipeline)
    recipe = Recipe(store, store.require("dataset"), store.require("vocabulary"), training, pipeline.project_root)
    check_made_from(recipe.vocabulary, recipe.dataset, "checkpoint")
    stage = make_stage(pipeline, "checkpoint", recipe.inputs)._replace(settings=recipe.collect_settings())
    fingerprint = recipe.compute_fingerprint()
    trained = store.find("checkpoint", fingerprint)
    if trained is not None:
        store.point_at(trained)

    def build(work: Work) -> None:
        if stage.settings.get(_PARENT, "") is None:
            log("There is no champion yet: the training starts from the backbone.")
        run_worker(recipe.make_job(work.folder))
        told = json.loads((work.folder / "training.json").read_bytes())
        work.data_version = fingerprint
        work.numbers = _count_training(told)
        work.packages = told.get("packages", {})
        _check_that_it_reloads(work, told["reloaded"])
        declared = stage_settings(pipeline, "checkpoint")
        overridden = {name: stage.settings[name] for name in declared if declared[name] != stage.settings[name]}
        curves = os.path.relpath(locate_curves(store.scratch / TRAININGS, fingerprint), pipeline.project_root)
        work.details = {"overridden": overridden, "training": told, "curves": curves}
        work.write(PAGE, checkpoint_markdown({**told, "overridden": overridden, "curves": curves}))

    outcome = run_stage(store, stage, build, log)
    return replace(outcome, provenance=write_provenance(store, outcome.version))


def _check_that_it_reloads(work: Work, told: Mapping[str, Any]) -> None:
    """Refuse files that do not answer as the model that was trained."""
    numbers = {name: told[name] for name in ("num_questions", "num_same_answers", "largest_difference")}
    work.check("reloads", [told["problem"]] if told["problem"] else [], **numbers)


@dataclass(frozen=True)
class Recipe:
    """All that decides what a training ends with."""

    store: Store
    dataset: Version
    vocabulary: Version
    training: TrainingSettings
    root: Path
    """The folder that relative paths in the settings start from."""

    @property
    def inputs(self) -> dict[str, Version]:
        """The published versions that it reads."""
        return {"dataset": self.dataset, "vocabulary": self.vocabulary}

    def collect_settings(self) -> dict[str, Any]:
        """The settings that the result depends on, the files of a model in a local folder among them.

        A model on the hub counts by its name, and the commit used is recorded.
        """
        digests = {f"{name}_digest": digest_backbone(folder) for name, folder in self._find_local_models().items()}
        settings = training_settings(self.training, self.root) | digests
        return settings | {_PARENT: self._choose_parent(settings)} if self._goes_on_from_champion else settings

    def compute_fingerprint(self) -> str:
        """The checkpoint's: equal for equal settings and data."""
        versions = {name: version.manifest.data_version for name, version in self.inputs.items()}
        return compute_fingerprint("checkpoint", STAGE_NUMBERS["checkpoint"], self.collect_settings(), versions)

    def make_job(self, output: Path) -> TrainJob:
        """The job that trains it into a folder.

        Raises:
            SettingsError: there is nothing to train on or to choose by.
        """
        annotated = self.dataset.manifest.details["num_annotated_by_split"]
        for split, purpose in (("train", "train on"), ("val", "choose the checkpoint by")):
            if not annotated.get(split):
                raise SettingsError(
                    "dataset.split_fractions",
                    f"the dataset has no annotated {split} questions to {purpose}",
                    "Declare the split in the sources, or give it a share here.",
                )
        folders = {name: str(folder) for name, folder in self._find_local_models().items()}
        if self._goes_on_from_champion:
            folders["warm_start"] = self._locate_parent()
        return TrainJob(
            fingerprint=self.compute_fingerprint(),
            settings=self.training.model_copy(update=folders),
            metric=self.vocabulary.manifest.details["metric"],
            train_questions=tuple(map(str, find_questions(self.dataset, "train"))),
            val_questions=tuple(map(str, find_questions(self.dataset, "val"))),
            image_packs=tuple(map(str, find_image_packs(self.store, self.dataset))),
            vocabulary=str(self.vocabulary.path / "vocabulary.json"),
            cache_folder=str(self.store.scratch / "cache"),
            progress_folder=str(self.store.scratch / TRAININGS),
            output_folder=str(output),
        )

    def _find_local_models(self) -> dict[str, Path]:
        """The folders of the models that the training starts from, by setting."""
        named = {"backbone": self.training.backbone, "warm_start": self.training.warm_start}
        folders = {name: self.root / value for name, value in named.items() if value not in _NO_FOLDERS}
        return {name: folder for name, folder in folders.items() if folder.is_dir()}

    @property
    def _goes_on_from_champion(self) -> bool:
        return self.training.warm_start == CHAMPION_PARENT

    def _choose_parent(self, settings: Mapping[str, Any]) -> str | None:
        """Data version of the champion to go on from; None: there is none yet.

        It is remembered: of a checkpoint that was trained with these settings on this data, it is the one which that
        went on from, so that nothing is trained again because another checkpoint came into use.
        """
        versions = {name: version.manifest.data_version for name, version in self.inputs.items()}
        for checkpoint in reversed(self.store.versions("checkpoint")):
            manifest = checkpoint.manifest
            trained_on = {name: read.data_version for name, read in manifest.inputs.items()}
            trained_with = {name: value for name, value in manifest.settings.items() if name != _PARENT}
            told = (manifest.stage_number, trained_on, trained_with)
            if _PARENT in manifest.settings and told == (STAGE_NUMBERS["checkpoint"], versions, settings):
                parent: str | None = manifest.settings[_PARENT]
                return parent
        history = Deployment(self.store).read_history()
        return history[-1].data_version if history else None

    def _locate_parent(self) -> str:
        """The folder of the champion to go on from, or that there is none.

        Raises:
            StaleInput: it was remembered, and its checkpoint is gone.
        """
        parent = self.collect_settings()[_PARENT]
        if parent is None:
            return NO_PARENT
        champion = Deployment(self.store).find_champion()
        if champion is not None and champion.data_version == parent:
            return str(champion.folder)
        found = self.store.find("checkpoint", parent)
        if found is None:
            raise StaleInput("checkpoint", "checkpoint", "champion")
        return str(found.path)


def _count_training(told: Mapping[str, Any]) -> dict[str, float | int | None]:
    names = (
        *("num_steps", "num_skipped_steps", "num_train_questions", "num_val_questions", "best_epoch"),
        *("best_val_accuracy", "seconds", "questions_per_second", "host_memory_bytes", "gpu_memory_bytes"),
    )
    by_kind = {f"val_accuracy ({kind})": share for kind, share in told["best_val_by_answer_type"].items()}
    return {name: told[name] for name in names} | {"num_learnable": told["learnable"]["num_learnable"]} | by_kind
