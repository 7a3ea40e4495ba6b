"""Why an accuracy changed: the change between two sets of answers, split into parts that sum to it.

From the one accuracy to the other, one thing is changed after the other, and each part is what its step changed:

    policy      the answers before, scored by the policy after
    removed     … without the questions that are not asked any more
    edited      … against the references after
    model       … with the answers after in their place: same questions, same references, same policy
    added       … and the questions that were not asked before

The model's part is thus measured by today's policy on today's references, on questions that both were asked. Another
order would share out in another way what two changes do together, never another sum. A question with another text or
another image is another question, whatever its id: it is removed and added. Where no question is shared, nothing can be
said of the model, and the whole change beyond the policy is `added`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from vqa_pipeline.answers.scoring import MetricPolicy
from vqa_pipeline.evaluation.accuracy import compute_mean, score_answers
from vqa_pipeline.evaluation.intervals import ImageDraws, Interval, Numbers
from vqa_pipeline.schemas import Frozen

Part = Literal["policy", "removed", "edited", "model", "added"]

RIGHT = 0.5
"""An answer that earns at least half the credit is told as right, any other as wrong."""

_DECIMALS = 6
_IDENTITY = ["question_id", "question", "image"]


class Answered(NamedTuple):
    """Answers to annotated questions, scored."""

    rows: pd.DataFrame
    """`question_id` (once each), `question`, `image` (as `tables.tell_images`), `references` (list of `schemas.Answer`,
    not empty), `answer` (missing: never given), `score` in [0, 1] by the policy. At least one row."""
    policy: MetricPolicy


class Step(Frozen):
    """One part of a change."""

    part: Part
    change: float = Field(ge=-1, le=1, description="Accuracy after it minus accuracy before it.")
    accuracy: float = Field(ge=0, le=1, description="Accuracy after it.")
    num_questions: int = Field(description="Questions that it is about: scored anew, left out, edited, shared, or new.")


class AccuracyChange(Frozen):
    """The change between two accuracies and its parts."""

    before: float = Field(ge=0, le=1)
    after: float = Field(ge=0, le=1)
    change: float = Field(ge=-1, le=1, description="`after` minus `before`; what the steps' changes sum to.")
    steps: tuple[Step, ...] = Field(description="policy, removed, edited, model, added.")
    model_interval: Interval | None = Field(
        description="95 % interval of the model's part, by drawing images; null: no question is shared."
    )
    num_images: int = Field(description="Distinct images of the shared questions.")


class Explained(NamedTuple):
    """A change, and the shared questions that it is about."""

    change: AccuracyChange
    shared: pd.DataFrame
    """`question_id`, `question`, `image`, `references` (after), `answer_before`, `answer_after`, `score_before` and
    `score_after`, both against the references and by the policy after; ordered by `question_id`."""


def explain_change(before: Answered, after: Answered) -> Explained:
    """Split the change from one set of scored answers to another.

    Accuracies and changes are rounded to six decimals, and so that the steps' changes sum to the whole to the last one.
    """
    rescored = before.rows if before.policy == after.policy else _score(before.rows, after.policy)
    shared = rescored.merge(
        after.rows, on=_IDENTITY, suffixes=("_before", "_after"), validate="one_to_one"
    ).sort_values("question_id")
    is_edited = _tell_edited(shared)
    kept = shared["score_before"].to_numpy(float)
    judged = _judge_again(shared, is_edited, after.policy)
    answered = shared["score_after"].to_numpy(float)
    whole = _round(compute_mean(before.rows["score"].tolist()))
    by_policy = _round(compute_mean(rescored["score"].tolist()))
    means = [_round(compute_mean(scores.tolist())) if len(shared) else by_policy for scores in (kept, judged, answered)]
    accuracies = [by_policy, *means, _round(compute_mean(after.rows["score"].tolist()))]
    counts = [
        0 if before.policy == after.policy else len(before.rows),
        len(before.rows) - len(shared),
        int(is_edited.sum()),
        len(shared),
        len(after.rows) - len(shared),
    ]
    draws = ImageDraws(shared["image"].tolist()) if len(shared) else None
    change = AccuracyChange(
        before=whole,
        after=accuracies[-1],
        change=_round(accuracies[-1] - whole),
        steps=_list_steps(whole, accuracies, counts),
        model_interval=draws.find_difference(answered, judged) if draws else None,
        num_images=draws.num_images if draws else 0,
    )
    told = shared.assign(score_before=judged, references=shared["references_after"])
    return Explained(change, told.drop(columns=["references_before", "references_after"]).reset_index(drop=True))


def _list_steps(before: float, accuracies: Sequence[float], counts: Sequence[int]) -> tuple[Step, ...]:
    parts: tuple[Part, ...] = ("policy", "removed", "edited", "model", "added")
    starts = (before, *accuracies[:-1])
    return tuple(
        Step(part=part, change=_round(end - start), accuracy=end, num_questions=count)
        for part, start, end, count in zip(parts, starts, accuracies, counts, strict=True)
    )


def find_flips(shared: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of the shared questions of a change, those answered right and then wrong, and those wrong and then right.

    What lost or gained most comes first.
    """
    moved = (shared["score_after"] - shared["score_before"]).abs()
    ordered = shared.iloc[np.lexsort((shared["question_id"], -moved))]
    was_right, is_right = ordered["score_before"] >= RIGHT, ordered["score_after"] >= RIGHT
    return ordered[was_right & ~is_right], ordered[~was_right & is_right]


def _score(rows: pd.DataFrame, policy: MetricPolicy) -> pd.DataFrame:
    answers: list[str | None] = _list_answers(rows["answer"])
    return rows.assign(score=score_answers(answers, rows["references"].tolist(), policy))


def _judge_again(shared: pd.DataFrame, is_edited: np.ndarray[Any, Any], policy: MetricPolicy) -> Numbers:
    """The scores of the answers before against the references after."""
    scores: Numbers = shared["score_before"].to_numpy(float).copy()
    edited = shared[is_edited]
    scores[is_edited] = score_answers(
        _list_answers(edited["answer_before"]), edited["references_after"].tolist(), policy
    )
    return scores


def _tell_edited(shared: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which questions have other references after than before."""
    pairs = zip(shared["references_before"], shared["references_after"], strict=True)
    return np.array([one != other for one, other in pairs], dtype=bool)


def _list_answers(answers: pd.Series) -> list[str | None]:
    return [answer if isinstance(answer, str) else None for answer in answers]


def _round(number: float) -> float:
    return round(number, _DECIMALS)
