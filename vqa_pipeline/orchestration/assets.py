"""A pipeline as Dagster assets: one per stage, each with its data version, checks, numbers and page.

What a stage does is in `stages`; here it gets a key, dependencies, a pool, and its outcome becomes Dagster's events.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import partial
from types import UnionType
from typing import Any, Union, get_args, get_origin

import dagster as dg
import pyarrow as pa
from pydantic import create_model

from vqa_pipeline import schemas, stages
from vqa_pipeline.errors import GateFailed, VqaPipelineError, WorkerFailed
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.orchestration.automation import follow_changes, observe_regularly, train
from vqa_pipeline.orchestration.dead_runs import build_sensor, find_marks, hold_run
from vqa_pipeline.orchestration.narrator import Narrator
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.progress import Display, Progress, ProgressLines
from vqa_pipeline.publishing import Outcome, compute_fingerprint
from vqa_pipeline.reporting.dataset_changes import changes_markdown
from vqa_pipeline.reporting.escaping import escape_markdown
from vqa_pipeline.sources.formats import Source
from vqa_pipeline.sources.formats.shapes import ShapesSource
from vqa_pipeline.stages.stage import list_inputs
from vqa_pipeline.training_client import TrainingClient

ON_GPU = {"pool": "gpu"}
"""What starts a worker waits for the GPU."""
Events = Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]

_REPORT = "report.html"
_DATA_VERSION, _INPUT_DATA_VERSION = "dagster/data_version", "dagster/input_data_version"
"""Tags of Dagster's events: an asset's data version, and below the second those that it was made from, by asset."""

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
_KINDS = {
    "raw": {"file"},
    "records": {"pydantic", "parquet"},
    "dataset": {"parquet", "polars"},
    "vocabulary": {"json"},
    "checkpoint": {"torch", "huggingface"},
    "predictions": {"torch", "parquet"},
    "metrics": {"html", "scikitlearn"},
    "champion": {"huggingface"},
}
_COLUMNS = {
    "records": schemas.QUESTION_RECORDS,
    "dataset": schemas.QUESTIONS,
    "predictions": schemas.PREDICTIONS,
}
_ROW_COUNTS = {
    "records": "num_questions",
    "dataset": "num_questions",
    "vocabulary": "num_answers",
    "predictions": "num_predictions",
}


def build_definitions(
    pipeline: Pipeline, steps: Any = stages, client: TrainingClient | None = None, progress: Display | None = None
) -> dg.Definitions:
    """Every definition of a pipeline; also the way to use one from Python, with no YAML.

    Args:
        pipeline: Settings and folders.
        steps: The stages; a module or object with the functions of `stages`.
        client: Starts workers; None: one that starts our own.
        progress: Shows how far reading and writing are; None: the log of the run, in a line now and then.
    """
    interrupts = (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)
    client = client or TrainingClient(pipeline.scratch_folder, interrupts=interrupts)
    return _Builder(pipeline, steps, client, progress).build()


class _Builder:
    """Collects the assets of one pipeline."""

    def __init__(self, pipeline: Pipeline, steps: Any, client: TrainingClient, progress: Display | None) -> None:
        self.pipeline, self.steps, self.client, self.progress = pipeline, steps, client, progress
        self.marks = find_marks(pipeline)
        retrain = pipeline.settings.retrain
        self.by_itself = retrain != "manual"
        self.look_when = observe_regularly(pipeline.settings.observe) if self.by_itself else None
        self.follow = follow_changes() if self.by_itself else None
        self.train_when = None if retrain == "manual" else train(retrain)

    def build(self) -> dg.Definitions:
        assets = [asset for source in self.pipeline.settings.sources for asset in self._build_source(source)]
        assets += [
            self._build_stage("dataset", self._build_dataset),
            self._build_stage("vocabulary", self._call("build_vocabulary")),
            self._build_checkpoint(),
            self._build_stage("predictions", self._predict, works_on_gpu=True),
            self._build_stage("metrics", self._call("evaluate")),
            self._build_stage("champion", self._call("decide_champion")),
            self._describe_curve(),
        ]
        automation = [self._build_sensor()] if self.by_itself else []
        return dg.Definitions(assets=assets, sensors=[build_sensor(self.pipeline), *automation])

    def key(self, asset: str) -> dg.AssetKey:
        """The Dagster key of an asset of this pipeline."""
        return dg.AssetKey([self.pipeline.name, *asset.split("/")])

    # ----------------------------------------------------------------------------------------------------------- kinds

    def _build_source(self, source: Source) -> list[Any]:
        observe = partial(self.steps.observe_source, self.pipeline, source.name)
        described = f"{type(source).__doc__ or ''}\n\nThe files of source `{source.name}`, as they are."
        if isinstance(source, ShapesSource):
            raw = self._build_stage(
                f"raw/{source.name}",
                lambda context: observe(context.log.info, self._show_progress(context)),
                description=described,
            )
        else:
            raw = self._build_observable(source, observe, described)
        return [raw, self._build_stage(f"records/{source.name}", partial(self._build_records, source))]

    def _build_records(self, source: Source, context: dg.AssetExecutionContext) -> Outcome:
        outcome: Outcome = self.steps.build_records(
            self.pipeline, source.name, context.log.info, self._show_progress(context)
        )
        if not isinstance(source, ShapesSource):
            # "Materialize all" leaves out what is only observed: what was read here would seem never to have been seen.
            [read] = outcome.version.manifest.inputs.values()
            tags = {_DATA_VERSION: read.data_version}
            context.log_event(dg.AssetObservation(self.key(f"raw/{source.name}"), tags=tags))
        return outcome

    def _build_observable(self, source: Source, observe: Callable[..., Outcome], description: str) -> Any:
        @dg.observable_source_asset(
            key=self.key(f"raw/{source.name}"),
            group_name=self.pipeline.name,
            description=description,
            automation_condition=self.look_when,
            tags={f"dagster/kind/{kind}": "" for kind in _KINDS["raw"]},
        )
        def raw(context: dg.OpExecutionContext) -> dg.ObserveResult:
            with _explaining(), hold_run(self.marks, context.run_id):
                outcome = observe(context.log.info, self._show_progress(context))
            version = dg.DataVersion(outcome.version.manifest.data_version)
            return dg.ObserveResult(data_version=version, metadata=_describe("raw", outcome))

        return raw

    def _build_stage(
        self,
        asset: str,
        run: Callable[[dg.AssetExecutionContext], Outcome],
        description: str | None = None,
        *,
        works_on_gpu: bool = False,
    ) -> dg.AssetsDefinition:
        declared = self._declare(asset, description) | (ON_GPU if works_on_gpu else {})

        def stage(context: dg.AssetExecutionContext) -> Events:
            with _explaining(), hold_run(self.marks, context.run_id):
                yield from _report(asset, self.key(asset), lambda: run(context))

        return _make_asset(stage, declared, self.follow)

    def _build_checkpoint(self) -> dg.AssetsDefinition:
        config_class = build_run_config(self.pipeline.settings.training)
        declared = self._declare("checkpoint", None) | ON_GPU

        def checkpoint(context: dg.AssetExecutionContext, config: config_class) -> Events:  # type: ignore[valid-type]
            training = TrainingSettings.model_validate(config.model_dump())  # type: ignore[attr-defined]
            run_worker = self._start_worker(context)
            train = partial(self.steps.train_checkpoint, self.pipeline, training, run_worker, context.log.info)
            with _explaining(), hold_run(self.marks, context.run_id):
                yield from _report("checkpoint", self.key("checkpoint"), train)

        return _make_asset(checkpoint, declared, self.train_when)

    def _build_dataset(self, context: dg.AssetExecutionContext) -> Outcome:
        outcome: Outcome = self.steps.build_dataset(self.pipeline, context.log.info, self._show_progress(context))
        return outcome

    def _show_progress(self, context: dg.OpExecutionContext | dg.AssetExecutionContext) -> Progress:
        return self.progress or ProgressLines(context.log.info)

    def _predict(self, context: dg.AssetExecutionContext) -> Outcome:
        outcome: Outcome = self.steps.predict(self.pipeline, self._start_worker(context), context.log.info)
        return outcome

    def _start_worker(self, context: dg.AssetExecutionContext) -> Callable[[Any], None]:
        narrator = Narrator(context, self.key("training_curve"), self.progress)
        return lambda job: self.client.run(job, context.run_id, narrator)

    def _call(self, name: str) -> Callable[[dg.AssetExecutionContext], Outcome]:
        function: Callable[..., Outcome] = getattr(self.steps, name)
        return lambda context: function(self.pipeline, context.log.info)

    # ----------------------------------------------------------------------------------------------------- declarations

    def _declare(self, asset: str, description: str | None) -> dict[str, Any]:
        stage = asset.partition("/")[0]
        source = asset.partition("/")[2]
        checks = self.steps.CHECKS.get(stage, ())
        metadata: dict[str, Any] = {}
        if stage in _COLUMNS:
            metadata["dagster/column_schema"] = build_table_schema(_COLUMNS[stage])
        return {
            "key": self.key(asset),
            "deps": [self.key(name) for name in list_inputs(self.pipeline, asset)],
            "group_name": self.pipeline.name,
            "kinds": _KINDS[stage],
            "description": description or _DESCRIPTIONS[stage].format(source),
            "code_version": self._version_code(asset),
            "metadata": metadata,
            "check_specs": [
                dg.AssetCheckSpec(c.name, asset=self.key(asset), blocking=c.blocking, description=c.description)
                for c in checks
            ],
        }

    def _version_code(self, asset: str) -> str:
        """Stage number and settings: what else than inputs decides a result."""
        number = self.steps.STAGE_NUMBERS[asset.partition("/")[0]]
        return f"{number}-{compute_fingerprint(self.steps.stage_settings(self.pipeline, asset))}"

    def _describe_curve(self) -> dg.AssetSpec:
        return dg.AssetSpec(
            key=self.key("training_curve"),
            group_name=self.pipeline.name,
            deps=[self.key("checkpoint")],
            description="Loss, rate, speed, memory and validation accuracy while a training runs; only observed.",
            kinds={"torch"},
        )

    def _build_sensor(self) -> dg.AutomationConditionSensorDefinition:
        return dg.AutomationConditionSensorDefinition(
            f"{self.pipeline.name}_automation",
            target=dg.AssetSelection.groups(self.pipeline.name, include_sources=True),
            default_status=dg.DefaultSensorStatus.RUNNING,
        )


def _make_asset(function: Callable[..., Events], declared: Mapping[str, Any], condition: Any) -> dg.AssetsDefinition:
    decorate: Callable[[Callable[..., Events]], dg.AssetsDefinition]
    decorate = dg.asset(**declared, automation_condition=condition)
    return decorate(function)


# -------------------------------------------------------------------------------------------------- outcomes as events


def _report(asset: str, key: dg.AssetKey, run: Callable[[], Outcome]) -> Events:
    """Run a stage: its checks first, so that a failed gate is seen, then its materialization."""
    try:
        with _explaining():
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
        metadata=_describe(asset.partition("/")[0], outcome),
        tags=_tell_inputs(key.path[0], outcome),
    )


def _tell_inputs(pipeline: str, outcome: Outcome) -> dict[str, str]:
    """The data versions that the stage read; Dagster would note those that it knew of when the step began."""
    inputs = outcome.version.manifest.inputs
    return {f"{_INPUT_DATA_VERSION}/{pipeline}/{name}": read.data_version for name, read in inputs.items()}


@contextmanager
def _explaining() -> Iterator[None]:
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


def _describe(stage: str, outcome: Outcome) -> dict[str, Any]:
    """Metadata of an outcome: numbers to plot, the page, where the version is and what it was made from."""
    manifest = outcome.version.manifest
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
    if _REPORT in manifest.files:
        metadata["report"] = dg.MetadataValue.path(str(outcome.version.path / _REPORT))
    if stage == "checkpoint":
        overridden: Mapping[str, Any] = manifest.details.get("overridden", {})
        metadata |= {"overridden": dg.MetadataValue.json(dict(overridden)), "declared_in_yaml": not overridden}
    return metadata


def _write_page(stage: str, outcome: Outcome) -> str:
    """The version's page; above a dataset's stands what changed, which its files do not know."""
    details = outcome.version.manifest.details
    if stage != "dataset" or "changes" not in details:
        return outcome.markdown
    return f"{changes_markdown(details['changes'])}\n\n{outcome.markdown}"


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


class _TrainingConfig(TrainingSettings, dg.Config):
    """The settings of training, as Dagster's launchpad takes them."""


def build_run_config(declared: TrainingSettings) -> type[dg.Config]:
    """The training's settings as run config: typed and described, with this pipeline's values as defaults."""
    fields: dict[str, Any] = {}
    for name, info in TrainingSettings.model_fields.items():
        own = copy(info)
        own.default = getattr(declared, name)
        fields[name] = (_to_launchpad(info.annotation), own)
    return create_model("TrainingRun", __base__=_TrainingConfig, **fields)


def _to_launchpad(annotation: Any) -> Any:
    """A type that Dagster's config knows: it has no unions but with None; the settings themselves check the others."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    is_union = get_origin(annotation) in {Union, UnionType}
    return Any if is_union and len(kinds) > 1 else annotation
