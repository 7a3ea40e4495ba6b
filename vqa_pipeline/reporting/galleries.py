"""Galleries of a report: which questions are shown, and what is told of each.

The choice is the same for the same rows in any order. No question is shown in two galleries; in one gallery no image
is shown twice, nor the same wrong answer to the same question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vqa_pipeline.schemas import Locator

if TYPE_CHECKING:
    import pandas as pd

GALLERY_SIZE = 12


class Galleries(NamedTuple):
    """Rows of `join_answers`, the first to show first."""

    suspect: pd.DataFrame
    """Confident answers that no annotator gave, as `evaluation.suspects` ranks them."""
    confidently_wrong: pd.DataFrame
    """The surest of the other mistakes."""
    wrong: pd.DataFrame
    """What mistakes look like: from the surest of the rest to the least sure."""
    right: pd.DataFrame
    """Right answers, from the surest to the least sure."""


class Shot(NamedTuple):
    """What is told of a question."""

    question_id: str
    question: str
    answer: str
    probability: float
    """That the answer is right, as the model sees it, in [0, 1]."""
    references: list[str]
    """The annotators' distinct answers, the most frequent first, with how often where that is more than once."""
    place: str
    """Its locator."""
    picture: str
    """A data URI; empty where none is to be shown."""


def join_answers(questions: pd.DataFrame, scored: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """The questions that were answered and scored, with `answer`, `score` and `probability`; the surest answer first.

    Args:
        questions: Columns of `schemas.QUESTIONS`.
        scored: The model's rows of `schemas.SCORES`.
        predictions: The model's rows of `schemas.PREDICTIONS`, as `tables.select_predictions` picks them.

    Raises:
        pandas.errors.MergeError: a question has two scores or two answers.
    """
    confidence = "probability" if "probability" in predictions else "score"  # calibrated, where it is
    answered = predictions[["question_id", "answer"]].assign(probability=predictions[confidence])
    rows = questions.merge(scored[["question_id", "score"]], on="question_id", validate="one_to_one")
    rows = rows.merge(answered, on="question_id", validate="one_to_one")
    return rows.sort_values(["probability", "question_id"], ascending=[False, True], kind="stable")


def pick_galleries(
    rows: pd.DataFrame, suspects: Sequence[str], size: int = GALLERY_SIZE, *, with_images: bool = True
) -> Galleries:
    """The rows to show, at most `size` in each gallery.

    Args:
        rows: From `join_answers`.
        suspects: Question ids, the most suspect first.
        size: Of a gallery.
        with_images: Only questions that have an image are shown.
    """
    shown = rows[rows["image_sha256"].notna()] if with_images else rows
    named = shown.set_index("question_id", drop=False)
    suspect = _show_images_once(named.loc[[one for one in suspects if one in named.index]]).head(size)
    mistakes = shown[(shown["score"] == 0) & ~shown["question_id"].isin(suspect["question_id"])]
    surest = _show_mistakes_once(mistakes).head(size)
    others = _show_mistakes_once(mistakes[~mistakes["question_id"].isin(surest["question_id"])])
    right = _show_images_once(shown[shown["score"] >= 1])
    return Galleries(suspect, surest, _spread(others, size), _spread(right, size))


def _show_mistakes_once(rows: pd.DataFrame) -> pd.DataFrame:
    return _show_images_once(rows).drop_duplicates(["question", "answer"])


def _show_images_once(rows: pd.DataFrame) -> pd.DataFrame:
    """The first row of each image; rows without any all stay."""
    return rows[~rows["image_sha256"].duplicated() | rows["image_sha256"].isna()]


def _spread(rows: pd.DataFrame, size: int) -> pd.DataFrame:
    """At most `size` rows at even distances, the first and the last among them."""
    if len(rows) <= size:
        return rows
    return rows.iloc[[round(number * (len(rows) - 1) / max(1, size - 1)) for number in range(size)]]


def describe_shots(rows: pd.DataFrame, pictures: Mapping[str, str]) -> list[Shot]:
    """What is told of each row; `pictures` are data URIs by the sha256 of the image."""
    return [_describe(row, pictures) for row in rows.to_dict("records")]


def _describe(row: Mapping[Any, Any], pictures: Mapping[str, str]) -> Shot:
    return Shot(
        question_id=row["question_id"],
        question=row["question"],
        answer=row["answer"],
        probability=float(row["probability"]),
        references=count_references([answer["answer"] for answer in row["answers"]]),
        place=str(read_locator(row["locator"])),
        picture=pictures.get(row["image_sha256"], ""),
    )


def count_references(answers: Sequence[str]) -> list[str]:
    """The distinct answers, the most frequent first, with how often where that is more than once."""
    ordered = sorted(Counter(answers).items(), key=lambda counted: (-counted[1], counted[0]))
    return [answer if times == 1 else f"{answer} (×{times})" for answer, times in ordered]  # noqa: RUF001


def read_locator(value: Mapping[str, Any]) -> Locator:
    """A locator out of pandas, which makes floats of columns with gaps."""
    numbers = {name: value[name] for name in ("record", "item", "byte_offset", "line")}
    known = {name: int(number) for name, number in numbers.items() if number is not None and number == number}  # noqa: PLR0124 - not NaN
    return Locator(file=value["file"], record=known.pop("record"), **known)
