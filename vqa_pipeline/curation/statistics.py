"""What a dataset's questions and answers are like, in numbers: for its card and its page. Counts what was written.

Some columns of one file are in memory at a time; what is kept grows with the distinct answers and types alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from vqa_pipeline.schemas import Frozen

LISTED = 20
"""How many of the most frequent answers and types are listed."""

LONGEST = 15
"""Questions with more words, or more answers, are counted as if they had so many."""

_COLUMNS = ["source", "split", "question", "question_type", "answer_type", "answers", "most_common_answer"]


class DatasetStatistics(Frozen):
    """Of the accepted questions."""

    questions_by_source: dict[str, dict[str, int]] = Field(description="Questions by source, and by split in it.")
    num_distinct_answers: int = Field(description="Distinct most common answers.")
    top_answers: dict[str, int] = Field(
        description="Questions by most common answer; the most frequent ones, in order."
    )
    question_types: dict[str, int] = Field(description="Questions by type; the most frequent ones, in order.")
    answer_types: dict[str, int] = Field(description="Questions by type of answer; the most frequent ones, in order.")
    answers_per_question: dict[int, int] = Field(description="Questions by number of answers; 0: not annotated.")
    words_per_question: dict[int, int] = Field(description="Questions by number of words.")
    longest: int = Field(LONGEST, description="In the last two, questions with more count as if they had so many.")


def count_statistics(files: Iterable[Path]) -> DatasetStatistics:
    """Go through files with `schemas.QUESTIONS` once."""
    sources: dict[str, Counter[str]] = {}
    counts: dict[str, Counter[Any]] = {name: Counter() for name in _VALUES}
    for path in files:
        frame = pl.read_parquet(path, columns=_COLUMNS)
        for source, split, count in frame.group_by("source", "split").len().iter_rows():
            sources.setdefault(source, Counter())[split] += count
        for name, value in _VALUES.items():
            counts[name].update(dict(frame.group_by(value.alias(name)).len().iter_rows()))
    return DatasetStatistics(
        questions_by_source={source: dict(sorted(splits.items())) for source, splits in sorted(sources.items())},
        num_distinct_answers=len(counts["most_common_answer"].keys() - {None}),
        top_answers=_list_frequent(counts["most_common_answer"]),
        question_types=_list_frequent(counts["question_type"]),
        answer_types=_list_frequent(counts["answer_type"]),
        answers_per_question=dict(sorted(counts["answers"].items())),
        words_per_question=dict(sorted(counts["words"].items())),
    )


_VALUES: dict[str, pl.Expr] = {
    "most_common_answer": pl.col("most_common_answer"),
    "question_type": pl.col("question_type"),
    "answer_type": pl.col("answer_type"),
    "answers": pl.col("answers").list.len().fill_null(0).clip(upper_bound=LONGEST),
    "words": pl.col("question").str.count_matches(r"\S+").clip(upper_bound=LONGEST),
}
"""What is counted of each question."""


def _list_frequent(counts: Counter[str | None]) -> dict[str, int]:
    named = [(value, count) for value, count in counts.items() if value is not None]
    return dict(sorted(named, key=lambda one: (-one[1], one[0]))[:LISTED])
