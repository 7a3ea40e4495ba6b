"""Blind baselines: what each learns, from what, and that it copes with little."""

from __future__ import annotations

import itertools
import time

import pandas as pd
import pytest

from vqa_pipeline.evaluation.baselines import predict_by_question_type, predict_majority, predict_question_only

BASELINES = [predict_majority, predict_by_question_type, predict_question_only]


def make_questions(*rows):
    """Rows of (question, most common answer) or (question, most common answer, question type)."""
    filled = [(*row, None)[:3] for row in rows]
    return pd.DataFrame(
        {
            "question_id": [f"s/{number}" for number in range(len(rows))],
            "question": [question for question, _, _ in filled],
            "most_common_answer": pd.Series([answer for _, answer, _ in filled], dtype=object),
            "question_type": pd.Series([kind for _, _, kind in filled], dtype=object),
        }
    )


def ask(*questions):
    return make_questions(*((question, None) for question in questions))


TRAIN = make_questions(
    ("What color is the ball?", "red"),
    ("What color is the box?", "red"),
    ("What color is the sky?", "blue"),
    ("Is there a ball?", "yes"),
    ("Is there a box?", "yes"),
    ("Is there a dog?", "no"),
    ("Is there a cat?", "yes"),
    ("How many dogs?", "2"),
    ("Unanswered", None),
)


def test_majority_answers_everything_with_the_most_frequent_answer():
    assert predict_majority(TRAIN, ask("What color is it?", "Why?")) == ["yes", "yes"]


def test_a_tie_goes_to_the_alphabet():
    assert predict_majority(make_questions(("q", "b"), ("q", "a1"), ("q", "c")), ask("q")) == ["a1"]


def test_questions_of_a_type_get_its_most_frequent_answer():
    train = make_questions(("x", "red", "color"), ("y", "red", "color"), ("z", "3", "count"), *[("w", "yes", "is")] * 3)
    asked = make_questions(("x", None, "count"), ("w", None, "color"), ("z", None, "never seen"))
    assert predict_by_question_type(train, asked) == ["3", "red", "yes"]


def test_without_a_type_the_first_two_words_tell_it():
    asked = ask("what COLOR, please?", "How many cats are there?", "Why not?")
    assert predict_by_question_type(TRAIN, asked) == ["red", "2", "yes"]


def test_a_declared_type_goes_before_the_words():
    train = make_questions(("How many dogs?", "2"), ("How many cats?", "none at all", "trick"))
    assert predict_by_question_type(train, make_questions(("How many birds?", None, "trick"))) == ["none at all"]


def test_question_only_reads_the_words():
    colors = {"ball": "red", "box": "blue", "car": "green"}
    train = make_questions(*[(f"What color is the {thing}?", color) for thing, color in colors.items()] * 20)
    asked = ask("Tell me, what color is the box?", "The car, what color is it?", "The ball?")
    assert predict_question_only(train, asked) == ["blue", "green", "red"]


def test_question_only_hears_negation_through_word_order():
    train = make_questions(*[("dog bites man", "usual"), ("man bites dog", "news")] * 30)
    assert predict_question_only(train, ask("man bites dog", "dog bites man")) == ["news", "usual"]


def test_question_only_learns_the_same_from_rows_in_any_order():
    words = [f"{first} {second} {third}" for first in "bcdef" for second in "ghijk" for third in "lmnop"]
    train = make_questions(*((question, "yn"[sum(map(ord, question)) % 7 % 2]) for question in words))
    shuffled = train.sample(frac=1, random_state=3)
    assert predict_question_only(shuffled, ask(*words)) == predict_question_only(train, ask(*words))


def test_question_only_chooses_among_the_hundred_most_frequent_answers():
    pairs = [(f"what is thing{number}", f"answer{number}") for number in range(100)]
    train = make_questions(*pairs * 3, *[("what is rare", "rare")] * 2)
    rare, frequent = predict_question_only(train, ask("what is rare", "what is thing42"))
    assert rare != "rare"
    assert frequent == "answer42"
    assert predict_question_only(train[3:], ask("what is rare")) != ["rare"]
    assert predict_question_only(train[train["most_common_answer"] != "answer7"], ask("what is rare")) == ["rare"]


@pytest.mark.parametrize("predict", BASELINES)
def test_a_single_answer_is_given_to_everything(predict):
    train = make_questions(("Is it red?", "yes"), ("Is it blue?", "yes"))
    assert predict(train, ask("Is it?", "Why?")) == ["yes", "yes"]


@pytest.mark.parametrize("predict", BASELINES)
@pytest.mark.parametrize("train", [make_questions(), make_questions(("Is it red?", None))])
def test_with_nothing_to_learn_from_nothing_is_answered(predict, train):
    assert predict(train, ask("Is it?")) == [""]


@pytest.mark.parametrize("predict", BASELINES)
def test_no_question_gets_no_answer(predict):
    assert predict(TRAIN, ask()) == []


@pytest.mark.parametrize("predict", BASELINES)
def test_questions_without_words_are_answered_too(predict):
    train = make_questions(("?", "yes"), ("!", "yes"), ("…", "no"))
    assert predict(train, ask("?", "")) == ["yes", "yes"]


@pytest.mark.parametrize("predict", BASELINES)
def test_the_answers_of_the_asked_are_never_looked_at(predict):
    asked = ask("What color is the ball?", "Is there a dog?")
    assert predict(TRAIN, asked.assign(most_common_answer="leaked", answers="leaked")) == predict(TRAIN, asked)


@pytest.mark.slow
def test_forty_thousand_questions_take_seconds():
    colors, things = [f"color{number}" for number in range(13)], [f"thing{number}" for number in range(100)]
    pairs = itertools.islice(itertools.cycle(itertools.product(things, colors)), 40_000)
    train = make_questions(*((f"what is the shade of the {thing} over there?", color) for thing, color in pairs))
    started = time.process_time()
    predict_question_only(train, ask("what is the shade of thing1?"))
    assert time.process_time() - started < 10
