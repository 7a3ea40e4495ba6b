"""A pipeline as Dagster assets: one per stage, each with its data version, checks, numbers and page.

What a stage does is in `stages`; here it gets a key, dependencies, a pool, and its outcome becomes Dagster's events.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from vqa_pipeline import stages
from vqa_pipeline.modeling.jobs import PredictJob, TrainJob, locate_curves
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.orchestration.automation import follow_after, follow_changes, observe_regularly, train
from vqa_pipeline.orchestration.code_links import link_code
from vqa_pipeline.orchestration.dead_runs import build_sensor, end_with_leader, find_marks, hold_run
from vqa_pipeline.orchestration.descriptions import describe_asset
from vqa_pipeline.orchestration.events import Events, describe_outcome, explaining, report
from vqa_pipeline.orchestration.launchpad import build_run_config
from vqa_pipeline.orchestration.narrator import Narrator
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.progress import Display, Progress, ProgressLines
from vqa_pipeline.publishing import Outcome, compute_fingerprint
from vqa_pipeline.sources.formats import Source
from vqa_pipeline.sources.formats.shapes import ShapesSource
from vqa_pipeline.stages.stage import list_inputs
from vqa_pipeline.training_client import TrainingClient

_FUNCTIONS = {
    "raw": "observe_source",
    "records": "build_records",
    "dataset": "build_dataset",
    "vocabulary": "build_vocabulary",
    "checkpoint": "train_checkpoint",
    "predictions": "predict",
    "metrics": "evaluate",
    "champion": "decide_champion",
}
"""What makes each asset, of `stages`."""
ON_GPU = {"pool": "gpu"}
"""What starts a worker waits for the GPU."""
_DATA_VERSION = "dagster/data_version"
"""Tag of Dagster's events: an asset's data version."""


def build_definitions(
    pipeline: Pipeline,
    steps: Any = stages,
    client: TrainingClient | None = None,
    progress: Display | None = None,
    declared_in: Path | None = None,
) -> dg.Definitions:
    """Every definition of a pipeline; also the way to use one from Python, with no YAML.

    Args:
        pipeline: Settings and folders.
        steps: The stages; a module or object with the functions of `stages`.
        client: Starts workers; None: one that starts our own.
        progress: Shows how far reading and writing are; None: the log of the run, in a line now and then.
        declared_in: The YAML file with the settings, to link to.
    """
    interrupts = (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)
    client = client or TrainingClient(pipeline.scratch_folder, interrupts=interrupts)
    return _Builder(pipeline, steps, client, progress, declared_in).build()


class _Builder:
    """Collects the assets of one pipeline."""

    def __init__(
        self,
        pipeline: Pipeline,
        steps: Any,
        client: TrainingClient,
        progress: Display | None,
        declared_in: Path | None,
    ) -> None:
        self.pipeline, self.steps, self.client, self.progress = pipeline, steps, client, progress
        self.declared_in = declared_in
        self.marks = find_marks(pipeline)
        retrain = pipeline.settings.retrain
        self.by_itself = retrain != "manual"
        self.look_when = observe_regularly(pipeline.settings.observe) if self.by_itself else None
        self.follow = follow_changes() if self.by_itself else None
        trains_at_once = retrain == "on_change"
        self.answer_when = follow_after(self.key("checkpoint")) if trains_at_once else self.follow
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
        if isinstance(source, ShapesSource):
            raw = self._build_stage(
                f"raw/{source.name}",
                lambda context: observe(context.log.info, self._show_progress(context)),
            )
        else:
            raw = self._build_observable(f"raw/{source.name}", observe)
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

    def _build_observable(self, asset: str, observe: Callable[..., Outcome]) -> Any:
        declared = self._declare(asset)
        kinds = declared["kinds"]

        @dg.observable_source_asset(
            key=self.key(asset),
            group_name=self.pipeline.name,
            description=declared["description"],
            metadata=declared["metadata"],
            automation_condition=self.look_when,
            tags={f"dagster/kind/{kind}": "" for kind in kinds},
        )
        def raw(context: dg.OpExecutionContext) -> dg.ObserveResult:
            with self._working(context.run_id):
                outcome = observe(context.log.info, self._show_progress(context))
            version = dg.DataVersion(outcome.version.manifest.data_version)
            return dg.ObserveResult(data_version=version, metadata=describe_outcome(self.key(asset), outcome))

        return raw

    def _build_stage(
        self,
        asset: str,
        run: Callable[[dg.AssetExecutionContext], Outcome],
        *,
        works_on_gpu: bool = False,
    ) -> dg.AssetsDefinition:
        declared = self._declare(asset) | (ON_GPU if works_on_gpu else {})
        follow = self.answer_when if works_on_gpu else self.follow

        def stage(context: dg.AssetExecutionContext) -> Events:
            with self._working(context.run_id):
                yield from report(self.key(asset), lambda: run(context))

        return _make_asset(stage, declared, follow)

    def _build_checkpoint(self) -> dg.AssetsDefinition:
        config_class = build_run_config(self.pipeline.settings.training)
        declared = self._declare("checkpoint") | ON_GPU

        def checkpoint(context: dg.AssetExecutionContext, config: config_class) -> Events:  # type: ignore[valid-type]
            training = TrainingSettings.model_validate(config.model_dump())  # type: ignore[attr-defined]
            run_worker = self._start_worker(context)
            train = partial(self.steps.train_checkpoint, self.pipeline, training, run_worker, context.log.info)
            with self._working(context.run_id):
                yield from report(self.key("checkpoint"), train)

        return _make_asset(checkpoint, declared, self.train_when)

    @contextmanager
    def _working(self, run_id: str) -> Iterator[None]:
        """What holds while a step of a run works."""
        end_with_leader()
        with explaining(), hold_run(self.marks, run_id):
            yield

    def _build_dataset(self, context: dg.AssetExecutionContext) -> Outcome:
        outcome: Outcome = self.steps.build_dataset(self.pipeline, context.log.info, self._show_progress(context))
        return outcome

    def _show_progress(self, context: dg.OpExecutionContext | dg.AssetExecutionContext) -> Progress:
        return self.progress or ProgressLines(context.log.info)

    def _predict(self, context: dg.AssetExecutionContext) -> Outcome:
        outcome: Outcome = self.steps.predict(self.pipeline, self._start_worker(context), context.log.info)
        return outcome

    def _start_worker(self, context: dg.AssetExecutionContext) -> Callable[[Any], None]:
        curve = self.key("training_curve")

        def run_worker(job: TrainJob | PredictJob) -> None:
            files = {"log": self.client.locate_log(job, context.run_id)}
            if isinstance(job, TrainJob):
                files["tensorboard"] = locate_curves(Path(job.progress_folder), job.fingerprint)
            self.client.run(job, context.run_id, Narrator(context, curve, files, self.progress))

        return run_worker

    def _call(self, name: str) -> Callable[[dg.AssetExecutionContext], Outcome]:
        function: Callable[..., Outcome] = getattr(self.steps, name)
        return lambda context: function(self.pipeline, context.log.info)

    # ----------------------------------------------------------------------------------------------------- declarations

    def _declare(self, asset: str) -> dict[str, Any]:
        """What an asset's definition says."""
        stage = asset.partition("/")[0]
        checks = self.steps.CHECKS.get(stage, ())
        described = describe_asset(self.pipeline, asset)
        links = link_code(getattr(self.steps, _FUNCTIONS[stage]), self.declared_in)
        return {
            "key": self.key(asset),
            "deps": [self.key(name) for name in list_inputs(self.pipeline, asset)],
            "group_name": self.pipeline.name,
            "code_version": self._version_code(asset),
            "check_specs": [
                dg.AssetCheckSpec(c.name, asset=self.key(asset), blocking=c.blocking, description=c.description)
                for c in checks
            ],
            **described,
            "metadata": described["metadata"] | {"dagster/code_references": links},
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
            description="Looks at the sources' files, and runs each asset as the conditions on its page say.",
            target=dg.AssetSelection.groups(self.pipeline.name, include_sources=True),
            default_status=dg.DefaultSensorStatus.RUNNING,
        )


def _make_asset(function: Callable[..., Events], declared: Mapping[str, Any], condition: Any) -> dg.AssetsDefinition:
    decorate: Callable[[Callable[..., Events]], dg.AssetsDefinition]
    decorate = dg.asset(**declared, automation_condition=condition)
    return decorate(function)
