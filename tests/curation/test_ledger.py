"""The ledger: rows read against rows written, and which source lost how many."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_pipeline.curation.ledger import Ledger, SourceLedger, arrange_fates
from vqa_pipeline.schemas import FATES


def open_account(questions=0, annotations=0, joined=0, **fates) -> SourceLedger:
    return SourceLedger(
        num_question_records=questions, num_annotation_records=annotations, num_joined_annotations=joined, fates=fates
    )


def test_rows_are_questions_and_the_annotations_that_found_none():
    assert open_account(questions=10, annotations=8, joined=5).num_rows == 13


def test_a_ledger_balances_when_every_row_has_a_fate():
    clinic = open_account(
        10,
        8,
        5,
        accepted={"": 7},
        duplicate={"duplicate_row": 1},
        rejected={"annotation_orphan": 3, "split_unknown": 2},
    )
    shapes = open_account(4, accepted={"": 3}, excluded={"leakage": 1})
    ledger = Ledger(sources={"clinic": clinic, "shapes": shapes})
    assert ledger.find_imbalances() == []
    assert (ledger.num_rows, ledger.num_rejected) == (17, 5)
    assert [ledger.count(fate) for fate in FATES] == [10, 1, 5, 1]
    assert [clinic.count(fate) for fate in FATES] == [7, 1, 5, 0]


def test_an_imbalance_names_the_source_and_how_many_rows_are_lost_or_too_many():
    ledger = Ledger(
        sources={
            "whole": open_account(3, accepted={"": 3}),
            "lossy": open_account(10, accepted={"": 7}, rejected={"image_missing": 1}),
            "twice": open_account(5, 2, 2, accepted={"": 5}, duplicate={"duplicate_row": 1}),
        }
    )
    reported = "this is a defect of vqa_pipeline, please report it"
    assert ledger.find_imbalances() == [
        f"source lossy: 10 rows were read, but 8 have a fate (2 lost): {reported}",
        f"source twice: 5 rows were read, but 6 have a fate (1 too many): {reported}",
    ]


def test_a_source_tells_what_became_of_its_rows_the_most_frequent_rule_first():
    rejected = {"annotation_orphan": 1, "image_missing": 7, "image_path_drive": 1, "split_unknown": 2, "image_empty": 1}
    account = open_account(17, accepted={"": 3}, duplicate={"duplicate_row": 2}, rejected=rejected)
    assert account.describe() == (
        "17 rows: 3 accepted, 2 duplicate (duplicate_row 2), "
        "12 rejected (image_missing 7, split_unknown 2, annotation_orphan 1, image_empty 1, …)"
    )
    assert open_account().describe() == "0 rows"


def test_without_an_accepted_question_every_source_is_named_with_its_rows():
    lost = open_account(2, rejected={"image_missing": 2})
    assert Ledger(sources={"clinic": lost, "spare": open_account()}).find_emptiness() == [
        (
            "no question is accepted (source clinic: 2 rows: 2 rejected (image_missing 2); source spare: 0 rows): "
            "the page of the candidate tells why"
        ),
        "source spare gave no row: bring its rows, or remove it from `sources`",
    ]


def test_one_source_without_rows_among_others_is_named():
    full = open_account(1, accepted={"": 1})
    ledger = Ledger(sources={"clinic": full, "spare": open_account(), "other": full})
    assert ledger.find_emptiness() == ["source spare gave no row: bring its rows, or remove it from `sources`"]
    repeated = open_account(1, duplicate={"duplicate_question": 1})
    assert Ledger(sources={"clinic": full, "copy": repeated}).find_emptiness() == []


def test_what_one_source_lost_is_not_made_up_by_another():
    ledger = Ledger(sources={"a": open_account(2, accepted={"": 1}), "b": open_account(2, accepted={"": 3})})
    assert len(ledger.find_imbalances()) == 2


def test_a_source_without_rows_balances():
    assert Ledger(sources={"empty": open_account()}).find_imbalances() == []
    assert Ledger(sources={}).num_rows == 0


def test_counts_are_arranged_by_source_fate_and_rule_in_alphabetical_order():
    counted = {
        ("b", "rejected", "split_unknown"): 2,
        ("a", "accepted", ""): 5,
        ("b", "rejected", "image_missing"): 1,
        ("b", "duplicate", "duplicate_row"): 3,
    }
    arranged = arrange_fates(counted)
    assert arranged == {
        "a": {"accepted": {"": 5}},
        "b": {"duplicate": {"duplicate_row": 3}, "rejected": {"image_missing": 1, "split_unknown": 2}},
    }
    assert list(arranged["b"]["rejected"]) == ["image_missing", "split_unknown"]
    assert arrange_fates({}) == {}


ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(FATES), st.sampled_from(["one", "two"])), max_size=40)


@settings(deadline=None)
@given(ROWS, st.sampled_from("abc"), st.integers(-3, 3))
def test_a_ledger_balances_exactly_when_as_many_rows_were_read_as_written(rows, source, error):
    read = Counter(name for name, _, _ in rows)
    read[source] += error
    fates = arrange_fates(Counter(rows))
    ledger = Ledger(sources={name: open_account(max(0, read[name]), **fates.get(name, {})) for name in ("a", "b", "c")})
    told = [problem.split(":")[0] for problem in ledger.find_imbalances()]
    written = Counter(name for name, _, _ in rows)[source]
    assert told == ([f"source {source}"] if max(0, written + error) != written else [])


def test_a_ledger_is_json_and_comes_back_the_same():
    ledger = Ledger(sources={"a": open_account(2, 1, 1, accepted={"": 1}, rejected={"split_unknown": 1})})
    assert Ledger.model_validate_json(ledger.model_dump_json()) == ledger


def test_a_fate_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="accepted"):
        open_account(1, forgotten={"": 1})
