"""One function per asset: read the inputs' current versions, call the room that knows, publish. No Dagster, no torch.

A stage whose inputs, settings and stage number are those of its current version does nothing: the version is reused.
A stage whose candidate fails a blocking check publishes nothing and raises `GateFailed`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vqa_pipeline.modeling.jobs import PredictJob, TrainJob
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.schemas import Check
from vqa_pipeline.store import Version

Log = Callable[[str], None]
RunWorker = Callable[[TrainJob | PredictJob], None]
"""Runs a job in a process of its own and returns when it is done; raises `TrainingError` when it did not end well."""


@dataclass(frozen=True)
class Outcome:
    """What a stage did."""

    version: Version
    reused: bool
    """True: nothing had changed, the current version stays."""
    checks: tuple[Check, ...]
    markdown: str
    """The asset's page for Dagster's UI: headline, tables, pictures as data URIs; text from data is escaped."""


class CheckDeclaration(NamedTuple):
    """A check that a stage makes, known before it runs."""

    name: str
    blocking: bool
    description: str


CHECKS: dict[str, tuple[CheckDeclaration, ...]] = {
    "dataset": (
        CheckDeclaration("ledger_balances", True, "Every raw row has exactly one fate."),
        CheckDeclaration("reject_fraction", True, "At most `dataset.max_reject_fraction` of the rows are rejected."),
        CheckDeclaration("no_leakage", True, "No image is in two splits, unless `dataset.leakage` says how to handle it."),
        CheckDeclaration("splits_filled", True, "There are annotated questions to train on, to choose by and to score."),
        CheckDeclaration("no_rejects", False, "No row was rejected."),
    ),
    "vocabulary": (CheckDeclaration("coverage", False, "The vocabulary covers 95 % of the training questions."),),
    "metrics": (CheckDeclaration("beats_baselines", False, "The model is better than every blind baseline."),),
}
"""Checks by asset. Blocking checks gate publishing; the others warn."""


def observe_source(pipeline: Pipeline, source: str, log: Log) -> Outcome: ...
def build_records(pipeline: Pipeline, source: str, log: Log) -> Outcome: ...
def build_dataset(pipeline: Pipeline, log: Log) -> Outcome: ...
def build_vocabulary(pipeline: Pipeline, log: Log) -> Outcome: ...
def train_checkpoint(pipeline: Pipeline, training: TrainingSettings, run_worker: RunWorker, log: Log) -> Outcome: ...
def predict(pipeline: Pipeline, run_worker: RunWorker, log: Log) -> Outcome: ...
def evaluate(pipeline: Pipeline, log: Log) -> Outcome: ...
