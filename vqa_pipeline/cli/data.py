"""Commands about data: rejects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from vqa_pipeline.cli.options import AsJson, DeclarationFile, PipelineName, find_pipeline
from vqa_pipeline.cli.tables import escape_control
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.schemas import Locator
from vqa_pipeline.store import Store

_GROUP = "Data"
_RAW_CHARACTERS = 200


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command(rich_help_panel=_GROUP)(rejects)


def rejects(
    pipeline: PipelineName = None,
    file: DeclarationFile = None,
    rule: Annotated[str | None, typer.Option("--rule", help="Only rows that break this rule.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Only rows of this source.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many rows.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Rows that were not accepted: where, which rule, why, how to mend them, and the row itself."""
    chosen = find_pipeline(pipeline, file)
    matching = (row for row in read_rejects(chosen) if rule in {None, row["rule"]} and source in {None, row["source"]})
    shown = 0
    for shown, row in enumerate(matching, 1):
        if shown > limit:
            print(f"… and more: --limit {limit} is reached")
            break
        print(json.dumps(row, ensure_ascii=False) if as_json else _format(row))
    if shown == 0:
        print("no rows" if rule or source else "every row was accepted")


def read_rejects(pipeline: Pipeline) -> Iterator[dict[str, Any]]:
    """The rejects of the current dataset, or of the candidate that failed a gate after it was published.

    Raises:
        NotPublished: there is neither.
    """
    import pyarrow.parquet as pq

    store = Store(pipeline.store_folder, pipeline.scratch_folder)
    candidates = sorted((store.root / "dataset" / "candidates").glob("*/rejects"))
    current = store.current("dataset")
    newest = candidates[-1] if candidates else None
    if newest and (current is None or newest.stat().st_mtime > current.manifest.created_at.timestamp()):
        folder = newest
    else:
        folder = store.require("dataset").path / "rejects"
    for path in sorted(folder.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                yield {**row, "locator": str(Locator(**row["locator"])), "raw": row["raw"].decode("utf-8", "replace")}


def _format(row: dict[str, Any]) -> str:
    raw = row["raw"][:_RAW_CHARACTERS] + ("…" if len(row["raw"]) > _RAW_CHARACTERS else "")
    lines = [
        f"{row['source']}: {row['locator']}  {row['fate']}, {row['rule']}",
        f"  {row['reason']}. {row['fix']}",
        f"  {raw}",
    ]
    return "\n".join(escape_control(line) for line in lines)
