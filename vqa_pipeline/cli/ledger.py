"""How the ledger of a dry run is told in a terminal: fates by source, rules with their first rows, and the gates."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vqa_pipeline.cli.tables import format_table
from vqa_pipeline.reporting.escaping import escape_control, shorten
from vqa_pipeline.reporting.ledger import list_fates, sum_sources
from vqa_pipeline.schemas import FATES
from vqa_pipeline.stages.dry_run import DryRun

_RAW_CHARACTERS = 160


def format_dry_run(name: str, run: DryRun, groups: list[dict[str, Any]]) -> str:
    """The account of a dry run for people; nothing in it can act on a terminal.

    Args:
        name: The pipeline's.
        run: The dry run.
        groups: Its rows that were not accepted, as `reporting.rejects.group_rejects` arranges them.
    """
    return "\n".join(escape_control(line) for part in _tell(name, run, groups) for line in part.split("\n"))


def _tell(name: str, run: DryRun, groups: list[dict[str, Any]]) -> Iterator[str]:
    yield f"{name}: read, validated and joined; nothing was published\n"
    ledger = run.ledger.model_dump(mode="json")
    sums = sum_sources(ledger)
    rows = [[row["source"], row["num_rows"], *(row[fate] for fate in FATES)] for row in sums]
    yield format_table(rows, ("source", "rows", *FATES))
    for group in groups:
        yield from _tell_group(group, list_fates(ledger))
    yield ""
    for check in run.checks:
        if not check.passed:
            yield f"{'would not be published' if check.blocking else 'warning'} ({check.name}): {check.message}"
    if not run.failures:
        yield "Every gate would let it pass."
    yield f"The rows by rule: {os.path.relpath(run.folder / 'page.html')}"


def _tell_group(group: Mapping[str, Any], fates: Sequence[tuple[str, str, str, int]]) -> Iterator[str]:
    """The rows of a rule: how many, of which sources if of several, and the first."""
    key = (group["fate"], group["rule"])
    counts = [f"{source} {count:,}" for source, *rest, count in fates if tuple(rest) == key]
    told = f" ({', '.join(counts)})" if len(counts) > 1 else ""
    first = group["examples"][0]
    yield f"\n{group['fate']}, {group['rule']}: {group['count']:,}{told}"
    yield f"  such as  {first['place']}: {first['reason']}"
    yield f"  fix      {first['fix']}"
    yield f"  raw      {shorten(' '.join(first['raw'].split()), _RAW_CHARACTERS)}"
