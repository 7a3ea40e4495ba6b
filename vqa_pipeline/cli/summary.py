"""The short summary that ends a run: fates, vocabulary, accuracy beside the baselines, seconds, the report's path."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vqa_pipeline.modeling.jobs import locate_curves
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.reporting.training import list_facts
from vqa_pipeline.schemas import SPLITS
from vqa_pipeline.stages.checkpoint import TRAININGS
from vqa_pipeline.store import Store, Version

Lines = list[tuple[str, str]]
"""A label, which may be empty, and a text."""


class Made(Protocol):
    """An asset that a run made, as `orchestration.running` tells it."""

    @property
    def asset(self) -> str:
        """Key below the pipeline."""

    @property
    def seconds(self) -> float:
        """How long it took."""

    @property
    def reused(self) -> bool:
        """Whether nothing had changed."""


def format_summary(pipeline: Pipeline, made: Sequence[Made]) -> str:
    """What the current versions of the assets made say, and how long each took."""
    store = Store(pipeline.store_folder, pipeline.scratch_folder)
    names = {one.asset for one in made}
    lines: Lines = []
    for asset, describe in _DESCRIPTIONS.items():
        if asset in names:
            lines += describe(store.require(asset))
    if "checkpoint" in names and "metrics" not in names:
        lines += describe_training(store.require("checkpoint").manifest.details["training"], store.scratch)
    lines += _describe_seconds(made)
    lines += _describe_report(store.current("metrics")) if "metrics" in names else []
    return format_lines(pipeline.name, lines)


def format_lines(title: str, lines: Lines) -> str:
    """A title with labelled lines below it."""
    return f"\n{title}\n" + "\n".join(f"  {label:<12}  {text}".rstrip() for label, text in lines)


def _describe_dataset(version: Version) -> Lines:
    numbers = version.manifest.numbers
    fates = ", ".join(f"{numbers[f'num_{fate}']:,} {fate}" for fate in ("rejected", "duplicate", "excluded"))
    splits = ", ".join(f"{numbers[f'num_questions_{split}']:,} {split}" for split in SPLITS)
    return [
        ("rows", f"{numbers['num_rows']:,} read: {numbers['num_questions']:,} accepted, {fates}"),
        ("questions", f"{splits}, on {numbers['num_images']:,} images"),
    ]


def _describe_vocabulary(version: Version) -> Lines:
    numbers = version.manifest.numbers
    split = next(split for split in reversed(SPLITS) if f"coverage_{split}" in numbers)
    shares = f"coverage {numbers[f'coverage_{split}']:.3f} and ceiling {numbers[f'ceiling_{split}']:.3f} on {split}"
    return [("vocabulary", f"{numbers['num_answers']:,} answers; {shares}")]


def _describe_checkpoint(version: Version) -> Lines:
    numbers = version.manifest.numbers
    best = f"validation accuracy {numbers['best_val_accuracy']:.3f} in epoch {numbers['best_epoch']}"
    return [("checkpoint", f"{best}; trained on {numbers['num_train_questions']:,} questions")]


def describe_training(told: Mapping[str, Any], scratch: Path) -> Lines:
    """What a `training.json` tells, and what shows the curves where they were kept."""
    curves = locate_curves(scratch / TRAININGS, told["fingerprint"])
    return list_facts({**told, "curves": os.path.relpath(curves) if curves.is_dir() else None})


def _describe_champion(version: Version) -> Lines:
    verdict = version.manifest.details["verdict"]
    outcome = verdict["outcome"].replace("_", " ")
    return [("champion", f"{outcome}: {verdict['reasons'][0]}")]


def _describe_metrics(version: Version) -> Lines:
    numbers = version.manifest.numbers
    if not numbers["num_scored"]:
        return [("VQA accuracy", "none: the test split has no answers to score against, it is predicted only")]
    sure = f"({numbers['interval_low']:.3f} to {numbers['interval_high']:.3f})"
    shuffled = numbers.get("baseline_shuffled_image")
    return [
        ("VQA accuracy", f"{numbers['vqa_accuracy']:.3f} {sure} on {numbers['num_scored']:,} questions"),
        *([("  baselines", f"{shuffled:.3f}  the model itself, shown other images")] if shuffled is not None else []),
        (
            "  baselines" if shuffled is None else "",
            f"{numbers['baseline_question_only']:.3f}  from the question alone",
        ),
        ("", f"{numbers['baseline_question_type']:.3f}  most common answer per question type"),
        ("", f"{numbers['baseline_majority']:.3f}  most common answer"),
    ]


_DESCRIPTIONS: dict[str, Callable[[Version], Lines]] = {
    "dataset": _describe_dataset,
    "vocabulary": _describe_vocabulary,
    "checkpoint": _describe_checkpoint,
    "metrics": _describe_metrics,
    "champion": _describe_champion,
}


def _describe_seconds(made: Sequence[Made]) -> Lines:
    told = ", ".join(f"{one.asset} {'unchanged' if one.reused else f'{one.seconds:.1f}'}" for one in made)
    return [("seconds", f"{told}; {sum(one.seconds for one in made):.1f} in all")]


def _describe_report(version: Version | None) -> Lines:
    has_report = version is not None and version.manifest.numbers["num_scored"]
    return [("report", os.path.relpath(version.path / "report.html"))] if version and has_report else []
