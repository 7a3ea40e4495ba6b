"""Galleries: which questions are shown, in which order, and what is told of each."""

from __future__ import annotations

import pandas as pd
import pytest

from vqa_pipeline.reporting.galleries import Galleries, describe_shots, join_answers, pick_galleries


def make_frames(*rows: tuple[str, float, float, str]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Rows of (image, credit, probability, question), as questions, scores and predictions."""
    ids = [f"shapes/{number:03}" for number in range(len(rows))]
    locator = {"file": "q.jsonl", "record": 4, "item": None, "byte_offset": None, "line": None}
    questions = pd.DataFrame(
        {
            "question_id": ids,
            "question": [row[3] for row in rows],
            "image_sha256": [row[0] or None for row in rows],
            "answers": [[{"answer": "red"}, {"answer": "blue"}, {"answer": "red"}] for _ in rows],
            "locator": [locator for _ in rows],
        }
    )
    scored = pd.DataFrame({"question_id": ids, "score": [row[1] for row in rows]})
    predictions = pd.DataFrame({"question_id": ids, "answer": "red", "score": [row[2] for row in rows]})
    return questions, scored, predictions


def pick(*rows, suspects=(), size=12, **options) -> dict[str, list[str]]:
    """The questions in each gallery that has any."""
    galleries = pick_galleries(join_answers(*make_frames(*rows)), suspects, size, **options)
    return {name: shown["question"].tolist() for name, shown in galleries._asdict().items() if len(shown)}


def test_the_surest_mistakes_come_first_and_the_rest_is_spread():
    rows = [(f"image {number}", 0, number / 10, f"q{number}") for number in range(10)]
    assert pick(*rows, size=3) == {"confidently_wrong": ["q9", "q8", "q7"], "wrong": ["q6", "q3", "q0"]}


def test_suspects_come_in_their_own_order_and_are_shown_nowhere_else():
    rows = [(f"image {number}", 0, number / 10, f"q{number}") for number in range(4)]
    suspects = ["shapes/001", "shapes/003", "shapes/999"]
    assert pick(*rows, suspects=suspects) == {"suspect": ["q1", "q3"], "confidently_wrong": ["q2", "q0"]}


def test_half_right_is_neither_right_nor_wrong():
    assert pick(("a", 0.6, 0.9, "q")) == {}


def test_right_answers_are_spread_from_the_surest_to_the_least_sure():
    rows = [(f"image {number}", 1, number / 100, f"q{number}") for number in range(100)]
    assert pick(*rows, size=4) == {"right": ["q99", "q66", "q33", "q0"]}


def test_few_right_answers_are_all_shown():
    assert pick(("a", 1, 0.1, "q0"), ("b", 1, 0.2, "q1"), size=4) == {"right": ["q1", "q0"]}


def test_an_image_and_a_mistake_are_shown_once():
    rows = [("a", 0, 0.9, "is it?"), ("a", 0, 0.8, "what?"), ("b", 0, 0.7, "is it?"), ("c", 0, 0.6, "which?")]
    assert pick(*rows)["confidently_wrong"] == ["is it?", "which?"]


def test_questions_without_image_are_shown_where_images_are_not():
    rows = [("", 0, 0.9, "blind"), ("", 0, 0.8, "too"), ("b", 0, 0.1, "seen")]
    assert pick(*rows) == {"confidently_wrong": ["seen"]}
    assert pick(*rows, with_images=False) == {"confidently_wrong": ["blind", "too", "seen"]}


def test_two_answers_to_a_question_are_never_shown_as_one_models():
    questions, scored, predictions = make_frames(("a", 0, 0.9, "q"))
    with pytest.raises(pd.errors.MergeError):
        join_answers(questions, scored, pd.concat([predictions, predictions]))


def test_a_calibrated_probability_is_preferred_to_the_score():
    questions, scored, predictions = make_frames(("a", 0, 0.9, "q"))
    assert join_answers(questions, scored, predictions)["probability"].tolist() == [0.9]
    assert join_answers(questions, scored, predictions.assign(probability=0.6))["probability"].tolist() == [0.6]


def test_the_choice_does_not_depend_on_the_order_of_rows():
    frames = make_frames(*((f"i{n}", n % 2, 0.5, f"q{n}") for n in range(30)))
    shuffled = [frame.sample(frac=1, random_state=1) for frame in frames]
    first, second = (pick_galleries(join_answers(*some), ["shapes/004"], 5) for some in (frames, shuffled))
    assert list(Galleries._fields) == ["suspect", "confidently_wrong", "wrong", "right"]
    for one, other in zip(first, second, strict=True):
        assert one["question_id"].tolist() == other["question_id"].tolist() != []


def test_a_shot_tells_answers_by_frequency_place_and_picture():
    (shot,) = describe_shots(join_answers(*make_frames(("a", 0, 0.5, "q"))), {"a": "data:,"})
    assert shot.references == ["red (×2)", "blue"]
    assert (shot.place, shot.probability, shot.picture) == ("q.jsonl[4]", 0.5, "data:,")


def test_locators_survive_pandas_making_floats_of_them():
    questions, scored, predictions = make_frames(("a", 0, 0.5, "q"))
    questions["locator"] = [{"file": "q.csv", "record": 4.0, "item": float("nan"), "byte_offset": None, "line": 6.0}]
    (shot,) = describe_shots(join_answers(questions, scored, predictions), {})
    assert (shot.place, shot.picture) == ("q.csv:6", "")
