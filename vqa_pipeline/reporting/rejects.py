"""The rows that were not accepted, read from a dataset's `rejects/` folder; for pages, the report and the command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from vqa_pipeline.reporting.escaping import escape_control, shorten
from vqa_pipeline.schemas import Locator

Show = Callable[[str, str], str]
"""The thumbnail of an image, by its source and its reference there: a data URI, empty where there is none to show."""

_EXAMPLES = 3
_RAW_CHARACTERS = 600


def count_rejects(folder: Path) -> Counter[tuple[str, str, str]]:
    """Rows by (source, fate, rule)."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path, columns=["source", "fate", "rule"])
        counted = table.group_by(table.column_names).aggregate([([], "count_all")])
        for row in counted.to_pylist():
            counts[row["source"], row["fate"], row["rule"]] += row["count_all"]
    return counts


def read_rejects(folder: Path) -> Iterator[dict[str, Any]]:
    r"""Rows of `schemas.REJECTS` in the order of the files; the locator as text, `raw` as text.

    Bytes of `raw` that are not UTF-8 are written out as `\xff`.
    """
    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    locator = Locator(**row["locator"])
                    raw = row["raw"].decode("utf-8", errors="backslashreplace")
                    yield {**row, "locator": str(locator), "raw": raw}


def _show_nothing(source: str, reference: str) -> str:  # noqa: ARG001 - as `Show`
    return ""


def group_rejects(folder: Path, show: Show = _show_nothing) -> list[dict[str, Any]]:
    """Rows by fate and rule, as `fate`, `rule`, `count`, `examples`; rejected ones and frequent rules first.

    Of equally frequent ones, orphans come last: an annotation loses its question because that was rejected.

    An example has `question_id` (empty where it is not known), `reason`, `fix`, `place`, `picture` (as `show` gives it)
    and `raw`, a shortened payload without control characters.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for (_, fate, rule), count in count_rejects(folder).items():
        counts[fate, rule] += count
    examples = _find_examples(folder, counts, show)
    order = sorted(counts, key=lambda one: (one[0] != "rejected", -counts[one], one[1] == "annotation_orphan", one))
    return [
        {"fate": fate, "rule": rule, "count": counts[fate, rule], "examples": examples[fate, rule]}
        for fate, rule in order
    ]


def list_images(folder: Path, question_ids: Collection[str]) -> list[tuple[str, str]]:
    """Where the images of some questions that were not accepted are: source and reference, each once."""
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    files = [str(path) for path in sorted(folder.glob("*.parquet"))]
    if not files or not question_ids:
        return []
    wanted = pc.field("question_id").isin(list(question_ids)) & pc.field("image").is_valid()
    rows = ds.dataset(files).to_table(columns=["source", "image"], filter=wanted).to_pylist()
    return list(dict.fromkeys((row["source"], row["image"]) for row in rows))


def _find_examples(
    folder: Path, counts: Mapping[tuple[str, str], int], show: Show
) -> dict[tuple[str, str], list[dict[str, str]]]:
    """The first rows of each group; reading ends when all are found."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {group: [] for group in counts}
    missing = sum(min(_EXAMPLES, count) for count in counts.values())
    for row in read_rejects(folder):
        examples = found[row["fate"], row["rule"]]
        if len(examples) < _EXAMPLES:
            examples.append(_describe(row) | {"picture": show(row["source"], row["image"]) if row["image"] else ""})
            missing -= 1
        if missing == 0:
            break
    return found


def _describe(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "question_id": row["question_id"] or "",
        "reason": row["reason"],
        "fix": row["fix"],
        "place": f"{row['source']}: {row['locator']}",
        "raw": escape_control(shorten(row["raw"], _RAW_CHARACTERS), keep="\n\t"),
    }
