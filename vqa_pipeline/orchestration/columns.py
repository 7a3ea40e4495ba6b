"""The columns of what assets publish, and which columns they come from: for Dagster's pages."""

from collections.abc import Iterable, Mapping

import dagster as dg
import pyarrow as pa

from vqa_pipeline import schemas
from vqa_pipeline.reporting.escaping import escape_markdown

COLUMNS = {
    "records": schemas.QUESTION_RECORDS,
    "dataset": schemas.QUESTIONS,
    "predictions": schemas.PREDICTIONS,
}
"""By stage, the table that most people mean when they name the asset."""

_ANSWERED = ("question", "image_sha256")
_COME_FROM: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {
    "dataset": {
        "records": {
            "question_id": ("question_id",),
            "native_id": ("native_id",),
            "source": ("question_id",),
            "split": ("split", "image"),
            "image": ("image",),
            "image_sha256": ("image",),
            "question": ("question",),
            "question_type": ("question_type",),
            "answer_type": ("answer_type",),
            "paraphrase_of": ("paraphrase_of",),
            "answers": ("answers",),
            "most_common_answer": ("answers",),
            "repairs": ("repairs", "image"),
            "locator": ("locator",),
        }
    },
    "predictions": {
        "dataset": {
            "question_id": ("question_id",),
            "split": ("split",),
            "answer": _ANSWERED,
            "score": _ANSWERED,
            "probability": _ANSWERED,
            "top_answers": _ANSWERED,
        }
    },
}
"""Columns by stage, by the stage that they come from; an undeclared split is that of the image. `variant` and
`checkpoint` of predictions come from no column."""


def build_table_schema(schema: pa.Schema) -> dg.TableSchema:
    """An Arrow schema as Dagster shows it."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                field.name,
                str(field.type),
                description=escape_markdown(field.metadata[b"description"].decode()),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def trace_columns(pipeline: str, stage: str, inputs: Iterable[str]) -> dg.TableColumnLineage | None:
    """From which columns of its inputs the columns of a version come; None for what has no columns.

    Args:
        pipeline: Its name, which prefixes asset keys.
        stage: What made the version, such as `dataset`.
        inputs: Assets that it was made from, such as `records/radiology`.
    """
    if stage not in _COME_FROM:
        return None
    by_column: dict[str, list[dg.TableColumnDep]] = {}
    for asset in sorted(inputs):
        for column, read in _read_from(stage, asset).items():
            key = dg.AssetKey([pipeline, *asset.split("/")])
            by_column.setdefault(column, []).extend(dg.TableColumnDep(key, name) for name in read)
    return dg.TableColumnLineage(deps_by_column=by_column)


def _read_from(stage: str, asset: str) -> Mapping[str, tuple[str, ...]]:
    return _COME_FROM[stage].get(asset.partition("/")[0], {})
