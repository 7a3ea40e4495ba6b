"""Credits: twenty questions scored by hand under both policies, the official oddities one by one, and what holds always."""

from __future__ import annotations

from fractions import Fraction

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline import schemas
from vqa_pipeline.answers.normalization import normalize
from vqa_pipeline.answers.scoring import (
    choose_policy,
    most_common_answer,
    most_common_answers,
    relax,
    score_answer,
    soft_targets,
)


def refer(*answers, ids=True):
    """References as a source gives them; an answer may be a (count, answer) pair."""
    spread = [text for given in answers for text in ([given[1]] * given[0] if isinstance(given, tuple) else [given])]
    return [
        {"answer": text, "answer_id": number if ids else None, "answer_confidence": "yes" if ids else None}
        for number, text in enumerate(spread, start=1)
    ]


HAND_SCORED = [
    # ten references: (references, answer, official, normalized)
    (refer((10, "red")), "red", 1.0, 1.0),
    (refer((10, "red")), "blue", 0.0, 0.0),
    (refer((10, "red")), "Red.", 0.0, 1.0),  # all the same: nothing is normalized
    (refer((10, "Red.")), "red", 0.0, 1.0),
    (refer((10, "Red.")), " Red.\n", 1.0, 1.0),  # but the ends are always tidied
    (refer((9, "red"), "blue"), "blue", 0.3, 1 / 3),
    (refer((9, "red"), "blue"), "RED!", 1.0, 1.0),
    (refer((8, "red"), (2, "blue")), "blue", 0.6, 2 / 3),
    (refer((7, "red"), (3, "blue")), "blue", 0.9, 1.0),
    (refer((6, "red"), (4, "blue")), "blue", 1.0, 1.0),
    (refer((5, "2"), (3, "two"), "Two.", "three"), "two", 1.0, 1.0),
    (refer((8, "red"), "the red", "a red one"), "red 1", 0.3, 1 / 3),
    (refer((8, "no"), "none", "0"), "zero", 0.6, 2 / 3),
    (refer((9, "red"), "a"), "the", 0.3, 0.0),  # both normalize to nothing
    # equal references without ids are left out together
    (refer((10, "red"), ids=False), "red", 0.0, 1.0),
    (refer((9, "red"), "blue", ids=False), "red", 0.1, 1.0),
    (refer((9, "red"), "blue", ids=False), "blue", 0.3, 1 / 3),
    # other numbers of references
    (refer("red"), "red", 0.0, 1.0),
    (refer("red", "red", "blue"), "red", (1 / 3 + 1 / 3 + 2 / 3) / 3, 1.0),
    (refer((2, "red"), (5, "blue")), "red", (2 * 1 / 3 + 5 * 2 / 3) / 7, 2 / 2.1),
]


@pytest.mark.parametrize(("references", "answer", "official", "normalized"), HAND_SCORED)
def test_twenty_questions_scored_by_hand(references, answer, official, normalized):
    assert score_answer(answer, references, "official") == pytest.approx(official, abs=1e-12)
    assert score_answer(answer, references, "normalized") == pytest.approx(normalized, abs=1e-12)


def test_there_are_twenty_of_them():
    assert len(HAND_SCORED) == 20


