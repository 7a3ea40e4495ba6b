"""What kind of question it is: as the data says, and by rule where the data says nothing.

A rule is used for a whole set of questions or not at all, so that one kind never has two names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from vqa_pipeline.answers.scoring import most_common_answer
from vqa_pipeline.schemas import Answer

_NUM_TYPE_WORDS = 2
_WORD = r"(?u)\b\w+\b"
_NUMBER = re.compile(r"\d+([.,]\d+)*")


def tell_question_types(questions: pd.DataFrame) -> pd.Series:
    """The column `question_type`; where no question has one, the first two words of each question."""
    declared = questions["question_type"].reset_index(drop=True)
    if declared.notna().any():
        return declared
    return pd.Series([read_first_words(question) for question in questions["question"]], dtype=object)


def read_first_words(question: str) -> str:
    """The first two words, in lower case."""
    return " ".join(re.findall(_WORD, question.lower())[:_NUM_TYPE_WORDS])


def tell_answer_types(questions: pd.DataFrame, references: Sequence[Sequence[Answer]]) -> pd.Series:
    """The column `answer_type`; where no question has one, yes/no, number or other, by the most common answer.

    The three are those of the VQA datasets (Antol et al., VQA, ICCV 2015).
    """
    declared = questions["answer_type"].reset_index(drop=True)
    if declared.notna().any():
        return declared
    return pd.Series([_judge_answer(most_common_answer(given)) for given in references], dtype=object)


def _judge_answer(answer: str | None) -> str | None:
    if answer is None:
        return None
    if answer in {"yes", "no"}:
        return "yes/no"
    return "number" if _NUMBER.fullmatch(answer) else "other"
