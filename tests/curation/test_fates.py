"""Fates: each row gets one, once, by the first rule that applies."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pytest
from curation_world import make_locator
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_pipeline.curation.fates import RULES, from_arrow, open_fates, settle, settle_as, take_settled, to_arrow
from vqa_pipeline.schemas import FATES, REJECTS


def test_the_rules_that_need_more_than_one_row_and_what_they_make_of_it():
    assert {name: rule.fate for name, rule in RULES.items()} == {
        "duplicate_row": "duplicate",
        "duplicate_id": "rejected",
        "answers_in_rows": "rejected",
        "duplicate_annotation": "duplicate",
        "annotation_conflict": "rejected",
        "annotation_orphan": "rejected",
        "annotation_missing": "rejected",
        "leakage": "excluded",
        "duplicate_question": "duplicate",
    }


@pytest.mark.parametrize("name", RULES)
def test_each_rule_has_a_reason_and_a_fix(name):
    rule = RULES[name]
    assert rule.fate in FATES
    assert rule.reason[0].islower()
    assert not rule.reason.endswith(".")
    assert rule.fix[0].isupper()
    assert rule.fix.endswith(".")


def test_nothing_is_settled_at_first():
    frame = open_fates(pl.DataFrame({"a": [1, 2]}))
    assert frame.to_dicts() == [
        {"a": 1, "fate": None, "rule": None, "reason": None, "fix": None},
        {"a": 2, "fate": None, "rule": None, "reason": None, "fix": None},
    ]


def test_the_first_rule_that_applies_settles_a_row():
    frame = open_fates(pl.DataFrame({"a": [1, 2, 3]}))
    frame = frame.with_columns(settle("duplicate_id", pl.col("a") >= 3))
    frame = frame.with_columns(settle("duplicate_row", pl.col("a") >= 2))
    assert frame["rule"].to_list() == [None, "duplicate_row", "duplicate_id"]
    assert frame["fate"].to_list() == [None, "duplicate", "rejected"]
    assert frame["reason"].to_list() == [None, "another row says the same", "different rows claim the same question id"]
    assert frame["fix"].to_list()[2] == "Give each row an id of its own."


def test_a_reason_names_the_row_s_own_culprit():
    frame = open_fates(pl.DataFrame({"a": ["x", "y"], "other": ["1", "2"]}))
    frame = frame.with_columns(settle("duplicate_row", pl.col("a") != "x", pl.col("other")))
    assert frame["reason"].to_list() == [None, "another row says the same: 2"]


def test_a_condition_that_is_unknown_settles_nothing():
    frame = open_fates(pl.DataFrame({"a": [None, 1]}, schema={"a": pl.Int64}))
    frame = frame.with_columns(settle("leakage", pl.col("a") > 0))
    assert frame["rule"].to_list() == [None, "leakage"]


def test_a_fate_may_be_told_by_the_row_itself():
    frame = open_fates(pl.DataFrame({"a": ["image_missing", None], "why": ["there is no 1.png", None]}))
    values = {"fate": pl.lit("rejected"), "rule": pl.col("a"), "reason": pl.col("why"), "fix": pl.lit("Bring it.")}
    frame = frame.with_columns(settle_as(pl.col("a").is_not_null(), values))
    assert frame.select("fate", "rule", "reason", "fix").rows() == [
        ("rejected", "image_missing", "there is no 1.png", "Bring it."),
        (None, None, None, None),
    ]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(RULES)), st.sets(st.integers(0, 5))), max_size=6),
)
def test_whatever_rules_apply_a_settled_row_keeps_its_fate_whole(steps):
    frame = open_fates(pl.DataFrame({"row": range(6)}))
    expected: dict[int, str] = {}
    for rule, rows in steps:
        frame = frame.with_columns(settle(rule, pl.col("row").is_in(sorted(rows))))
        expected = {**dict.fromkeys(rows, rule), **expected}
    for row in frame.iter_rows(named=True):
        rule = expected.get(row["row"])
        told = (row["fate"], row["reason"], row["fix"])
        assert row["rule"] == rule
        assert told == (tuple(RULES[rule]) if rule else (None, None, None))


def test_settled_rows_are_taken_as_rejects_with_their_place_and_payload():
    frame = open_fates(
        pl.DataFrame(
            {
                "source": ["clinic"] * 2,
                "question_id": ["clinic/1", "clinic/2"],
                "locator": [make_locator(3), make_locator(4)],
                "raw": [b"{1}", b"{2}"],
                "image": ["1.png", "2.png"],
            },
            schema_overrides={
                "locator": pl.Struct(
                    {
                        "file": pl.String,
                        "record": pl.Int64,
                        "item": pl.Int64,
                        "byte_offset": pl.Int64,
                        "line": pl.Int64,
                    }
                )
            },
        )
    )
    frame = frame.with_columns(settle("leakage", pl.col("question_id") == "clinic/2"))
    table = take_settled(frame, "question")
    assert table.schema.equals(REJECTS)
    assert table.to_pylist() == [
        {
            "source": "clinic",
            "kind": "question",
            "question_id": "clinic/2",
            "fate": "excluded",
            "rule": "leakage",
            "reason": "its image, or a near-duplicate of it, is also in a split nearer to the test",
            "fix": "Nothing to do: `dataset.leakage` asks for it.",
            "image": "2.png",
            "locator": make_locator(4),
            "raw": b"{2}",
        }
    ]
    [annotation] = take_settled(frame.drop("image"), "annotation").to_pylist()
    assert (annotation["kind"], annotation["image"]) == ("annotation", None)


def test_tables_come_and_go_without_change():
    schema = pa.schema([("a", pa.string()), ("b", pa.list_(pa.int64())), ("c", pa.binary())])
    table = pa.table({"a": ["x", None], "b": [[1, None], None], "c": [b"\0", None]}, schema)
    assert to_arrow(from_arrow(table), schema).equals(table)
    assert to_arrow(from_arrow(schema.empty_table()), schema).equals(schema.empty_table())
