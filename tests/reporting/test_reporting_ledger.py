"""The ledger as people see it: sums that balance."""

from __future__ import annotations

from copy import deepcopy

from reporting_world import LEDGER

from vqa_pipeline.curation.ledger import Ledger
from vqa_pipeline.reporting.ledger import list_fates, sum_sources


def test_the_ledger_is_listed_by_source_fate_and_rule_in_the_order_of_fates():
    assert list_fates(LEDGER) == [
        ("shapes", "accepted", "", 8),
        ("shapes", "duplicate", "duplicate_row", 1),
        ("shapes", "rejected", "image_missing", 2),
        ("shapes", "rejected", "question_empty", 1),
        ("shapes", "excluded", "leakage", 1),
    ]


def test_a_source_that_balances_misses_nothing():
    assert sum_sources(LEDGER) == [
        {
            "source": "shapes",
            "num_rows": 13,
            "accepted": 8,
            "duplicate": 1,
            "rejected": 3,
            "excluded": 1,
            "num_missing": 0,
        }
    ]


def test_a_row_without_a_fate_is_counted_as_missing():
    lossy = deepcopy(LEDGER)
    lossy["sources"]["shapes"]["fates"]["accepted"][""] = 6
    assert sum_sources(lossy)[0]["num_missing"] == 2


def test_several_sources_end_with_their_sum():
    two = {"sources": {"a": LEDGER["sources"]["shapes"], "b": LEDGER["sources"]["shapes"]}}
    assert [row["source"] for row in sum_sources(two)] == ["a", "b", "all sources"]
    assert sum_sources(two)[-1] == {
        "source": "all sources",
        "num_rows": 26,
        "accepted": 16,
        "duplicate": 2,
        "rejected": 6,
        "excluded": 2,
        "num_missing": 0,
    }


def test_rows_are_counted_as_curation_counts_them():
    ledger = Ledger.model_validate(LEDGER)
    (row,) = sum_sources(ledger.model_dump(mode="json"))
    assert row["num_rows"] == ledger.num_rows
    assert row["rejected"] == ledger.num_rejected
