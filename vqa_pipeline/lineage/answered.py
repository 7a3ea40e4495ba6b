"""Scored answers out of the store, ready to be compared: questions and references beside answers and scores.

Answers that no metrics hold the scores of are scored here, as the metrics stage would.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, cast

import pandas as pd
import pyarrow as pa

from vqa_pipeline.answers.scoring import MetricPolicy
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.evaluation.accuracy import score_answers
from vqa_pipeline.evaluation.changes import Answered
from vqa_pipeline.evaluation.metrics import settle_policy
from vqa_pipeline.evaluation.scores import select_scores
from vqa_pipeline.evaluation.settings import REPORTED_SPLIT
from vqa_pipeline.evaluation.tables import list_references, tell_images
from vqa_pipeline.lineage.naming import NamedAnswers, find_named
from vqa_pipeline.lineage.versions import follow, name_checkpoints
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.schemas import EVALUATED_VARIANT, Frozen
from vqa_pipeline.stages.dataset import read_questions
from vqa_pipeline.stages.stage import open_store
from vqa_pipeline.store import Store, Version

_QUESTION_COLUMNS = ["question_id", "question", "source", "image", "image_sha256", "answers"]
_PREDICTION_COLUMNS = ["question_id", "variant", "checkpoint", "answer"]
_FIX = "Name another version, or a file that the pipeline or `predict --output` wrote."


class Side(Frozen):
    """One side of a comparison: who answered what, and how it is scored."""

    name: str
    """As it was asked for."""
    checkpoint: str
    """Data version of who answered."""
    checkpoint_version: str | None
    """Its version; null: it is not in the store."""
    predictions: str
    """Version, or path of a file."""
    metrics: str | None
    """Version; null: scored for the comparison alone."""
    dataset: str
    """Version of the dataset with the questions and references."""
    metric: MetricPolicy


class Found(NamedTuple):
    """Scored answers, what they are, and the dataset that has their images."""

    side: Side
    answered: Answered
    dataset: Version


def find_answered(pipeline: Pipeline, name: str) -> Found:
    """The scored answers that a name means; see `naming`.

    Raises:
        SettingsError: the name means nothing, or several things, or what it means cannot be scored.
        NotPublished: there are no metrics, or no dataset.
        NoChampion: there is no champion yet.
        DamagedVersion: a version lost a file.
    """
    store = open_store(pipeline)
    named = find_named(store, name)
    predictions, dataset = _read_predictions(name, named), _find_dataset(store, name, named)
    checkpoint = named.checkpoint or _find_only_checkpoint(name, predictions)
    rows = _join(name, _read_questions(dataset), predictions[predictions["checkpoint"] == checkpoint])
    policy = _find_policy(pipeline, named, rows)
    version = named.predictions
    side = Side(
        name=name,
        checkpoint=checkpoint,
        checkpoint_version=name_checkpoints(store).get(checkpoint),
        predictions=version.manifest.version if isinstance(version, Version) else str(version),
        metrics=named.metrics.manifest.version if named.metrics else None,
        dataset=dataset.manifest.version,
        metric=policy,
    )
    return Found(side, Answered(_score(named, rows, checkpoint, policy), policy), dataset)


def _read_predictions(name: str, named: NamedAnswers) -> pd.DataFrame:
    """The answers of the model as it is, of everybody who answered."""
    found = named.predictions
    file = found if isinstance(found, Path) else found.path / "predictions.parquet"
    try:
        predictions = pd.read_parquet(file, columns=_PREDICTION_COLUMNS)
    except (pa.ArrowException, ValueError) as error:
        raise SettingsError(name, f"is no file of predictions ({str(error).splitlines()[0]})", _FIX) from error
    return predictions[predictions["variant"] == EVALUATED_VARIANT]


def _find_dataset(store: Store, name: str, named: NamedAnswers) -> Version:
    """The dataset that was asked; a file does not tell, so it is scored on the current one."""
    if isinstance(named.predictions, Path):
        return store.require("dataset")
    dataset = follow(store, named.predictions, "dataset")
    if dataset is None:
        raise SettingsError(name, "the dataset with its questions is gone from the store", _FIX)
    return dataset


def _find_only_checkpoint(name: str, predictions: pd.DataFrame) -> str:
    checkpoints = sorted(predictions["checkpoint"].unique())
    if len(checkpoints) != 1:
        told = " and ".join(checkpoints) or "nobody"
        raise SettingsError(name, f"holds answers of {told}", "Name a file with the answers of one checkpoint.")
    return str(checkpoints[0])


def _read_questions(dataset: Version) -> pd.DataFrame:
    """The annotated questions whose scores are reported."""
    questions = read_questions(dataset, (REPORTED_SPLIT,), _QUESTION_COLUMNS)
    references = pd.Series(list_references(questions), dtype=object)
    told = questions.assign(references=references, image=tell_images(questions))
    annotated = told[[bool(known) for known in told["references"]]]
    return annotated.drop(columns=["answers", "source"])


def _join(name: str, questions: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    twice = predictions["question_id"][predictions["question_id"].duplicated()]
    if not twice.empty:
        raise SettingsError(name, f"answers {twice.iloc[0]} and {len(twice) - 1} others more than once", _FIX)
    rows = questions.merge(predictions[["question_id", "answer"]], on="question_id", how="left", validate="one_to_one")
    if rows["answer"].isna().all():
        raise SettingsError(name, f"answers no annotated {REPORTED_SPLIT} question of the dataset", _FIX)
    return rows


def _find_policy(pipeline: Pipeline, named: NamedAnswers, rows: pd.DataFrame) -> MetricPolicy:
    """That of the metrics; without any, what the settings say."""
    if named.metrics is not None:
        told = json.loads((named.metrics.path / "metrics.json").read_bytes())
        return cast("MetricPolicy", told["metric"])
    return settle_policy(pipeline.settings.evaluation, rows["references"])


def _score(named: NamedAnswers, rows: pd.DataFrame, checkpoint: str, policy: MetricPolicy) -> pd.DataFrame:
    """The scores that the metrics hold; without any, those that they would."""
    held = named.metrics.path / "scores.parquet" if named.metrics else None
    if held is None or not held.is_file():
        answers = [answer if isinstance(answer, str) else None for answer in rows["answer"]]
        return rows.assign(score=score_answers(answers, rows["references"].tolist(), policy))
    scores = select_scores(pd.read_parquet(held), checkpoint=checkpoint)[["question_id", "score"]]
    return rows.merge(scores, on="question_id", validate="one_to_one")
