"""Suspect annotations as rows of a corrections file: a person writes `edit` or `drop` beside those that are wrong.

A row proposes the model's answer, as often as there are annotators: an answer of ten stays one of ten. Only `action` is
empty, so that a row says nothing until somebody has looked at it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vqa_pipeline.curation.corrections import show_answers, show_raw
from vqa_pipeline.reporting.escaping import escape_control
from vqa_pipeline.reporting.galleries import count_references, read_locator

if TYPE_CHECKING:
    import pandas as pd

RULE = "suspect_answer"
"""In the column `rule`: it is read by people alone."""


def list_proposals(suspects: pd.DataFrame) -> Iterator[dict[str, str]]:
    """Cells by column of the corrections file, in the order of the rows.

    Args:
        suspects: Rows of `galleries.join_answers`.
    """
    for row in suspects.to_dict("records"):
        yield _propose(row)


def _propose(row: Mapping[Any, Any]) -> dict[str, str]:
    given = [answer["answer"] for answer in row["answers"]]
    reason = (
        f"the model answers {row['answer']} with probability {row['probability']:.2f}, "
        f"people say {', '.join(count_references(given))}"
    )
    return {
        "question_id": row["question_id"],
        "locator": show_raw(str(read_locator(row["locator"]))),
        "answers": show_answers([row["answer"]] * len(given)),
        "rule": RULE,
        "reason": show_raw(escape_control(reason)),
    }
