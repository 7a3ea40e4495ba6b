"""Where an answer came from: prediction, example, raw records, vocabulary, checkpoint, and the versions of them all.

From the predictions backwards, each by the manifest of what was made from it; a question that was not predicted is
looked for in the current dataset. Only rows of the question are read, and no image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pyarrow.compute as pc
from pydantic import Field

from vqa_pipeline.answers.normalization import normalize
from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.deployment import Deployment
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.lineage.raw_records import RawPlace, describe_place, find_rows, show_raw
from vqa_pipeline.lineage.versions import VersionTold, follow, name_checkpoints, tell_candidate, tell_versions
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.schemas import Frozen, Locator
from vqa_pipeline.stages.stage import open_store
from vqa_pipeline.store import Store, Version

_FACTS = ["image_sha256", "width", "height", "mode", "format", "alterations"]


class Trace(Frozen):
    """All that is known of a question."""

    question_id: str
    fate: Literal["accepted", "duplicate", "rejected", "excluded"]
    predictions: tuple[dict[str, Any], ...] = Field(description="Rows of `schemas.PREDICTIONS`.")
    checkpoint_versions: dict[str, str] = Field(
        description="Versions of the checkpoints that predictions name by their data versions; one not there is gone."
    )
    champion: str | None = Field(description="Data version of the checkpoint in use.")
    scores: tuple[dict[str, Any], ...] = Field(description="Its rows in the metrics of these predictions.")
    example: dict[str, Any] | None = Field(description="Row of `schemas.QUESTIONS`; null: it was not accepted.")
    image: dict[str, Any] | None = Field(description="Facts of its image: size in pixels, mode, format, alterations.")
    records: tuple[RawPlace, ...] = Field(description="The raw records that the example was made of.")
    rejects: tuple[dict[str, Any], ...] = Field(description="Rows of `schemas.REJECTS` with its id.")
    answer_indexes: dict[str, int | None] = Field(
        description="Answers given by models and people, normalized, with their index; null: not in the vocabulary."
    )
    versions: tuple[VersionTold, ...] = Field(description="What it came through, from metrics back to raw.")


class _Lineage(NamedTuple):
    """The versions that a question came through; None: not published, gone, or not of this question."""

    metrics: Version | None
    predictions: Version | None
    checkpoint: Version | None
    vocabulary: Version | None
    dataset: Version
    records: Version | None = None
    raw: Version | None = None


def trace_question(pipeline: Pipeline, question_id: str) -> Trace:
    """All that is known of a question.

    Raises:
        SettingsError: no row of the dataset has this id.
        NotPublished: there is no dataset.
        DamagedVersion: a version lost a file.
    """
    store = open_store(pipeline)
    is_asked = pc.field("question_id") == question_id
    lineage, predictions = _find_lineage(store, is_asked)
    examples = find_rows(sorted((lineage.dataset.path / "questions").glob("*.parquet")), is_asked)
    rejects = find_rows(sorted((lineage.dataset.path / "rejects").glob("*.parquet")), is_asked)
    if not examples and not rejects:
        fix = "Ids are `<source>/<native id>`; `vqa-pipeline trace --source FILE:LINE` finds what a line became."
        raise SettingsError(
            "QUESTION_ID", f"no row of the dataset has the id {question_id}", fix + tell_candidate(store)
        )
    example = examples[0] if examples else None
    known, history = name_checkpoints(store), Deployment(store).read_history()
    lineage = _add_source(store, lineage, (example or rejects[0])["source"])
    return Trace(
        question_id=question_id,
        fate="accepted" if example else rejects[0]["fate"],
        predictions=tuple(predictions),
        checkpoint_versions={name: known[name] for name in (row["checkpoint"] for row in predictions) if name in known},
        champion=history[-1].data_version if history else None,
        scores=tuple(_find_in(lineage.metrics, "scores.parquet", is_asked)),
        example=None if example is None else {**example, "locator": str(Locator(**example["locator"]))},
        image=_find_image(lineage.dataset, example),
        records=_find_records(pipeline, lineage, example, is_asked) if example else (),
        rejects=tuple(_tell_reject(row) for row in rejects),
        answer_indexes=_find_indexes(lineage.vocabulary, predictions, example),
        versions=tell_versions(store, lineage),
    )


def _find_lineage(store: Store, is_asked: pc.Expression) -> tuple[_Lineage, list[dict[str, Any]]]:
    """The versions that the question's predictions came through, and those predictions."""
    predictions = store.current_whole("predictions")
    rows = _find_in(predictions, "predictions.parquet", is_asked)
    dataset = follow(store, predictions, "dataset") if predictions and rows else None
    if predictions is None or dataset is None:
        return _Lineage(None, None, None, store.current("vocabulary"), store.require("dataset")), []
    checkpoint = follow(store, predictions, "checkpoint")
    vocabulary = follow(store, checkpoint, "vocabulary") if checkpoint else None
    return _Lineage(_find_metrics(store, predictions), predictions, checkpoint, vocabulary, dataset), rows


def _find_metrics(store: Store, predictions: Version) -> Version | None:
    """The current metrics, if they are of these predictions."""
    metrics = store.current_whole("metrics")
    is_of_them = metrics and metrics.manifest.inputs["predictions"].version == predictions.manifest.version
    return metrics if is_of_them else None


def _add_source(store: Store, lineage: _Lineage, source: str) -> _Lineage:
    dataset = lineage.dataset
    return lineage._replace(
        records=follow(store, dataset, f"records/{source}"), raw=follow(store, dataset, f"raw/{source}")
    )


def _find_in(version: Version | None, name: str, is_asked: pc.Expression) -> list[dict[str, Any]]:
    file = version.path / name if version else None
    return find_rows([file], is_asked) if file and file.is_file() else []


def _find_image(dataset: Version, example: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if example is None or example["image_sha256"] is None:
        return None
    rows = find_rows([dataset.path / "images.parquet"], pc.field("image_sha256") == example["image_sha256"], _FACTS)
    return rows[0] if rows else None


def _find_records(
    pipeline: Pipeline, lineage: _Lineage, example: Mapping[str, Any], is_asked: pc.Expression
) -> tuple[RawPlace, ...]:
    """The question's own record, and those of its annotations where the source keeps them apart."""
    if lineage.records is None:
        return ()
    found = [
        {**row, "kind": kind}
        for kind in ("question", "annotation")
        for row in find_rows(sorted(lineage.records.path.glob(f"{kind}s-*.parquet")), is_asked, ["locator", "raw"])
        if kind == "annotation" or row["locator"] == example["locator"]  # another one is a reject of this id
    ]
    return tuple(describe_place(pipeline, example["source"], lineage.raw, row) for row in found)


def _tell_reject(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "locator": str(Locator(**row["locator"])), "raw": show_raw(row["raw"])}


def _find_indexes(
    vocabulary: Version | None, predictions: Sequence[Mapping[str, Any]], example: Mapping[str, Any] | None
) -> dict[str, int | None]:
    if vocabulary is None:
        return {}
    known = AnswerVocabulary.from_json((vocabulary.path / "vocabulary.json").read_text(encoding="utf-8"))
    given = [answer["answer"] for answer in (example or {}).get("answers") or ()]
    answers = dict.fromkeys(normalize(answer) for answer in [*(row["answer"] for row in predictions), *given])
    return {answer: known.index_of(answer) for answer in answers}
