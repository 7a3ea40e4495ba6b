"""What changed in a dataset since the version before, as markdown for its page in Dagster; text is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqa_pipeline.reporting.escaping import escape_markdown

_COLUMNS = {
    "num_before": "before",
    "num_now": "now",
    "num_added": "added",
    "num_removed": "removed",
    "num_reanswered": "other answers",
    "num_reworded": "other text",
    "num_images_replaced": "other image",
    "num_moved": "other split",
}


def changes_markdown(changes: Mapping[str, Any] | None) -> str:
    """A table by source, and what it means for the answers.

    Args:
        changes: `curation.changes.DatasetChanges` as JSON; None: it is the first version.
    """
    if changes is None:
        return "**First version**: there is none to compare it with."
    header = ["questions", *_COLUMNS.values()]
    lines = [f"**Since version {changes['since']}**", "", _join(header), _join(["---", *["---:"] * len(_COLUMNS)])]
    for source, counts in changes["sources"].items():
        lines.append(_join([escape_markdown(source), *(f"{counts[name]:,}" for name in _COLUMNS)]))
    answers = (
        f"{changes['new_answer_fraction']:.1%} of the questions have a most common answer that none had before; the "
        f"shares of answers shifted by {changes['answer_shift']:.3f} (0: as before, 1: nothing in common)."
    )
    parts = ["\n".join(lines), answers]
    if changes["fields"]:
        parts.append("**Fields of raw records**: " + "; ".join(map(_tell_field, changes["fields"])))
    return "\n\n".join(parts)


def _tell_field(change: Mapping[str, Any]) -> str:
    now = "is gone" if change["now"] is None else f"is {change['now']} now"
    return f"{escape_markdown(change['source'])}: {escape_markdown(change['field'])} was {change['before']}, {now}"


def _join(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
