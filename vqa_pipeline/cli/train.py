"""Commands that compute: run, train, predict. Dagster is imported when one of them materializes an asset.

With `--output`, train and predict work on what is published, into a folder or file of one's own, without Dagster.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer
from pydantic import ValidationError

from vqa_pipeline.cli.answering import answer_file, answer_one, find_folder
from vqa_pipeline.cli.options import AsJson, DeclarationFile, PipelineName, find_pipeline
from vqa_pipeline.cli.summary import describe_training, format_lines, format_summary
from vqa_pipeline.cli.terminal import start_on_terminal
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.reporting.escaping import escape_control
from vqa_pipeline.schemas import Split
from vqa_pipeline.stages.standalone import Published, find_published, open_published, predict_into, train_into

_GROUP = "Train"
_Asset = Literal["dataset", "vocabulary", "checkpoint", "predictions", "metrics", "champion"]

Override = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="A training setting for this run only, such as epochs=3. Repeatable."
    ),
]
CheckpointFolder = Annotated[
    Path | None,
    typer.Option("--output", help="Train what is published into this folder, without Dagster; run again to go on."),
]
PredictionsFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        help="Write predictions to this Parquet file, without Dagster; with --questions, answers to CSV, TSV or JSONL.",
    ),
]
AskedImage = Annotated[Path | None, typer.Argument(help="An image file to ask the champion about.")]
AskedQuestion = Annotated[str | None, typer.Argument(help="The question about it.")]
AskedFile = Annotated[
    Path | None,
    typer.Option("--questions", help="CSV, TSV or JSONL with `image` and `question`, images relative to its folder."),
]
DatasetFolder = Annotated[
    Path | None,
    typer.Option(
        "--dataset",
        help="Published dataset for --output, such as data/store/clinic or a version in it; no project is needed.",
    ),
]
CheckpointUsed = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        help="Folder of the checkpoint to ask, or for --output; default: champion, or the published one.",
    ),
]
SplitPredicted = Annotated[
    Split | None, typer.Option("--split", help="Split to predict for --output; default: the evaluated ones.")
]
Until = Annotated[_Asset, typer.Option("--until", help="The last asset to make.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command(rich_help_panel=_GROUP)(run)
    app.command(rich_help_panel=_GROUP)(train)
    app.command(rich_help_panel=_GROUP)(predict)


def run(
    pipeline: PipelineName = None, file: DeclarationFile = None, until: Until = "champion", settings: Override = None
) -> None:
    """Everything from the raw files to report and champion; what has not changed is not computed again."""
    _materialize(find_pipeline(pipeline, file), until, settings or ())


def train(
    pipeline: PipelineName = None,
    file: DeclarationFile = None,
    settings: Override = None,
    output: CheckpointFolder = None,
    dataset: DatasetFolder = None,
) -> None:
    """The checkpoint, and what it needs; with --output, trained on what is published, without Dagster."""
    if output is not None:
        published = _open_published(pipeline, file, dataset, output)
        _train_into(output, published, _override(published.training, settings))
        return
    _refuse_without_output({"--dataset": dataset})
    _materialize(find_pipeline(pipeline, file), "checkpoint", settings or ())


def predict(  # noqa: PLR0913, PLR0917 - typer makes an option of each
    image: AskedImage = None,
    question: AskedQuestion = None,
    pipeline: PipelineName = None,
    file: DeclarationFile = None,
    settings: Override = None,
    output: PredictionsFile = None,
    dataset: DatasetFolder = None,
    checkpoint: CheckpointUsed = None,
    split: SplitPredicted = None,
    questions: AskedFile = None,
    as_json: AsJson = False,
) -> None:
    """Ask the champion, or without IMAGE and --questions: predictions, metrics and verdict of the checkpoint."""
    as_a_run = {"--dataset": dataset, "--split": split, "--set": settings}
    if questions is not None:
        _refuse("--questions", {"IMAGE": image, "QUESTION": question, "--json": as_json, **as_a_run})
    elif image is not None:
        _refuse("IMAGE", {"--output": output, **as_a_run})
    else:
        _refuse("the checkpoint's predictions", {"--json": as_json})
    if image is not None or questions is not None:
        _ask(image, question, questions, output, checkpoint or find_folder(find_pipeline(pipeline, file)), as_json)
        return
    if output is not None:
        published = _open_published(pipeline, file, dataset, output)
        asked = published._replace(splits=(split,) if split else published.splits)
        _predict_into(output, checkpoint, asked, _override(published.training, settings))
        return
    _refuse_without_output({"--dataset": dataset, "--checkpoint": checkpoint, "--split": split, "--set": settings})
    _execute(find_pipeline(pipeline, file), ["predictions", "metrics", "champion"], {})


def _ask(
    image: Path | None, question: str | None, questions: Path | None, output: Path | None, folder: Path, as_json: bool
) -> None:
    if questions is not None:
        num_failed = answer_file(folder, questions, output)
        if num_failed:
            print(f"{num_failed:,} could not be answered; their rows say why.", file=sys.stderr)
            sys.exit(1)
        return
    if image is None or question is None:
        raise SettingsError("QUESTION", "an image needs a question", "`vqa-pipeline predict IMAGE QUESTION`.")
    answer_one(folder, image, question, as_json=as_json)


def _train_into(output: Path, published: Published, training: TrainingSettings) -> None:
    scratch = published.store.scratch
    told = train_into(output, published, training, start_on_terminal(scratch))
    print(format_lines(str(output), describe_training(told, scratch)))


def _predict_into(output: Path, checkpoint: Path | None, published: Published, training: TrainingSettings) -> None:
    num_predictions = predict_into(output, checkpoint, published, training, start_on_terminal(published.store.scratch))
    splits = ", ".join(published.splits)
    print(
        format_lines(str(output), [("predictions", f"{num_predictions:,} of {splits}, the best answers with scores")])
    )


def _open_published(name: str | None, file: Path | None, dataset: Path | None, output: Path) -> Published:
    if dataset is None:
        return find_published(find_pipeline(name, file))
    return open_published(dataset, output.with_name(f"{output.name}.scratch"))


def _refuse(asked: str, given: Mapping[str, object]) -> None:
    for option, value in given.items():
        if value:
            raise SettingsError(option, f"it says nothing about {asked}", "Leave it out.")


def _refuse_without_output(given: Mapping[str, object]) -> None:
    for option, value in given.items():
        if value:
            raise SettingsError(option, "only what goes to --output can be told so", "Name an --output, or declare it.")


def _override(declared: TrainingSettings, settings: Sequence[str] | None) -> TrainingSettings:
    return declared.model_copy(update=parse_overrides(declared, settings or ()))


def _materialize(chosen: Pipeline, until: str, settings: Sequence[str]) -> None:
    sources = [f"{kind}/{source.name}" for kind in ("raw", "records") for source in chosen.settings.sources]
    stages = get_args(_Asset)
    _execute(
        chosen, [*sources, *stages[: stages.index(until) + 1]], parse_overrides(chosen.settings.training, settings)
    )


def parse_overrides(training: TrainingSettings, settings: Sequence[str]) -> dict[str, Any]:
    """`name=value` texts as training settings, validated together with the declared ones.

    Raises:
        SettingsError: there is no such setting, or it cannot have that value.
    """
    declared = training.model_dump()
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
