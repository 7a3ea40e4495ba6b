"""What evaluation reads from its tables: references from `schemas.QUESTIONS`, answers from `schemas.PREDICTIONS`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from vqa_pipeline.schemas import EVALUATED_VARIANT, Answer


def list_references(questions: pd.DataFrame) -> list[list[Answer]]:
    """References of each question, in the order of the rows; an empty list for one without annotation.

    Raises:
        TypeError: a cell of the column `answers` is neither a list nor missing.
    """
    return [_list_answers(cell) for cell in questions["answers"]]


def _list_answers(cell: Any) -> list[Answer]:
    if isinstance(cell, list | tuple | np.ndarray):
        return list(cell)
    if cell is None or pd.isna(cell):
        return []
    raise TypeError(f"`answers` holds {cell!r} where a list of answers belongs")


def map_answers(predictions: pd.DataFrame) -> dict[str, str]:
    """The answers of one who answered, by `question_id`.

    Raises:
        ValueError: a question has two answers, so that none of them can be the one.
    """
    twice = predictions["question_id"][predictions["question_id"].duplicated()]
    if not twice.empty:
        raise ValueError(f"{len(twice)} questions have more than one prediction, the first is {twice.iloc[0]}")
    return dict(zip(predictions["question_id"], predictions["answer"], strict=True))


def select_predictions(predictions: pd.DataFrame, checkpoint: str) -> pd.DataFrame:
    """What a checkpoint answers as it is; other variants are never scored as the model's.

    Args:
        predictions: Rows of `schemas.PREDICTIONS`.
        checkpoint: Its data version.
    """
    chosen = (predictions["variant"] == EVALUATED_VARIANT) & (predictions["checkpoint"] == checkpoint)
    return predictions[chosen].reset_index(drop=True)


def tell_images(questions: pd.DataFrame) -> list[str]:
    """What tells apart the images of questions: the image's sha256, or where there is no image, its reference."""
    return questions["image_sha256"].fillna(questions["source"] + "/" + questions["image"]).tolist()
