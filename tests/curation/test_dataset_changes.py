"""What a dataset has otherwise than the one before, counted by hand, in parts and as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from curation_world import make_answers, make_locator
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_pipeline.curation.changes import DatasetChanges, FieldChange, SourceChanges, compare_datasets, find_drift
from vqa_pipeline.schemas import QUESTIONS


def make_row(number: int, **fields: Any) -> dict[str, Any]:
    answers = fields.pop("answers", ("yes",))
    row = {
        "question_id": f"clinic/{number}",
        "native_id": str(number),
        "source": "clinic",
        "split": "train",
        "image": "1.png",
        "image_sha256": "a" * 64,
        "question": "is it?",
        "question_type": None,
        "answer_type": None,
        "paraphrase_of": None,
        "answers": None if answers is None else make_answers(*answers),
        "most_common_answer": answers and answers[0],
        "repairs": [],
        "locator": make_locator(number),
    }
    return row | fields


def write_dataset(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A file for each split, as the plan writes them."""
    (folder / "questions").mkdir(parents=True)
    for split in sorted({row["split"] for row in rows}):
        table = pa.Table.from_pylist([row for row in rows if row["split"] == split], QUESTIONS)
        pq.write_table(table, folder / "questions" / f"{split}-00000.parquet")
    return folder


def compare(folder: Path, before: list[Any], now: list[Any], **told: Any) -> DatasetChanges:
    fields = told.pop("fields", {})
    written = write_dataset(folder / "before", before), write_dataset(folder / "now", now)
    return compare_datasets(*written, "v1", fields, **told)


BEFORE = [make_row(number) for number in range(10)]
NONE = {name: 0 for name in SourceChanges.model_fields} | {"num_before": 10, "num_now": 10}


@pytest.mark.parametrize("rows_at_once", [100, 3, 1])
@pytest.mark.parametrize(
    ("now", "told"),
    [
        (BEFORE[::-1], {}),
        ([*BEFORE, make_row(10), make_row(11)], {"num_now": 12, "num_added": 2}),
        (BEFORE[3:], {"num_now": 7, "num_removed": 3}),
        ([*BEFORE[1:], make_row(0, question="is it so?")], {"num_reworded": 1}),
        ([*BEFORE[1:], make_row(0, answers=("yes", "yes"))], {"num_reanswered": 1}),
        ([*BEFORE[1:], make_row(0, answers=None)], {"num_reanswered": 1}),
        ([*BEFORE[1:], make_row(0, image_sha256="b" * 64)], {"num_images_replaced": 1}),
        ([*BEFORE[1:], make_row(0, image_sha256=None)], {"num_images_replaced": 1}),
        ([*BEFORE[1:], make_row(0, split="test")], {"num_moved": 1}),
        ([*BEFORE[1:], make_row(0, image="renamed.png", locator=make_locator(99))], {}),
    ],
)
def test_each_change_is_counted_as_what_it_is(tmp_path, now, told, rows_at_once):
    changes = compare(tmp_path, BEFORE, now, rows_at_once=rows_at_once)
    assert changes.sources == {"clinic": SourceChanges(**(NONE | told))}
    assert changes.since == "v1"


def test_sources_are_told_apart_also_those_that_came_or_went(tmp_path):
    other = {"source": "shop", "question_id": "shop/1"}
    came = compare(tmp_path / "came", BEFORE, [*BEFORE, make_row(1, **other)])
    assert {name: (one.num_before, one.num_now) for name, one in came.sources.items()} == {
        "clinic": (10, 10),
        "shop": (0, 1),
    }
    went = compare(tmp_path / "went", [*BEFORE, make_row(1, **other)], BEFORE)
    assert went.sources["shop"].num_removed == 1
    assert went.count("num_removed") == 1


def test_answers_that_none_had_before_and_how_far_the_shares_moved(tmp_path):
    """Before 10 x yes; now 6 x yes, 2 x no, 2 without answers: 2 of 8 are new, and 2/8 of the shares moved."""
    told = (*[("yes",)] * 6, ("no",), ("no",), None, None)
    now = [make_row(number, answers=answers) for number, answers in enumerate(told)]
    changes = compare(tmp_path, BEFORE, now)
    assert changes.new_answer_fraction == pytest.approx(2 / 8)
    assert changes.answer_shift == pytest.approx(2 / 8)


