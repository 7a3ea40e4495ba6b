"""What Dagster's pages say of an asset before it was ever made: words, kinds, columns, and when it is too old."""

from datetime import timedelta
from typing import Any

import dagster as dg

from vqa_pipeline.orchestration.columns import COLUMNS, build_table_schema
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.sources.formats import Source

_DESCRIPTIONS = {
    "records": "The rows of source `{}`, read and validated, each with its locator; rejected rows beside them.",
    "dataset": "Every source joined with its images: decoded once, deduplicated, split by image, free of leakage. "
    "Parquet, with the ledger that gives each raw row exactly one fate.",
    "vocabulary": "The distinct normalized answers of the training questions, ordered by how many they answer.",
    "checkpoint": "A fine-tuned ViLT with its processor and answer vocabulary; plain transformers load it.",
    "predictions": "The checkpoint's best answers with scores for every evaluated question; official result file too.",
    "metrics": "VQA accuracy beside blind baselines, by kind of answer and question; the report.",
    "champion": "Which checkpoint is in use, and why the new one was promoted or held; `champion/current` in the store "
    "is the folder to deploy.",
}
KINDS = {
    "raw": {"file"},
    "records": {"pydantic", "parquet"},
    "dataset": {"parquet", "polars"},
    "vocabulary": {"json"},
    "checkpoint": {"torch", "huggingface"},
    "predictions": {"torch", "parquet"},
    "metrics": {"html", "scikitlearn"},
    "champion": {"huggingface"},
}


def describe_asset(pipeline: Pipeline, asset: str) -> dict[str, Any]:
    """Description, kinds, metadata and freshness of an asset; `asset` is a key such as `records/shapes`."""
    stage, _, source = asset.partition("/")
    columns = {"dagster/column_schema": build_table_schema(COLUMNS[stage])} if stage in COLUMNS else {}
    days = getattr(pipeline.settings.freshness, f"{stage}_days", None)
    return {
        "description": _tell_files(pipeline.source(source)) if stage == "raw" else _DESCRIPTIONS[stage].format(source),
        "kinds": KINDS[stage],
        "metadata": columns,
        "freshness_policy": dg.FreshnessPolicy.time_window(fail_window=timedelta(days=days)) if days else None,
    }


def _tell_files(source: Source) -> str:
    return f"{type(source).__doc__ or ''}\n\nThe files of source `{source.name}`, as they are."
