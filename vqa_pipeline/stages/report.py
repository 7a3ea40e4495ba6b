"""What the metrics stage leaves for people: the report, the page of the asset, and suspect annotations to correct."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from vqa_pipeline.errors import DamagedVersion
from vqa_pipeline.evaluation.settings import REPORTED_SPLIT
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.publishing import PAGE, Work
from vqa_pipeline.stages.dataset import find_image_packs
from vqa_pipeline.stages.stage import open_store, stage_settings
from vqa_pipeline.store import Store, Version

if TYPE_CHECKING:
    import pandas as pd

    from vqa_pipeline.reporting.changes import Change, Facts
    from vqa_pipeline.reporting.galleries import Galleries

SUSPECTS = "suspects"
"""Folder in a metrics version, with a file for each source that has any."""


class MadeFrom(NamedTuple):
    """The versions that metrics were made from."""

    dataset: Version
    checkpoint: Version
    predictions: Version


class Scored(NamedTuple):
    """What was scored."""

    questions: pd.DataFrame
    """The evaluated ones."""
    scores: pd.DataFrame
    """The model's, of the annotated ones."""
    predictions: pd.DataFrame
    """The model's."""


def write_report(pipeline: Pipeline, work: Work, made_from: MadeFrom, told: dict[str, Any], scored: Scored) -> None:
    """Write the report, the asset's page and the suspects.

    Args:
        pipeline: Whose.
        work: The metrics candidate, its data version and numbers set.
        made_from: What they were made from.
        told: `evaluation.metrics.Metrics` as JSON.
        scored: Questions, scores and answers.
    """
    from vqa_pipeline.reporting.cards import metrics_markdown
    from vqa_pipeline.reporting.galleries import describe_shots, join_answers, pick_galleries
    from vqa_pipeline.reporting.report import ReportInput, render_report

    rows, shows_images = join_answers(*scored), pipeline.settings.evaluation.images
    suspects = _find_suspects(rows)
    files = _write_suspects(work, suspects)
    galleries = pick_galleries(rows, suspects["question_id"].tolist(), with_images=shows_images)
    pictures = _make_pictures(pipeline, made_from.dataset, galleries) if shows_images else {}
    training = made_from.checkpoint.manifest.details["training"]
    report = ReportInput(
        name=pipeline.name,
        splits=(REPORTED_SPLIT,),
        metrics=told,
        training=training,
        ledger=made_from.dataset.manifest.details["ledger"],
        rejects=made_from.dataset.path / "rejects" if shows_images else None,
        shots={name: describe_shots(shown, pictures) for name, shown in galleries._asdict().items()},
        num_suspects=len(suspects),
        suspect_files=files,
        changes=_list_changes(pipeline, work, made_from),
        provenance=_describe_provenance(made_from),
    )
    work.write("report.html", render_report(report))
    picture = next((pictures[sha] for shown in reversed(galleries) for sha in shown["image_sha256"] if pictures), None)
    work.write(PAGE, metrics_markdown(told, training["curve"], picture))


def _find_suspects(rows: pd.DataFrame) -> pd.DataFrame:
    from vqa_pipeline.evaluation.suspects import find_suspects
    from vqa_pipeline.evaluation.tables import list_references

    return find_suspects(rows, list_references(rows))


def _write_suspects(work: Work, suspects: pd.DataFrame) -> list[str]:
    """A corrections file for each source, since each source has its own; returns their names."""
    from vqa_pipeline.curation.corrections import write_rows
    from vqa_pipeline.reporting.suspects import list_proposals

    names = []
    for source, rows in suspects.groupby("source", sort=True):
        names.append(f"{SUSPECTS}/{source}.csv")
        write_rows(work.folder / names[-1], list_proposals(rows))
    return names


def _make_pictures(pipeline: Pipeline, dataset: Version, galleries: Galleries) -> dict[str, str]:
    from vqa_pipeline.reporting.images import SIDE_PIXELS, make_thumbnails

    shas = sorted({sha for shown in galleries for sha in shown["image_sha256"]})
    return make_thumbnails(find_image_packs(open_store(pipeline), dataset), shas, SIDE_PIXELS)


def _list_changes(pipeline: Pipeline, work: Work, made_from: MadeFrom) -> Sequence[Change]:
    """What is otherwise than in the newest metrics that say something else; nothing where there are none."""
    from vqa_pipeline.reporting.changes import list_changes

    store = open_store(pipeline)
    others = (one for one in reversed(store.versions("metrics")) if one.manifest.data_version != work.data_version)
    before = next(others, None)
    if before is None:
        return ()
    now = _gather_facts(made_from, work.numbers, stage_settings(pipeline, "metrics"))
    return list_changes(_gather_facts_before(store, before), now)


def _gather_facts_before(store: Store, metrics: Version) -> Facts:
    from vqa_pipeline.reporting.changes import Facts

    inputs, manifest = metrics.manifest.inputs, metrics.manifest
    with suppress(DamagedVersion):  # it may have been pruned; its own numbers are there
        dataset = store.require_version("dataset", inputs["dataset"].version)
        predictions = store.require_version("predictions", inputs["predictions"].version)
        checkpoint = store.require_version("checkpoint", predictions.manifest.inputs["checkpoint"].version)
        return _gather_facts(MadeFrom(dataset, checkpoint, predictions), manifest.numbers, manifest.settings)
    return Facts(manifest.numbers, _name_metrics_settings(manifest.settings))


def _gather_facts(made_from: MadeFrom, numbers: Mapping[str, float | int | None], settings: Mapping[str, Any]) -> Facts:
    from vqa_pipeline.reporting.changes import Facts

    dataset, checkpoint = made_from.dataset.manifest, made_from.checkpoint.manifest
    return Facts(
        {**numbers, **dataset.numbers},
        {
            **_name_settings("dataset", dataset.settings),
            **_name_settings("training", checkpoint.settings),
            **_name_metrics_settings(settings),
        },
    )


def _name_metrics_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The champion's rules are among them."""
    own = {name: value for name, value in settings.items() if name != "champion"}
    return _name_settings("evaluation", own) | _name_settings("champion", settings.get("champion", {}))


def _name_settings(owner: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{owner}.{name}": value for name, value in settings.items()}


def _describe_provenance(made_from: MadeFrom) -> dict[str, str]:
    manifests = [version.manifest for version in made_from]
    packages: dict[str, str] = {}
    for manifest in manifests:
        packages |= manifest.packages
    return {
        **{
            manifest.asset: f"version {manifest.version}, data version {manifest.data_version}"
            for manifest in manifests
        },
        "training settings": json.dumps(made_from.checkpoint.manifest.settings, sort_keys=True),
        "packages": ", ".join(f"{name} {number}" for name, number in sorted(packages.items())),
        "commit": made_from.checkpoint.manifest.git_commit or "unknown",
    }
