"""`checkpoint`: a model trained on the dataset, by a worker in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.modeling.backbone_files import digest_backbone
from vqa_pipeline.modeling.jobs import TrainJob
from vqa_pipeline.modeling.settings import TINY, TrainingSettings
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.publishing import PAGE, Log, Outcome, Work, compute_fingerprint, run_stage
from vqa_pipeline.stages.dataset import find_image_packs, find_questions
from vqa_pipeline.stages.stage import RunWorker, check_made_from, make_stage, open_store, stage_settings
from vqa_pipeline.store import Version


def train_checkpoint(pipeline: Pipeline, training: TrainingSettings, run_worker: RunWorker, log: Log) -> Outcome:
    """`checkpoint`: a ViLT trained on the dataset, with its processor and vocabulary, loadable by plain transformers.

    `training` are the settings of this run: the pipeline's own, unless the launchpad or the command line changed some.
    A checkpoint with the same fingerprint that was published before is used again. The files of a backbone in a local
    folder are part of the fingerprint; one on the hub counts by its name, and the commit used is recorded.

    Raises:
        StaleInput: the vocabulary was made from another dataset.
        SettingsError: there is nothing to train on or to choose by.
        TrainingError: training did not end well; the next run resumes.
    """
    from vqa_pipeline.reporting.cards import checkpoint_markdown

    store = open_store(pipeline)
    dataset, vocabulary = store.require("dataset"), store.require("vocabulary")
    check_made_from(vocabulary, dataset, "checkpoint")
    stage = make_stage(pipeline, "checkpoint", {"dataset": dataset, "vocabulary": vocabulary})
    local = _find_local_backbone(pipeline, training)
    weights = {"backbone_digest": digest_backbone(local)} if local else {}
    stage = stage._replace(settings=stage_settings(pipeline, "checkpoint", training) | weights)
    versions = {name: version.manifest.data_version for name, version in stage.inputs.items()}
    fingerprint = compute_fingerprint("checkpoint", stage.number, stage.settings, versions)
    trained = store.find("checkpoint", fingerprint)
    if trained is not None:
        store.point_at(trained)

    def build(work: Work) -> None:
        job = _make_train_job(pipeline, training, fingerprint, dataset, vocabulary, work.folder)
        run_worker(job)
        told = json.loads((work.folder / "training.json").read_bytes())
        work.data_version = fingerprint
        work.numbers = _count_training(told)
        work.packages = told.get("packages", {})
        declared = stage_settings(pipeline, "checkpoint")
        overridden = {name: stage.settings[name] for name in declared if declared[name] != stage.settings[name]}
        work.details = {"overridden": overridden, "training": told}
        work.write(PAGE, checkpoint_markdown({**told, "overridden": overridden}))

    return run_stage(store, stage, build, log)


def _find_local_backbone(pipeline: Pipeline, training: TrainingSettings) -> Path | None:
    folder = pipeline.project_root / training.backbone
    return folder if training.backbone != TINY and folder.is_dir() else None


def _make_train_job(
    pipeline: Pipeline,
    training: TrainingSettings,
    fingerprint: str,
    dataset: Version,
    vocabulary: Version,
    output: Path,
) -> TrainJob:
    annotated = dataset.manifest.details["num_annotated_by_split"]
    for split, purpose in (("train", "train on"), ("val", "choose the checkpoint by")):
        if not annotated.get(split):
            raise SettingsError(
                "dataset.split_fractions",
                f"the dataset has no annotated {split} questions to {purpose}",
                "Declare the split in the sources, or give it a share here.",
            )
    local = _find_local_backbone(pipeline, training)
    if local:
        training = training.model_copy(update={"backbone": str(local)})
    return TrainJob(
        fingerprint=fingerprint,
        settings=training,
        metric=vocabulary.manifest.details["metric"],
        train_questions=tuple(map(str, find_questions(dataset, "train"))),
        val_questions=tuple(map(str, find_questions(dataset, "val"))),
        image_packs=tuple(map(str, find_image_packs(open_store(pipeline), dataset))),
        vocabulary=str(vocabulary.path / "vocabulary.json"),
        cache_folder=str(pipeline.scratch_folder / "cache"),
        progress_folder=str(pipeline.scratch_folder / "training"),
        output_folder=str(output),
    )


def _count_training(told: Mapping[str, Any]) -> dict[str, float | int | None]:
    names = ("num_steps", "num_train_questions", "num_val_questions", "best_epoch", "best_val_accuracy", "seconds")
    return {name: told[name] for name in names}
