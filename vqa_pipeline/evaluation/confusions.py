"""What a model takes for what: the most frequent pairs of the annotators' answer and the wrong one that it gave."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pandas as pd
from pydantic import Field

from vqa_pipeline.answers.normalization import normalize
from vqa_pipeline.answers.scoring import most_common_answer
from vqa_pipeline.evaluation.accuracy import Share
from vqa_pipeline.schemas import Answer, Frozen

MOST_CONFUSIONS = 20
_EXAMPLES = 3


class Confusion(Frozen):
    """Questions whose most common answer is one thing and whose answer by the model is another."""

    most_common_answer: str
    answer: str = Field(description="The model's, normalized.")
    num_questions: int
    fraction: Share = Field(description="Of all mistakes that are counted so: answers that earn nothing.")
    question_ids: tuple[str, ...] = Field(description="The first few of them, in the order of their ids.")


def find_confusions(scored: pd.DataFrame, references: Sequence[Sequence[Answer]]) -> list[Confusion]:
    """The most frequent pairs, ties alphabetical.

    A wrong answer earns nothing. One that equals the most common answer all the same, by an oddity of a metric policy,
    and one that was never given are taken for nothing.

    Args:
        scored: The model's rows of `schemas.SCORES`.
        references: Of the same rows.
    """
    pairs: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    wrong = (scored["score"] == 0) & scored["answer"].notna()
    for question_id, answer, known, is_wrong in zip(
        scored["question_id"], scored["answer"], references, wrong, strict=True
    ):
        mode = most_common_answer(known) if is_wrong else None
        if mode is not None and normalize(answer) != mode:
            pairs[mode, normalize(answer)].append(question_id)
    total = sum(map(len, pairs.values()))
    ordered = sorted(pairs.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:MOST_CONFUSIONS]
    return [
        Confusion(
            most_common_answer=mode,
            answer=answer,
            num_questions=len(found),
            fraction=len(found) / total,
            question_ids=tuple(sorted(found)[:_EXAMPLES]),
        )
        for (mode, answer), found in ordered
    ]
