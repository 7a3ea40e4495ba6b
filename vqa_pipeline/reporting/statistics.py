"""A dataset's statistics arranged for people: rows with shares, of what there is; for its card and its page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vqa_pipeline.schemas import SPLITS

_SHOWN_VALUES = 16


class Counted(NamedTuple):
    """How often values of one kind are there."""

    title: str
    rows: list[tuple[str, int, float]]
    """Value, questions that have it, and their share of all questions, in [0, 1]."""


def list_counts(statistics: Mapping[str, Any]) -> list[Counted]:
    """What questions and answers are like; only what the sources say.

    Args:
        statistics: `curation.statistics.DatasetStatistics` as JSON.
    """
    counted = {
        f"most common answer ({statistics['num_distinct_answers']:,} distinct)": statistics["top_answers"],
        "question type": statistics["question_types"],
        "answer type": statistics["answer_types"],
        "answers to a question": _name_lengths(statistics, "answers_per_question"),
        "words of a question": _name_lengths(statistics, "words_per_question"),
    }
    total = max(1, sum(statistics["words_per_question"].values()))
    return [
        Counted(title, [(name, count, count / total) for name, count in list(counts.items())[:_SHOWN_VALUES]])
        for title, counts in counted.items()
        if counts
    ]


def _name_lengths(statistics: Mapping[str, Any], name: str) -> dict[str, int]:
    """Questions by a number, whose last value stands for all greater ones."""
    longest = str(statistics["longest"])
    return {f"{value} or more" if str(value) == longest else str(value): n for value, n in statistics[name].items()}


def list_sources(statistics: Mapping[str, Any], licenses: Mapping[str, str]) -> list[tuple[object, ...]]:
    """A row per source: its name, its licence, and its accepted questions in each of `SPLITS`.

    Args:
        statistics: `curation.statistics.DatasetStatistics` as JSON.
        licenses: By source, where its settings give one.
    """
    return [
        (source, licenses.get(source, "not stated"), *(splits.get(split, 0) for split in SPLITS))
        for source, splits in statistics["questions_by_source"].items()
    ]