def test_credits_of_ten_are_exact_tenths():
    earned = [score_answer("b", refer((10 - k, "a dog"), (k, "b")), "official") for k in range(1, 10)]
    assert earned == [0.3, 0.6, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_references_that_differ_only_in_confidence_are_not_left_out_together():
    sure = {"answer": "red", "answer_id": None, "answer_confidence": "yes"}
    unsure = {"answer": "red", "answer_id": None, "answer_confidence": "maybe"}
    assert score_answer("red", [sure, unsure], "official") == pytest.approx(1 / 3)
    assert score_answer("red", [sure, sure], "official") == 0.0


def test_references_alike_only_after_normalization_are_left_out_together():
    references = refer((4, "red"), (4, "Red."), "blue", "green", ids=False)
    # leaving out any red leaves no red at all; leaving out blue or green leaves eight
    assert score_answer("red", references, "official") == pytest.approx(2 / 10)


def test_scoring_does_not_change_the_references():
    references = refer("Red.", "blue")
    score_answer("red", references, "official")
    score_answer("red", references, "normalized")
    assert references == refer("Red.", "blue")


@pytest.mark.parametrize("policy", ["official", "normalized"])
def test_a_question_without_references_cannot_be_scored(policy):
    with pytest.raises(ValueError, match="without references"):
        score_answer("red", [], policy)


TEN = refer((9, "red"), "blue")
NUMBERED_TWICE = refer((8, "red"), "blue") + refer("blue")

CHOICES = [
    ([TEN, TEN], "official"),
    ([TEN, [], TEN], "official"),  # a question without annotation says nothing
    ([[], TEN], "official"),
    ([TEN, TEN[:9]], "normalized"),
    ([TEN[:9], TEN], "normalized"),
    ([TEN, refer((11, "red"))], "normalized"),
    ([refer("red"), refer("blue")], "normalized"),
    ([refer((10, "red"), ids=False)], "normalized"),
    ([TEN, refer((9, "red"), "blue", ids=False)], "normalized"),
    ([NUMBERED_TWICE], "normalized"),
    ([refer((11, "red"))[:10] + refer("red")], "normalized"),  # ten ids, eleven references
    ([[], []], "normalized"),
    ([], "normalized"),
]


@pytest.mark.parametrize(("questions_references", "expected"), CHOICES)
def test_auto_is_official_for_ten_references_that_can_be_told_apart_everywhere(questions_references, expected):
    assert choose_policy(iter(questions_references)) == expected


def test_auto_stops_reading_at_the_first_question_that_settles_it():
    left = iter([TEN, refer("red"), TEN, TEN])
    assert choose_policy(left) == "normalized"
    assert list(left) == [TEN, TEN]


@pytest.mark.parametrize("ids", [True, False])
def test_under_auto_an_answer_that_all_ten_annotators_gave_earns_everything(ids):
    references = refer((10, "red"), ids=ids)
    policy = choose_policy([references])
    assert score_answer("red", references, policy) == 1.0
    assert soft_targets(references, policy) == {"red": 1.0}


# -------------------------------------------------------------------------------------------------------- soft targets


def test_soft_targets_of_ten():
    references = refer((4, "Red"), (3, "blue."), (2, "green"), "a")
    assert soft_targets(references, "official") == {"red": 1.0, "blue": 0.9, "green": 0.6}
    assert soft_targets(references, "normalized") == {"red": 1.0, "blue": 1.0, "green": pytest.approx(2 / 3)}


def test_soft_targets_come_most_frequent_first_and_ties_alphabetical():
    assert list(soft_targets(refer("c", "b", "d", "d", "two", "2"), "normalized")) == ["2", "d", "b", "c"]


def test_a_single_reference_is_a_full_target():
    assert soft_targets(refer("Yes."), "normalized") == {"yes": 1.0}


def test_the_empty_answer_is_never_a_target_but_its_annotator_counts():
    assert soft_targets(refer("a"), "normalized") == {}
    assert soft_targets(refer("the", "red", "red", "red", "red"), "normalized") == {"red": 1.0}
    assert soft_targets(refer((9, "the"), "red"), "normalized") == {"red": pytest.approx(1 / 3)}


def test_no_references_give_no_targets():
    assert soft_targets([], "normalized") == {}
    assert soft_targets([], "official") == {}


def test_targets_count_every_annotator_even_where_the_official_score_cannot_tell_them_apart():
    unanimous = refer((10, "Red."), ids=False)
    assert score_answer("red", unanimous, "official") == 0.0
    assert soft_targets(unanimous, "official") == {"red": 1.0}


# -------------------------------------------------------------------------------------------------- most common answer


@pytest.mark.parametrize(
    ("references", "expected"),
    [
        (refer("red", "blue", "red"), "red"),
        (refer("red", "blue"), "blue"),  # a tie goes to the alphabet
        (refer("two", "2", "three"), "2"),  # counted after normalization
        (refer((3, "the"), "red"), "red"),  # never empty
        (refer("a", "?"), None),
        ([], None),
        (refer("b", "B.", "a1", "A1"), "a1"),
    ],
)
def test_most_common_answer(references, expected):
    assert most_common_answer(references) == expected


# ---------------------------------------------------------------------------------------------------------- properties

ANSWERS = st.sampled_from(["red", "Red.", "blue", "the", "two", "2", "t-shirt", "t shirt", "none", "yes ", ""])
REFERENCES = st.lists(ANSWERS, min_size=1, max_size=12).map(lambda answers: refer(*answers))
POLICIES = st.sampled_from(["official", "normalized"])


@given(ANSWERS, REFERENCES, POLICIES)
def test_a_score_lies_between_0_and_1(answer, references, policy):
    assert 0 <= score_answer(answer, references, policy) <= 1
    assert all(0 < credit <= 1 for credit in soft_targets(references, policy).values())


@given(ANSWERS, REFERENCES, POLICIES, st.randoms(use_true_random=False))
def test_the_order_of_annotators_never_matters(answer, references, policy, random):
    shuffled = random.sample(references, len(references))
    assert score_answer(answer, shuffled, policy) == score_answer(answer, references, policy)
    assert list(soft_targets(shuffled, policy).items()) == list(soft_targets(references, policy).items())
    assert most_common_answer(shuffled) == most_common_answer(references)


@given(st.integers(0, 12), st.integers(1, 12), POLICIES)
def test_more_matches_never_earn_less(matches, others, policy):
    total = matches + others
    fewer = score_answer("red", refer((matches, "red"), (total - matches, "blue")), policy)
    more = score_answer("red", refer((matches + 1, "red"), (total - matches - 1, "blue")), policy)
    assert fewer <= more


@given(st.lists(ANSWERS, min_size=10, max_size=10))
def test_an_official_target_of_ten_is_the_mean_over_leaving_each_annotator_out(answers):
    for answer, credit in soft_targets(refer(*answers), "official").items():
        left = [[other for place, other in enumerate(answers) if place != out] for out in range(10)]
        shares = [min(Fraction(1), Fraction(sum(normalize(o) == answer for o in others), 3)) for others in left]
        assert credit == float(sum(shares) / 10)


@given(REFERENCES, POLICIES)
def test_a_target_is_the_score_against_normalized_references(references, policy):
    plain = [{**reference, "answer": normalize(reference["answer"])} for reference in references]
    targets = soft_targets(references, policy)
    for answer in {normalize(reference["answer"]) for reference in references} - {""}:
        assert targets.get(answer, 0.0) == score_answer(answer, plain, policy)


def annotate(*texts):
    return [{"answer": text, "answer_id": None, "answer_confidence": None} for text in texts]


def test_most_common_answers_of_many_questions():
    questions = [
        annotate("Red", "the red", "blue"),
        None,
        annotate("b", "a"),
        [],
        annotate("...", "the"),
        annotate("!", "2"),
    ]
    expected = ["red", None, "b", None, None, "2"]
    assert most_common_answers(pa.array(questions, schemas.ANSWERS)) == expected
    assert most_common_answers(pa.array(questions[1:4], schemas.ANSWERS)) == [None, "b", None]
    assert most_common_answers(pa.array([], schemas.ANSWERS)) == []


@given(st.lists(st.none() | st.lists(st.sampled_from(["a", "the", "Yes", "yes.", "no", "2", "two", "?", "b c"]))))
def test_many_at_once_are_as_one_by_one(questions):
    questions = [None if texts is None else annotate(*texts) for texts in questions]
    assert most_common_answers(pa.array(questions, schemas.ANSWERS)) == [
        None if references is None else most_common_answer(references) for references in questions
    ]


@given(REFERENCES)
def test_the_most_common_answer_has_the_highest_target(references):
    targets = soft_targets(references, "normalized")
    answer = most_common_answer(references)
    assert (answer is None) == (not targets)
    assert answer is None or targets[answer] == max(targets.values())


# --------------------------------------------------------------------------------------------------------------- relaxed


def give(*answers):
    return [
        {"answer": text, "answer_id": number, "answer_confidence": "yes"}
        for number, text in enumerate(answers, start=1)
    ]


@pytest.mark.parametrize(
    ("answer", "references", "credit"),
    [
        ("105", ["100"], 1.0),
        ("95", ["100"], 1.0),
        ("106", ["100"], 0.0),
        ("1,030", ["1000"], 1.0),
        ("three", ["3"], 1.0),
        ("0", ["0"], 1.0),
        ("0.01", ["0"], 0.0),
        ("red", ["red"], 1.0),
        ("100", ["red", "103", "98", "7", "dog", "a", "b", "c", "d", "e"], 2 / 3),
    ],
)
def test_a_relaxed_number_matches_what_it_is_near(answer, references, credit):
    assert score_answer(answer, give(*references), "normalized_relaxed") == pytest.approx(credit)


def test_relaxed_official_leaves_one_out_as_ever():
    references = give("100", "101", *"abcdefgh")
    exact = score_answer("100", give("100", "100", *"abcdefgh"), "official")
    assert score_answer("102", references, "official_relaxed") == exact > 0
    assert score_answer("102", references, "official") == 0


@given(st.text(max_size=6), st.lists(st.text(max_size=6), min_size=1, max_size=10))
def test_relaxed_credit_is_never_lower(answer, references):
    loose, strict = (score_answer(answer, give(*references), policy) for policy in ("normalized_relaxed", "normalized"))
    assert loose >= strict


def test_relaxing_twice_is_relaxing_once():
    assert [relax(policy) for policy in ("official", "official_relaxed")] == ["official_relaxed"] * 2
