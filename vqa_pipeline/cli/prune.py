"""`prune`: what the store and scratch may lose; shows it, and deletes it with --yes only."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from vqa_pipeline.cli.options import AsJson, DeclarationFile, PipelineName, find_pipeline
from vqa_pipeline.cli.tables import format_table
from vqa_pipeline.progress import format_bytes
from vqa_pipeline.store import Store

if TYPE_CHECKING:
    from vqa_pipeline.retention.pruning import Disposable


def prune(
    pipeline: PipelineName = None,
    file: DeclarationFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete what may go; without this, it is only shown.")] = False,
    caches: Annotated[
        bool, typer.Option("--caches", help="Pixels and hidden states too; the next training makes them again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What may go by the setting keep, and why; --yes deletes it. Never what is in use or what that was made from."""
    from vqa_pipeline.retention import pruning

    chosen = find_pipeline(pipeline, file)
    store = Store(chosen.store_folder, chosen.scratch_folder)
    take = pruning.prune if yes else pruning.list_disposables
    found = take(chosen, store, caches=caches)
    total = sum(one.num_bytes for one in found)
    if as_json:
        told = [{**one._asdict(), "path": os.path.relpath(one.path)} for one in found]
        print(json.dumps({"pipeline": chosen.name, "deleted": yes, "num_bytes": total, "found": told}, indent=1))
        return
    print(_tell(found, total, deleted=yes, keep=chosen.settings.keep))


def _tell(found: list[Disposable], total: int, *, deleted: bool, keep: object) -> str:
    if not found:
        return f"Nothing may go (keep: {keep})."
    table = format_table([(one.what, one.why, format_bytes(one.num_bytes)) for one in found], ("what", "why", "size"))
    told = f"Deleted: {format_bytes(total)}." if deleted else f"{format_bytes(total)} may go; --yes deletes it."
    return f"{table}\n\n{told}"
