"""Commands that compute: run, train, predict. Dagster is imported when one of them starts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import chdir
from typing import Annotated, Any, Literal, get_args

import typer
from pydantic import ValidationError

from vqa_pipeline.cli.options import DeclarationFile, PipelineName, find_pipeline
from vqa_pipeline.cli.summary import format_summary
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.reporting.escaping import escape_control

_GROUP = "Train"
_Asset = Literal["dataset", "vocabulary", "checkpoint", "predictions", "metrics"]

Override = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="A training setting for this run only, such as epochs=3. Repeatable."
    ),
]
Until = Annotated[_Asset, typer.Option("--until", help="The last asset to make.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command(rich_help_panel=_GROUP)(run)
    app.command(rich_help_panel=_GROUP)(train)
    app.command(rich_help_panel=_GROUP)(predict)


def run(
    pipeline: PipelineName = None, file: DeclarationFile = None, until: Until = "metrics", settings: Override = None
) -> None:
    """Everything from the raw files to the report; what has not changed is not computed again."""
    _materialize(find_pipeline(pipeline, file), until, settings or ())


def train(pipeline: PipelineName = None, file: DeclarationFile = None, settings: Override = None) -> None:
    """The checkpoint, and what it needs."""
    _materialize(find_pipeline(pipeline, file), "checkpoint", settings or ())


def predict(pipeline: PipelineName = None, file: DeclarationFile = None) -> None:
    """Predictions and metrics of the current checkpoint on the current dataset."""
    _execute(find_pipeline(pipeline, file), ["predictions", "metrics"], {})


def _materialize(chosen: Pipeline, until: str, settings: Sequence[str]) -> None:
    sources = [f"{kind}/{source.name}" for kind in ("raw", "records") for source in chosen.settings.sources]
    stages = get_args(_Asset)
    _execute(chosen, [*sources, *stages[: stages.index(until) + 1]], parse_overrides(chosen, settings))


def parse_overrides(chosen: Pipeline, settings: Sequence[str]) -> dict[str, Any]:
    """`name=value` texts as training settings, validated together with the declared ones.

    Raises:
        SettingsError: there is no such setting, or it cannot have that value.
    """
    declared = chosen.settings.training.model_dump()
    pairs: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise SettingsError("--set", f"{setting!r} has no value", "Write NAME=VALUE, such as epochs=3.")
        if name not in declared:
            fix = f"Training settings are: {', '.join(declared)}."
            raise SettingsError("--set", f"there is no training setting {name!r}", fix)
        pairs[name] = value
    try:
        validated = TrainingSettings.model_validate(declared | pairs)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
        raise SettingsError("--set", told, "Correct the value.") from error
    return {name: getattr(validated, name) for name in pairs}


def _execute(chosen: Pipeline, assets: Sequence[str], training: dict[str, Any]) -> None:
    from vqa_pipeline.orchestration.running import run_assets

    with chdir(chosen.project_root):  # the instance's folders are relative to the project
        result = run_assets(chosen, assets, training)
    if not result.success:
        for asset, message in result.failures:
            print(f"\n{chosen.name}/{asset}: " + escape_control(message, keep="\n"), file=sys.stderr)
        raise typer.Exit(1)
    print(format_summary(chosen, result.materializations))
