"""A change in accuracy, split into parts: each by hand, and for any two versions their sum."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_pipeline.evaluation.accuracy import score_answers
from vqa_pipeline.evaluation.changes import Answered, explain_change, find_flips


def ask(number: int, references: str, answer: str | None, image: str = "", question: str = "What?") -> dict[str, Any]:
    """A question with one-word references, and an answer to it."""
    known = [{"answer": text, "answer_id": n, "answer_confidence": None} for n, text in enumerate(references.split())]
    image = image or f"image {number}"
    return {"question_id": f"q{number}", "question": question, "image": image, "references": known, "answer": answer}


def answer_all(*asked: dict[str, Any], policy: str = "normalized") -> Answered:
    rows = pd.DataFrame(asked)
    rows["answer"] = rows["answer"].astype(object)
    answers = [answer if isinstance(answer, str) else None for answer in rows["answer"]]
    return Answered(rows.assign(score=score_answers(answers, rows["references"].tolist(), policy)), policy)


def tell(change) -> dict[str, tuple[float, int]]:
    return {step.part: (step.change, step.num_questions) for step in change.steps}


NOTHING = {"policy": (0, 0), "removed": (0, 0), "edited": (0, 0), "model": (0, 2), "added": (0, 0)}


def test_without_a_change_every_part_is_nothing():
    same = answer_all(ask(1, "red", "red"), ask(2, "red", "blue"))
    change, _ = explain_change(same, same)
    assert (change.before, change.after, change.change) == (0.5, 0.5, 0)
    assert tell(change) == NOTHING
    assert change.model_interval.model_dump() == {"low": 0, "high": 0}


def test_other_answers_to_the_same_questions_are_the_model_s():
    before = answer_all(ask(1, "red", "red"), ask(2, "red", "blue"))
    after = answer_all(ask(1, "red", "red"), ask(2, "red", "red"))
    change, _ = explain_change(before, after)
    assert tell(change) == {**NOTHING, "model": (0.5, 2)}
    assert change.change == 0.5
    assert change.num_images == 2
    assert change.model_interval.low <= 0.5 <= change.model_interval.high


def test_edited_references_are_no_merit_of_the_model():
    before = answer_all(ask(1, "red", "red"), ask(2, "red", "blue"))
    after = answer_all(ask(1, "red", "red"), ask(2, "blue", "blue"))
    change, shared = explain_change(before, after)
    assert tell(change) == {**NOTHING, "edited": (0.5, 1)}
    assert change.model_interval.model_dump() == {"low": 0, "high": 0}
    assert shared["score_before"].tolist() == [1, 1]  # by today's references
    assert shared["references"].tolist()[1][0]["answer"] == "blue"


def test_questions_that_left_and_came_are_parts_of_their_own():
    before = answer_all(ask(1, "red", "red"), ask(2, "red", "red"), ask(3, "red", "blue"))
    after = answer_all(ask(1, "red", "red"), ask(2, "red", "red"), ask(4, "red", "blue"), ask(5, "red", "blue"))
    change, _ = explain_change(before, after)
    assert (change.before, change.after) == (0.666667, 0.5)
    assert tell(change) == {
        "policy": (0, 0),
        "removed": (0.333333, 1),
        "edited": (0, 0),
        "model": (0, 2),
        "added": (-0.5, 2),
    }
    assert change.change == -0.166667


def test_another_policy_scores_the_answers_before_anew():
    ten = "red " * 3 + "blue " * 7
    before = answer_all(ask(1, "red", "red"), ask(2, ten, "red"), policy="official")
    after = answer_all(ask(1, "red", "red"), ask(2, ten, "red"))
    change, _ = explain_change(before, after)
    # official: 0 of a single reference; three of ten leave-one-outs have but two matches: (7 + 3 * 2 / 3) / 10
    assert change.before == 0.45
    assert tell(change) == {**NOTHING, "policy": (0.55, 2)}


@pytest.mark.parametrize("changed", [{"question": "Which?"}, {"image": "another"}])
def test_a_question_with_another_text_or_image_is_another_question(changed):
    before = answer_all(ask(1, "red", "red"), ask(2, "red", "blue"))
    after = answer_all(ask(1, "red", "red"), ask(2, "red", "red", **changed))
    change, _ = explain_change(before, after)
    assert tell(change) == {
        **NOTHING,
        "removed": (0.5, 1),
        "model": (0, 1),
        "added": (0, 1),
    }


def test_where_no_question_is_shared_nothing_is_said_of_the_model():
    change, shared = explain_change(answer_all(ask(1, "red", "red")), answer_all(ask(2, "red", "blue")))
    assert tell(change) == {"policy": (0, 0), "removed": (0, 1), "edited": (0, 0), "model": (0, 0), "added": (-1, 1)}
    assert change.model_interval is None
    assert len(shared) == 0


def test_flips_are_answers_that_became_right_or_wrong_the_largest_first():
    ten = "blue " * 3 + "red " * 2 + "green " * 5
    before = answer_all(ask(1, "red", "red"), ask(2, ten, "red"), ask(3, "red", None), ask(4, "red", "red"))
    after = answer_all(ask(1, "red", "blue"), ask(2, ten, "pink"), ask(3, "red", "red"), ask(4, "red", "red"))
    lost, won = find_flips(explain_change(before, after).shared)
    assert lost["question_id"].tolist() == ["q1", "q2"]  # 1 and 0.667 lost
    assert won["question_id"].tolist() == ["q3"]
    assert won["answer_before"].isna().tolist() == [True]


@st.composite
def versions(draw: st.DrawFn) -> Answered:
    words = st.sampled_from(["red", "blue", "Red."])
    asked = [
        ask(
            number,
            " ".join(draw(st.lists(words, min_size=1, max_size=4))),
            draw(st.none() | words),
            question=draw(st.sampled_from(["What?", "Which?"])),
            image=draw(st.sampled_from(["a", "b"])),
        )
        for number in draw(st.sets(st.integers(0, 6), min_size=1))
    ]
    return answer_all(*asked, policy=draw(st.sampled_from(["official", "normalized"])))


@settings(deadline=None, max_examples=60)
@given(versions(), versions())
def test_for_any_two_versions_the_parts_sum_to_the_change(before, after):
    change, shared = explain_change(before, after)
    assert change.before == round(before.rows["score"].mean(), 6)
    assert change.after == round(after.rows["score"].mean(), 6)
    assert round(math.fsum(step.change for step in change.steps), 6) == change.change
    assert round(change.before + change.change, 6) == change.after
    assert len(shared) == change.steps[3].num_questions
