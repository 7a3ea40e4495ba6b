"""Where a model fails: accuracy over groups of questions, by one group-by over a table of slice columns.

A slice column says of each question which group it is in, or none. To add one is to add a function and its line in
`SLICE_COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from vqa_pipeline.answers.normalization import normalize
from vqa_pipeline.answers.scoring import most_common_answer
from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.evaluation.accuracy import Accuracy, compute_mean
from vqa_pipeline.evaluation.intervals import FEWEST_IMAGES, ImageDraws, Interval
from vqa_pipeline.evaluation.question_types import tell_answer_types, tell_question_types
from vqa_pipeline.schemas import Answer

MOST_VALUES = 100
"""Of a slice column with more values, the most frequent are told: thousands of question types are no account."""


class Slice(Accuracy):
    """How right the answers to a group of questions are, and how sure that is."""

    column: str = Field(description="A name of `SLICE_COLUMNS`.")
    value: str
    num_images: int
    interval: Interval = Field(description="95 % interval of `vqa_accuracy`, by drawing images.")
    too_small: bool = Field(description=f"Whether it has fewer than {FEWEST_IMAGES} images, which says too little.")


class Sliced(NamedTuple):
    """What slice columns look at; all of the same rows, in the same order."""

    questions: pd.DataFrame
    """Columns of `schemas.QUESTIONS`; where known, `width` and `height` of the image in pixels."""
    references: Sequence[Sequence[Answer]]
    vocabulary: AnswerVocabulary
    train_answers: pd.Series
    """The most common answer of each training question."""


Rows = np.ndarray[Any, np.dtype[np.bool_]]
"""(rows,), which belong to a group."""

SliceColumn = Callable[[Sliced], pd.Series]
"""The group of each question, as text in the order of the rows; missing: none."""


def tell_slices(sliced: Sliced) -> pd.DataFrame:
    """The group of each question in each slice column, as rows of `schemas.SLICES`; missing: none."""
    told = {name: tell(sliced).astype(object) for name, tell in SLICE_COLUMNS.items()}
    return pd.DataFrame({"question_id": sliced.questions["question_id"].reset_index(drop=True), **told})


def measure_slices(groups: pd.DataFrame, scored: pd.DataFrame, draws: ImageDraws) -> list[Slice]:
    """Every group of every slice column that tells questions apart: ranges in their order, others by frequency.

    Args:
        groups: From `tell_slices`.
        scored: Of the same rows, `score` in [0, 1] and `exact`, a bool.
        draws: Of the images of the same rows.
    """
    parts = list_parts(groups)
    if not parts:
        return []
    members = np.stack([rows for *_, rows in parts], axis=1)
    scores, exact = scored["score"].to_numpy(float), scored["exact"].to_numpy(bool)
    intervals, num_images = draws.find_intervals(scores, members), draws.count_images(members)
    return [
        Slice(
            column=name,
            value=value,
            num_questions=int(rows.sum()),
            num_images=int(images),
            vqa_accuracy=compute_mean(scores[rows].tolist()),
            exact_match=float(exact[rows].mean()),
            interval=interval,
            too_small=bool(images < FEWEST_IMAGES),
        )
        for (name, value, rows), interval, images in zip(parts, intervals, num_images, strict=True)
    ]


def list_parts(groups: pd.DataFrame) -> list[tuple[str, str, Rows]]:
    """Column, value and rows of every group, as `tell_slices` tells them."""
    return [(name, value, rows) for name in SLICE_COLUMNS for value, rows in _part(name, groups[name])]


def _part(name: str, values: pd.Series) -> list[tuple[str, Rows]]:
    """The rows of each value of a column; nothing where there is only one value and so no parts."""
    counts = values.value_counts()
    order = _read_start if name in _RANGES else lambda value: (-counts[value], value)
    ordered = sorted(counts.index, key=order)
    if len(ordered) <= 1:
        return []
    return [(str(value), (values == value).to_numpy(bool, na_value=False)) for value in ordered[:MOST_VALUES]]


def _read_start(name: str) -> int:
    """The lowest number of a range, from its name."""
    return int(name.partition(" ")[0].replace(",", ""))


def _by_answer_type(sliced: Sliced) -> pd.Series:
    return tell_answer_types(sliced.questions, sliced.references)


def _by_question_type(sliced: Sliced) -> pd.Series:
    return tell_question_types(sliced.questions)


def _by_answer_frequency(sliced: Sliced) -> pd.Series:
    """How many training questions have the question's most common answer."""
    counts = sliced.train_answers.value_counts()
    modes = pd.Series([most_common_answer(references) for references in sliced.references], dtype=object)
    return _cut(modes.map(counts).fillna(0), (1, 10, 100, 1000), "training questions")


def _by_source(sliced: Sliced) -> pd.Series:
    return sliced.questions["source"].reset_index(drop=True)


def _by_image_size(sliced: Sliced) -> pd.Series:
    """The shorter side."""
    if "width" not in sliced.questions:
        return pd.Series([None] * len(sliced.questions), dtype=object)
    shorter = sliced.questions[["width", "height"]].min(axis=1).reset_index(drop=True)
    return _cut(shorter, (128, 384, 768, 1536), "pixels")


def _by_num_references(sliced: Sliced) -> pd.Series:
    return _cut(pd.Series([len(references) for references in sliced.references]), (2, 5, 10, 11), "answers", 1)


def _by_vocabulary(sliced: Sliced) -> pd.Series:
    """Whether an answer that people gave is one that the model could give."""
    known = [
        any(sliced.vocabulary.index_of(normalize(reference["answer"])) is not None for reference in references)
        for references in sliced.references
    ]
    return pd.Series(np.where(known, "in the vocabulary", "not in the vocabulary"), dtype=object)


def _cut(numbers: pd.Series, bounds: Sequence[int], unit: str, lowest: int = 0) -> pd.Series:
    """Whole numbers as ranges of text: below the first bound, from each bound to below the next, from the last on."""
    names = [_name_range(low, high, unit) for low, high in zip((lowest, *bounds), (*bounds, None), strict=True)]
    places = np.searchsorted(np.array(bounds), numbers.fillna(0), side="right")
    return pd.Series([names[place] for place in places], dtype=object).where(numbers.notna().to_numpy(), None)


def _name_range(low: int, high: int | None, unit: str) -> str:
    if high is None:
        return f"{low:,} {unit} or more"
    if (low, high) == (1, 2):
        return f"1 {unit.removesuffix('s')}"
    return f"{low:,} {unit}" if high == low + 1 else f"{low:,} to {high - 1:,} {unit}"


SLICE_COLUMNS: dict[str, SliceColumn] = {
    "answer_type": _by_answer_type,
    "question_type": _by_question_type,
    "answer_frequency": _by_answer_frequency,
    "vocabulary": _by_vocabulary,
    "source": _by_source,
    "image_size": _by_image_size,
    "num_references": _by_num_references,
}

_RANGES = {"answer_frequency", "image_size", "num_references"}
"""Columns of ranges of numbers."""
