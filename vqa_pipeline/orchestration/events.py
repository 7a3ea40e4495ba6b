"""What a stage did, as Dagster's events: checks, materializations with numbers and page, failures in a user's words."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg

from vqa_pipeline import schemas
from vqa_pipeline.errors import GateFailed, VqaPipelineError, WorkerFailed
from vqa_pipeline.orchestration.columns import trace_columns
from vqa_pipeline.publishing import Outcome
from vqa_pipeline.reporting.dataset_changes import changes_markdown

Events = Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]

_ROW_COUNTS = {
    "records": "num_questions",
    "dataset": "num_questions",
    "vocabulary": "num_answers",
    "predictions": "num_predictions",
}
_REPORT = "report.html"
_INPUT_DATA_VERSION = "dagster/input_data_version"
"""Prefix of tags of Dagster's events: the data versions that an asset was made from, by asset."""


def report(key: dg.AssetKey, run: Callable[[], Outcome]) -> Events:
    """Run a stage: its checks first, so that a failed gate is seen, then its materialization."""
    try:
        with explaining():
            outcome = run()
    except GateFailed as error:
        yield from (_translate_check(check, key) for check in error.checks)
        metadata = {
            "candidate": dg.MetadataValue.path(str(error.candidate)),
            "page": dg.MetadataValue.md(error.markdown),
        }
        raise dg.Failure(description=str(error), metadata=metadata) from None
    yield from (_translate_check(check, key) for check in outcome.checks)
    version = dg.DataVersion(outcome.version.manifest.data_version)
    yield dg.MaterializeResult(
        asset_key=key,
        data_version=version,
        metadata=describe_outcome(key, outcome),
        tags=_tell_inputs(key.path[0], outcome),
    )


def _tell_inputs(pipeline: str, outcome: Outcome) -> dict[str, str]:
    """The data versions that the stage read; Dagster would note those that it knew of when the step began."""
    inputs = outcome.version.manifest.inputs
    return {f"{_INPUT_DATA_VERSION}/{pipeline}/{name}": read.data_version for name, read in inputs.items()}


@contextmanager
def explaining() -> Iterator[None]:
    """Turn a user's mistake into a failure with its message; a gate is told by whoever runs the stage.

    A worker that crashed is started once more and goes on from its last progress. This is asked for here and not by a
    retry policy, because with a policy Dagster would also start again what somebody has just stopped.
    """
    try:
        yield
    except GateFailed:
        raise
    except WorkerFailed as error:
        raise dg.RetryRequested(max_retries=1) from dg.Failure(description=str(error))
    except VqaPipelineError as error:
        raise dg.Failure(description=str(error)) from None


def _translate_check(check: schemas.Check, key: dg.AssetKey) -> dg.AssetCheckResult:
    numbers = {name: value for name, value in check.numbers.items() if value is not None}
    return dg.AssetCheckResult(
        check_name=check.name,
        asset_key=key,
        passed=check.passed,
        severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
        description=check.message,
        metadata=numbers,
    )


def describe_outcome(key: dg.AssetKey, outcome: Outcome) -> dict[str, Any]:
    """Metadata of an outcome: numbers to plot, the page, where the version is and what it was made from."""
    manifest = outcome.version.manifest
    pipeline, stage = key.path[:2]
    numbers: dict[str, Any] = {name: value for name, value in manifest.numbers.items() if value is not None}
    metadata: dict[str, Any] = {
        "page": dg.MetadataValue.md(_write_page(stage, outcome)),
        **numbers,
        "path": dg.MetadataValue.path(str(outcome.version.path)),
        "version": manifest.version,
        "inputs": dg.MetadataValue.json({name: read.model_dump() for name, read in manifest.inputs.items()}),
        "stage_seconds": manifest.seconds,
        "reused": outcome.reused,
    }
    if outcome.provenance:
        metadata["provenance"] = dg.MetadataValue.md(outcome.provenance)
    if stage in _ROW_COUNTS:
        metadata["dagster/row_count"] = manifest.numbers[_ROW_COUNTS[stage]]
    if lineage := trace_columns(pipeline, stage, manifest.inputs):
        metadata["dagster/column_lineage"] = lineage
    if _REPORT in manifest.files:
        metadata["report"] = dg.MetadataValue.path(str(outcome.version.path / _REPORT))
    if stage == "checkpoint":
        overridden: Mapping[str, Any] = manifest.details.get("overridden", {})
        metadata |= {"overridden": dg.MetadataValue.json(dict(overridden)), "declared_in_yaml": not overridden}
        if curves := manifest.details.get("curves"):
            metadata["tensorboard"] = dg.MetadataValue.path(curves)
    return metadata


def _write_page(stage: str, outcome: Outcome) -> str:
    """The version's page; above a dataset's stands what changed, which its files do not know."""
    details = outcome.version.manifest.details
    if stage != "dataset" or "changes" not in details:
        return outcome.markdown
    return f"{changes_markdown(details['changes'])}\n\n{outcome.markdown}"
