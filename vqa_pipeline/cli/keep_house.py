"""Commands that keep house: champion, prune, export."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from vqa_pipeline.cli.champion import champion
from vqa_pipeline.cli.options import AsJson, DeclarationFile, PipelineName, find_pipeline
from vqa_pipeline.cli.prune import prune
from vqa_pipeline.progress import show_on
from vqa_pipeline.schemas import SPLITS
from vqa_pipeline.store import Store

_GROUP = "Keep house"


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command(rich_help_panel=_GROUP)(champion)
    app.command(rich_help_panel=_GROUP)(prune)
    app.command(rich_help_panel=_GROUP)(export)


def export(
    asset: Annotated[Literal["dataset"], typer.Argument(help="What to export: dataset.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that does not exist yet.")],
    pipeline: PipelineName = None,
    file: DeclarationFile = None,
    form: Annotated[
        Literal["hf"], typer.Option("--format", help="Form of the folder: hf, as datasets.load_dataset reads it.")
    ] = "hf",
    as_json: AsJson = False,
) -> None:
    """The current dataset as one folder: questions joined with the bytes of their images, and a card."""
    from vqa_pipeline.reporting.export import export_dataset
    from vqa_pipeline.stages.dataset import find_image_packs, find_questions

    chosen = find_pipeline(pipeline, file)
    store = Store(chosen.store_folder, chosen.scratch_folder)
    version = store.require(asset)
    facts = {"name": chosen.name, **version.manifest.details, **version.manifest.numbers}
    questions = {split: find_questions(version, split) for split in SPLITS}
    counts = export_dataset(facts, questions, find_image_packs(store, version), output, progress=show_on(sys.stderr))
    if as_json:
        told = {"format": form, "path": str(output), "version": version.manifest.version, "num_questions": counts}
        print(json.dumps(told, indent=1))
        return
    parts = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    print(
        f"{chosen.name}: {parts or 'no'} questions in {output}; load them with datasets.load_dataset({str(output)!r})"
    )