def test_a_dataset_without_questions_can_be_compared(tmp_path):
    assert compare(tmp_path / "gone", BEFORE, []).sources == {
        "clinic": SourceChanges(**(NONE | {"num_now": 0, "num_removed": 10}))
    }
    changes = compare(tmp_path / "none", [], [])
    assert (changes.sources, changes.new_answer_fraction, changes.answer_shift) == ({}, 0.0, 0.0)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({"question.id": {"a text": 9}, "question.hint": {"a text": 9}}, []),
        ({"question.id": {"a text": 9}}, [("question.hint", "a text", None)]),
        ({"question.id": {"a number": 9}, "question.hint": {"null": 9}}, [
            ("question.hint", "a text", None),
            ("question.id", "a text", "a number"),
        ]),
        ({"question.id": {"a text": 9}, "question.hint": {"a text": 1}, "question.more": {"a list": 9}}, []),
    ],
)  # fmt: skip
def test_fields_that_vanish_or_change_their_type_are_named(tmp_path, now, told):
    before = {"question.id": {"a text": 10}, "question.hint": {"a text": 10}, "question.rare": {"a text": 2}}
    changes = compare(tmp_path, BEFORE, BEFORE, fields={"clinic": (before, now)})
    assert [(one.field, one.before, one.now) for one in changes.fields] == told


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["yes", "no"])), max_size=25, unique_by=lambda row: row[0]),
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["yes", "no"])), max_size=25, unique_by=lambda row: row[0]),
    st.integers(1, 40),
)
def test_counts_are_those_of_sets(tmp_path_factory, before, now, rows_at_once):
    rows = [[make_row(number, answers=(answer,)) for number, answer in side] for side in (before, now)]
    changes = compare(tmp_path_factory.mktemp("sets"), *rows, rows_at_once=rows_at_once)
    old, new = dict(before), dict(now)
    told = [changes.count(name) for name in ("num_before", "num_now", "num_added", "num_removed", "num_reanswered")]
    changed = [key for key in old.keys() & new.keys() if old[key] != new[key]]
    assert told == [len(old), len(new), len(new.keys() - old.keys()), len(old.keys() - new.keys()), len(changed)]


# --------------------------------------------------------------------------------------------------------------- drift


def make_changes(**told: Any) -> DatasetChanges:
    counts = {name: told.pop(name) for name in list(told) if name in SourceChanges.model_fields}
    source = SourceChanges(**(NONE | {"num_before": 100, "num_now": 100} | counts))
    given = {"since": "v1", "sources": {"clinic": source}, "new_answer_fraction": 0.0, "answer_shift": 0.0} | told
    return DatasetChanges(**given)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"num_added": 1000, "num_now": 1100},
        {"num_removed": 10, "num_reanswered": 10, "num_moved": 10},
        {"answer_shift": 0.1, "new_answer_fraction": 0.05},
    ],
)
def test_more_rows_and_small_changes_are_no_drift(told):
    assert find_drift(make_changes(**told)) == []


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"num_removed": 11}, "11 of 100 questions are gone"),
        ({"num_reworded": 11}, "11 of 100 questions have another text"),
        ({"num_reanswered": 50}, "50 of 100 questions have other answers"),
        ({"num_images_replaced": 11}, "11 of 100 questions have another image"),
        ({"num_moved": 11}, "11 of 100 questions are in another split"),
        ({"answer_shift": 0.11}, "the most common answers shifted by 0.11 (of at most 1)"),
        ({"new_answer_fraction": 0.06}, "6% of the questions have an answer that none had before"),
        (
            {"fields": (FieldChange(source="clinic", field="question.id", before="a text", now=None),)},
            "clinic: `question.id` was a text, is gone",
        ),
    ],
)
def test_a_large_change_is_told_with_what_to_do(told, words):
    found, advice = find_drift(make_changes(**told))
    assert found == words
    assert "page of `dataset`" in advice
