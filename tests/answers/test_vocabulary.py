"""The answer vocabulary: order, identity, and what it can reach."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vqa_pipeline.answers.settings import VocabularySettings
from vqa_pipeline.answers.vocabulary import (
    AnswerVocabulary,
    build_vocabulary,
    check_same,
    count_answers,
    measure_coverage,
    suggest_min_count,
)
from vqa_pipeline.errors import VocabularyMismatch


def refer(*answers):
    return [
        {"answer": text, "answer_id": number, "answer_confidence": None} for number, text in enumerate(answers, start=1)
    ]


def make_vocabulary(*answers):
    return AnswerVocabulary(answers=answers, counts=tuple(range(len(answers), 0, -1)))


# -------------------------------------------------------------------------------------------------------------- build


def test_each_question_counts_once_with_its_most_common_answer():
    questions = [refer("Yes.", "yes", "no"), refer("YES"), refer("two"), refer("a"), []]
    assert count_answers(iter(questions)) == Counter({"yes": 2, "2": 1})


def test_answers_come_by_count_then_alphabetically():
    vocabulary = build_vocabulary({"b": 2, "c": 5, "a": 2, "d": 1}, VocabularySettings())
    assert vocabulary.answers == ("c", "a", "b", "d")
    assert vocabulary.counts == (5, 2, 2, 1)


def test_min_count_leaves_rare_answers_out():
    vocabulary = build_vocabulary({"a": 3, "b": 2, "c": 1}, VocabularySettings(min_count=2))
    assert vocabulary.answers == ("a", "b")


def test_max_answers_keeps_the_most_frequent():
    vocabulary = build_vocabulary({"a": 1, "b": 2, "c": 1}, VocabularySettings(max_answers=2))
    assert vocabulary.answers == ("b", "a")


def test_the_empty_answer_is_never_in_it():
    assert build_vocabulary({"": 9, "a": 1}, VocabularySettings()).answers == ("a",)


def test_nothing_counted_gives_an_empty_vocabulary():
    assert build_vocabulary({}, VocabularySettings()).answers == ()


@pytest.mark.parametrize(
    ("answers", "counts", "reason"),
    [
        (("a", "b"), (1,), "2 answers have 1 counts"),
        (("a", "a"), (1, 1), "occurs twice"),
        (("a", ""), (2, 1), "empty answer"),
    ],
)
def test_a_list_that_is_no_vocabulary_is_refused(answers, counts, reason):
    with pytest.raises(ValidationError, match=reason):
        AnswerVocabulary(answers=answers, counts=counts)


COUNTS = st.dictionaries(st.text(min_size=1, max_size=4), st.integers(1, 5), max_size=8)


@given(COUNTS, st.randoms(use_true_random=False), st.integers(1, 3), st.integers(2, 6))
def test_the_order_of_counting_never_matters(counts, random, min_count, max_answers):
    settings = VocabularySettings(min_count=min_count, max_answers=max_answers)
    shuffled = dict(random.sample(list(counts.items()), len(counts)))
    assert build_vocabulary(shuffled, settings).to_json() == build_vocabulary(counts, settings).to_json()


@given(
    st.lists(st.lists(st.sampled_from(["a1", "A1.", "b", "two", "2", "the"])), max_size=6),
    st.randoms(use_true_random=False),
)
def test_the_order_of_questions_never_matters(questions, random):
    references = [refer(*answers) for answers in questions]
    assert count_answers(random.sample(references, len(references))) == count_answers(references)


# ----------------------------------------------------------------------------------------------------------- identity


def test_the_fingerprint_is_the_digest_of_the_ordered_answers():
    vocabulary = AnswerVocabulary(answers=("yes", "café"), counts=(2, 1))
    assert vocabulary.fingerprint == hashlib.sha256(b'["yes","caf\\u00e9"]').hexdigest()


def test_the_fingerprint_changes_with_the_order_and_not_with_the_counts():
    first = AnswerVocabulary(answers=("a", "b"), counts=(2, 2))
    assert first.fingerprint != AnswerVocabulary(answers=("b", "a"), counts=(2, 2)).fingerprint
    assert first.fingerprint == AnswerVocabulary(answers=("a", "b"), counts=(9, 2)).fingerprint


def test_answers_that_only_look_alike_when_joined_have_another_fingerprint():
    assert make_vocabulary('a","b').fingerprint != make_vocabulary("a", "b").fingerprint


def test_a_mismatch_is_refused_and_names_both():
    vocabulary = make_vocabulary("a", "b")
    check_same(vocabulary, vocabulary.fingerprint)
    with pytest.raises(VocabularyMismatch, match=f"answer vocabulary 1234, not {vocabulary.fingerprint}"):
        check_same(vocabulary, "1234")


def test_an_answer_and_its_index_lead_to_each_other():
    vocabulary = make_vocabulary("yes", "no")
    assert (vocabulary.index_of("no"), vocabulary.index_of("maybe")) == (1, None)
    assert vocabulary.id2label() == {0: "yes", 1: "no"}
    assert vocabulary.label2id() == {"yes": 0, "no": 1}
    assert len(vocabulary) == 2
    assert "no" in vocabulary
    assert "maybe" not in vocabulary


def test_changing_a_returned_map_changes_no_index():
    vocabulary = make_vocabulary("yes", "no")
    vocabulary.label2id()["maybe"] = 2
    assert vocabulary.index_of("maybe") is None


@given(COUNTS)
def test_every_answer_decodes_to_itself(counts):
    vocabulary = build_vocabulary(counts, VocabularySettings())
    labels = vocabulary.id2label()
    assert [labels[vocabulary.index_of(answer)] for answer in vocabulary.answers] == list(vocabulary.answers)
    assert {index: answer for answer, index in vocabulary.label2id().items()} == labels


# --------------------------------------------------------------------------------------------------------------- JSON


@given(COUNTS)
def test_json_round_trips(counts):
    vocabulary = build_vocabulary(counts, VocabularySettings())
    read = AnswerVocabulary.from_json(vocabulary.to_json())
    assert read == vocabulary
    assert read.to_json() == vocabulary.to_json()


def test_json_holds_answers_counts_and_fingerprint():
    vocabulary = AnswerVocabulary(answers=("yes", "no"), counts=(3, 1))
    assert json.loads(vocabulary.to_json()) == {
        "answers": ["yes", "no"],
        "counts": [3, 1],
        "fingerprint": vocabulary.fingerprint,
    }


def test_an_edited_list_is_refused():
    text = make_vocabulary("yes", "no").to_json().replace('"no"', '"nope"')
    with pytest.raises(VocabularyMismatch):
        AnswerVocabulary.from_json(text)


@pytest.mark.parametrize("text", ["[]", "{}", '{"answers": ["a"], "counts": [1]}'])
def test_other_json_is_not_a_vocabulary(text):
    with pytest.raises(ValueError, match="not an answer vocabulary"):
        AnswerVocabulary.from_json(text)


# ----------------------------------------------------------------------------------------------------------- coverage


def test_coverage_and_ceiling_by_hand():
    vocabulary = make_vocabulary("yes", "2")
    questions = [
        refer("Yes."),  # reachable
        refer("green", "green", "green", "two"),  # 1 of 4 matches: min(1, 1 / 1.2)
        refer("green"),  # not reachable
        [],  # not annotated
        refer("the"),  # annotated with nothing: not reachable by anyone
    ]
    measured = measure_coverage(vocabulary, iter(questions), "normalized")
    assert measured.num_questions == 4
    assert measured.coverage == 2 / 4
    assert measured.ceiling == pytest.approx((1 + 1 / 1.2) / 4)


def test_the_ceiling_is_what_the_official_score_would_give():
    vocabulary = make_vocabulary("black", "white")
    unanimous, mixed = refer(*["Black."] * 10), refer(*["Black."] * 9, "white")
    assert measure_coverage(vocabulary, [unanimous], "official").ceiling == 0.0
    assert measure_coverage(vocabulary, [mixed], "official").ceiling == 1.0
    assert measure_coverage(vocabulary, [unanimous, mixed], "official").coverage == 1.0


def test_an_answer_that_stands_in_the_vocabulary_as_it_was_given_is_reachable():
    vocabulary = make_vocabulary("Black.", "white")  # made elsewhere, never normalized
    measured = measure_coverage(vocabulary, [refer(*["Black."] * 10)], "official")
    assert (measured.coverage, measured.ceiling) == (0.0, 1.0)


def test_nothing_annotated_is_covered_by_nothing():
    measured = measure_coverage(make_vocabulary("a1"), [[], []], "normalized")
    assert (measured.num_questions, measured.coverage, measured.ceiling) == (0, 0.0, 0.0)


# -------------------------------------------------------------------------------------------------- suggested min_count


def count(questions):
    return count_answers(questions)


def test_the_largest_min_count_that_reaches_the_target_is_suggested():
    questions = [refer("yes")] * 12 + [refer("no")] * 7 + [refer("maybe")]
    assert suggest_min_count(count(questions), VocabularySettings(min_count=20), questions) == 7  # 19 of 20
    assert suggest_min_count(count(questions), VocabularySettings(), questions, target=0.96) == 1
    assert suggest_min_count(count(questions), VocabularySettings(), questions, target=0.6) == 12


def test_a_question_is_covered_by_any_of_its_references():
    questions = [refer("yes")] * 2 + [refer("perhaps", "perhaps", "yes")]
    assert suggest_min_count(count(questions), VocabularySettings(), questions) == 2


def test_no_min_count_reaches_the_target_when_max_answers_is_too_small():
    questions = [refer("yes")] * 2 + [refer("no")] * 2 + [refer("maybe")]
    assert suggest_min_count(count(questions), VocabularySettings(max_answers=2), questions) is None
    assert suggest_min_count(count(questions), VocabularySettings(max_answers=3), questions) == 1


def test_no_annotated_question_gives_no_suggestion():
    assert suggest_min_count({}, VocabularySettings(), [[]]) is None


@given(st.lists(st.lists(st.sampled_from("bcdef"), min_size=1, max_size=3), min_size=1, max_size=20), st.integers(2, 5))
def test_the_suggestion_reaches_the_target_and_one_more_does_not(questions, max_answers):
    references = [refer(*answers) for answers in questions]
    counts = count_answers(references)

    def covered(min_count):
        settings = VocabularySettings(min_count=min_count, max_answers=max_answers)
        return measure_coverage(build_vocabulary(counts, settings), references, "normalized").coverage

    suggested = suggest_min_count(counts, VocabularySettings(max_answers=max_answers), references, target=0.8)
    assert covered((suggested or 0) + 1) < 0.8
    assert suggested is None or covered(suggested) >= 0.8
