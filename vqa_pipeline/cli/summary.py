"""The short summary that ends a run: fates, vocabulary, accuracy beside the baselines, seconds, the report's path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from vqa_pipeline.cli.tables import format_table
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.store import Store, Version


class Made(Protocol):
    """An asset that a run made."""

    asset: str
    seconds: float
    reused: bool


def format_summary(pipeline: Pipeline, made: Sequence[Made]) -> str:
    """What the current versions say, and how long each asset took."""
    store = Store(pipeline.store_folder, pipeline.scratch_folder)
    present = {name: store.current(name) for name in ("dataset", "vocabulary", "metrics")}
    done = {one.asset for one in made}
    shown = {name: version for name, version in present.items() if version is not None and name in done}
    parts = [f"{pipeline.name}"]
    if "dataset" in shown:
        parts += _describe_dataset(shown["dataset"])
    if "vocabulary" in shown:
        parts += _describe_vocabulary(shown["vocabulary"])
    if "metrics" in shown:
        parts += _describe_metrics(shown["metrics"])
    seconds = ", ".join(f"{one.asset} {'unchanged' if one.reused else f'{one.seconds:.1f}'}" for one in made)
    parts.append(f"  seconds     {seconds}")
    if "metrics" in shown:
        parts.append(f"  report      {os.path.relpath(shown['metrics'].path / 'report.html')}")
    return "\n" + "\n".join(parts)


def _describe_dataset(version: Version) -> list[str]:
    numbers = version.manifest.numbers
    fates = ", ".join(f"{numbers[f'num_{fate}']:,} {fate}" for fate in ("rejected", "duplicate", "excluded"))
    splits = ", ".join(f"{split} {numbers[f'num_questions_{split}']:,}" for split in ("train", "val", "test"))
    return [
        f"  rows        {numbers['num_rows']:,}: {numbers['num_questions']:,} accepted, {fates}",
        f"  questions   {splits}, on {numbers['num_images']:,} images",
    ]


def _describe_vocabulary(version: Version) -> list[str]:
    numbers = version.manifest.numbers
    split = "test" if "coverage_test" in numbers else "train"
    return [
        f"  vocabulary  {numbers['num_answers']:,} answers; coverage {numbers[f'coverage_{split}']:.1%}, "
        f"ceiling {numbers[f'ceiling_{split}']:.3f} on {split}"
    ]


def _describe_metrics(version: Version) -> list[str]:
    numbers = version.manifest.numbers
    rows = [
        ("VQA accuracy", numbers["vqa_accuracy"]),
        ("question only", numbers["baseline_question_only"]),
        ("question type", numbers["baseline_question_type"]),
        ("most common", numbers["baseline_majority"]),
    ]
    table = format_table([(name, f"{value:.3f}") for name, value in rows])
    return [f"  {'scores' if number == 0 else '      '}      {line}" for number, line in enumerate(table.splitlines())]
