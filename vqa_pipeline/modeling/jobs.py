"""What a stage asks of the worker: a Job, as JSON in a file. Loads without torch.

A Job names files only, never the store: modeling does not know where results live.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from vqa_pipeline.answers.scoring import MetricPolicy
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.schemas import Frozen, Split

_CACHE = "Where work is kept that is the same every time, such as decoded images; shared by all jobs, disposable."


class TrainJob(Frozen):
    """Train a checkpoint. Restarting it goes on from the last progress in `progress_folder`."""

    task: Literal["train"] = "train"
    fingerprint: str = Field(description="Fingerprint of the training; progress of another one is never resumed.")
    settings: TrainingSettings
    metric: MetricPolicy = Field(description="Policy of the soft targets and of the validation score.")
    train_questions: tuple[str, ...] = Field(description="Parquet files with `schemas.QUESTIONS`.")
    val_questions: tuple[str, ...]
    image_packs: tuple[str, ...] = Field(description="Parquet files with `schemas.IMAGES`.")
    vocabulary: str = Field(description="The answer vocabulary, a JSON file.")
    cache_folder: str = Field(description=_CACHE)
    progress_folder: str = Field(description="Where progress and TensorBoard files are kept; disposable.")
    output_folder: str = Field(description="Where the finished checkpoint is written; replaced as a whole.")


class PredictJob(Frozen):
    """Answer questions with a checkpoint."""

    task: Literal["predict"] = "predict"
    checkpoint: str = Field(description="Folder of a published checkpoint.")
    checkpoint_version: str = Field(description="Written into the column `checkpoint`.")
    questions: tuple[tuple[Split, str], ...] = Field(description="(split, Parquet file with `schemas.QUESTIONS`).")
    shuffled_splits: tuple[Split, ...] = Field(
        (), description="Splits that are answered once more, as variant `shuffled_image`: on other questions' images."
    )
    image_packs: tuple[str, ...]
    cache_folder: str = Field(description=_CACHE)
    batch_size: int = 64
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: int = 0
    output_file: str = Field(description="Parquet file with `schemas.PREDICTIONS`.")


Job = Annotated[TrainJob | PredictJob, Field(discriminator="task")]
JOB: TypeAdapter[TrainJob | PredictJob] = TypeAdapter(Job)

PARENT_VARIABLE = "VQA_PIPELINE_PARENT"
"""Environment variable with the process id of whoever starts a worker: it must still be the parent when it looks."""

EVENTS_VARIABLE = "VQA_PIPELINE_EVENTS"
"""Environment variable with the file to which a worker appends its events; without it they go to stdout."""


def locate_curves(progress_folder: Path, fingerprint: str) -> Path:
    """Where a training keeps the files that TensorBoard draws its curves from."""
    return progress_folder / fingerprint / "tensorboard"
