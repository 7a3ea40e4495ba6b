"""Statistics arranged for people: rows with shares, of what there is."""

from __future__ import annotations

from reporting_world import FACTS

from vqa_pipeline.reporting.statistics import list_counts, list_sources

STATISTICS = FACTS["statistics"]


def test_values_are_counted_with_their_share_of_all_questions():
    counted = dict(list_counts(STATISTICS))
    assert counted["most common answer (2 distinct)"] == [("red", 6, 0.75), ("yes", 1, 0.125)]
    assert counted["words of a question"] == [("3", 8, 1.0)]


def test_what_no_source_says_is_left_out():
    assert [title for title, _ in list_counts(STATISTICS)] == [
        "most common answer (2 distinct)",
        "question type",
        "answers to a question",
        "words of a question",
    ]


def test_the_longest_stand_for_all_that_are_longer():
    counted = dict(list_counts({**STATISTICS, "words_per_question": {"3": 6, "15": 2}}))
    assert counted["words of a question"] == [("3", 6, 0.75), ("15 or more", 2, 0.25)]


def test_long_lists_are_cut():
    many = {f"answer {number}": 1 for number in range(20)}
    assert len(list_counts({**STATISTICS, "top_answers": many})[0].rows) == 16


def test_a_dataset_without_questions_has_shares_of_nothing():
    empty = dict.fromkeys(("top_answers", "question_types", "answer_types", "answers_per_question"), {})
    assert list_counts({**STATISTICS, **empty, "words_per_question": {}}) == []


def test_sources_are_listed_with_licence_and_questions_by_split():
    told = {**STATISTICS, "questions_by_source": {"shapes": {"train": 5, "test": 3}, "scans": {"val": 1}}}
    assert list_sources(told, {"shapes": "CC0-1.0"}) == [
        ("shapes", "CC0-1.0", 5, 0, 3),
        ("scans", "not stated", 0, 1, 0),
    ]
