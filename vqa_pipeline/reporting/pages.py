"""HTML pages: the dataset's ledger, and what the templates share. Text from data is escaped by the templates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pyarrow.parquet as pq

from vqa_pipeline.reporting.cards import list_fates
from vqa_pipeline.schemas import Locator

_EXAMPLES = 2
_RAW_CHARACTERS = 600


def render(template: str, **values: Any) -> str:
    """Fill a template; everything is escaped unless the template says that it is markup of our own."""
    loader = jinja2.PackageLoader("vqa_pipeline.reporting")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**values)


def render_dataset_page(facts: Mapping[str, Any], rejects: Path, failures: Sequence[str]) -> str:
    """The page of a dataset version, or of a candidate that failed a gate.

    Args:
        facts: Numbers and details of the dataset's manifest, and `name`.
        rejects: Folder of Parquet files with `schemas.REJECTS`.
        failures: Messages of the blocking checks that failed.
    """
    share = facts["num_rejected"] / max(1, facts["num_rows"])
    told = {**facts, "suggested_fraction": share * 1.05}
    fates = list_fates(facts["ledger"])
    return render("dataset.html", facts=told, failures=failures, fates=fates, groups=group_rejects(rejects))


def group_rejects(folder: Path) -> list[dict[str, Any]]:
    """Rejects by fate and rule: how many, and the first examples of each."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                key = (row["fate"], row["rule"])
                counts[key] += 1
                if counts[key] <= _EXAMPLES:
                    examples.setdefault(key, []).append(_describe_reject(row))
    order = sorted(counts, key=lambda key: (key[0] != "rejected", key))
    return [{"fate": f, "rule": r, "count": counts[f, r], "examples": examples[f, r]} for f, r in order]


def _describe_reject(row: Mapping[str, Any]) -> dict[str, Any]:
    raw = row["raw"].decode("utf-8", errors="replace")
    return {
        "reason": row["reason"],
        "fix": row["fix"],
        "place": f"{row['source']}: {Locator(**row['locator'])}",
        "raw": raw[:_RAW_CHARACTERS] + ("…" if len(raw) > _RAW_CHARACTERS else ""),
    }
