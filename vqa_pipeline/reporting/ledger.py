"""The ledger arranged for people: rows by source and fate with sums that balance, and by rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqa_pipeline.curation.correcting import is_correction
from vqa_pipeline.schemas import FATES


def list_fates(ledger: Mapping[str, Any]) -> list[tuple[str, str, str, int]]:
    """The ledger as rows of source, fate, rule and count.

    Args:
        ledger: `curation.ledger.Ledger` as JSON.
    """
    return [
        (source, fate, rule, count)
        for source, account in ledger["sources"].items()
        for fate in FATES
        for rule, count in account["fates"].get(fate, {}).items()
    ]


def sum_sources(ledger: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per source: `source`, `num_rows` read, rows by fate, and `num_missing`, rows read but without a fate.

    Where there are several sources, a last row is their sum.
    """
    rows = [_sum_source(name, account) for name, account in ledger["sources"].items()]
    if len(rows) > 1:
        counts = {name: sum(row[name] for row in rows) for name in ("num_rows", *FATES, "num_missing")}
        rows.append({"source": "all sources", **counts})
    return rows


def part_changes(repairs: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Repairs by kind, apart: a person's corrections, and the pipeline's own mends."""
    corrections = {kind: count for kind, count in repairs.items() if is_correction(kind)}
    return corrections, {kind: count for kind, count in repairs.items() if kind not in corrections}


def _sum_source(name: str, account: Mapping[str, Any]) -> dict[str, Any]:
    counts: dict[str, int] = {fate: sum(account["fates"].get(fate, {}).values()) for fate in FATES}
    num_rows = account["num_question_records"] + account["num_annotation_records"] - account["num_joined_annotations"]
    return {"source": name, "num_rows": num_rows, **counts, "num_missing": num_rows - sum(counts.values())}
