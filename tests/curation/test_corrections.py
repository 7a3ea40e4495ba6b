"""The corrections file: what is written to fill in, and what a filled-in row means."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vqa_pipeline.curation.corrections import (
    COLUMNS,
    Correction,
    parse_answers,
    parse_cells,
    show_answers,
    show_raw,
    write_corrections,
)

REJECT = {
    "question_id": "scans/7",
    "locator": "rows.csv:3",
    "rule": "image_missing",
    "reason": "there is no 7.png in the image root",
    "raw": '{"id": 7,\n "image": "7.png"}',
}


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_to_fill_in_has_its_key_and_what_was_wrong(tmp_path):
    assert write_corrections(tmp_path / "c.csv", [REJECT, {**REJECT, "question_id": None}]) == 2
    first, second = read(tmp_path / "c.csv")
    assert tuple(first) == COLUMNS
    assert {name: cell for name, cell in first.items() if cell} == {
        "question_id": "scans/7",
        "locator": "rows.csv:3",
        "rule": "image_missing",
        "reason": "there is no 7.png in the image root",
        "raw": '{"id": 7, "image": "7.png"}',
    }
    assert (second["question_id"], second["locator"]) == ("", "rows.csv:3")


def test_nothing_filled_in_says_nothing(tmp_path):
    write_corrections(tmp_path / "c.csv", [REJECT])
    assert [parse_cells(row) for row in read(tmp_path / "c.csv")] == [None]


def test_no_cell_is_a_formula_to_a_spreadsheet(tmp_path):
    write_corrections(tmp_path / "c.csv", [{**REJECT, "raw": '=HYPERLINK("http://x")', "reason": "@SUM(1)"}])
    [row] = read(tmp_path / "c.csv")
    assert row["raw"] == '\'=HYPERLINK("http://x")'
    assert row["reason"] == "'@SUM(1)"


@pytest.mark.parametrize(
    ("cells", "correction"),
    [
        (
            {"question_id": "s/1", "action": "edit", "question": "what?"},
            {"question_id": "s/1", "action": "edit", "question": "what?"},
        ),
        ({"question_id": "s/1", "action": " drop "}, {"question_id": "s/1", "action": "drop"}),
        ({"question_id": "s/1", "action": "accept"}, {"question_id": "s/1", "action": "accept"}),
        (
            {"locator": "a.csv:2", "raw": "x", "action": "edit", "answers": '["a", "b"]', "split": "test"},
            {"locator": "a.csv:2", "raw": "x", "action": "edit", "answers": ("a", "b"), "split": "test"},
        ),
        (
            {"question_id": "s/1", "action": "edit", "image": "a/1.png", "answers": "a cat, sitting"},
            {"question_id": "s/1", "action": "edit", "image": "a/1.png", "answers": ("a cat, sitting",)},
        ),
    ],
)
def test_a_filled_in_row_is_a_correction(cells, correction):
    assert parse_cells(cells) == Correction(**correction)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ({"question_id": "s/1", "action": "fix"}, "'edit', 'drop' or 'accept'"),
        ({"action": "drop"}, "needs a question_id"),
        ({"action": "drop", "locator": "a.csv:2"}, "needs a question_id, or a locator and the raw record"),
        ({"question_id": "s/1", "action": "edit"}, "all four cells are empty"),
        ({"question_id": "s/1", "action": "drop", "question": "what?"}, "write edit, or empty the cell"),
        ({"question_id": "s/1", "action": "edit", "split": "holdout"}, "'train', 'val' or 'test'"),
    ],
)
def test_a_row_that_makes_no_sense_is_told(cells, told):
    with pytest.raises(ValidationError, match=told):
        parse_cells(cells)


@pytest.mark.parametrize("cell", ["[1, 2]", "[", '["a"', "[]x"])
def test_a_list_that_is_none_is_told(cell):
    with pytest.raises(ValueError, match="no JSON list of texts"):
        parse_answers(cell)


@given(st.lists(st.text(), min_size=1))
def test_answers_come_back_as_they_were_shown(answers):
    assert list(parse_answers(show_answers(answers))) == answers


@given(st.text())
def test_a_record_is_shown_in_one_line_that_computes_nothing(payload):
    shown = show_raw(payload)
    assert len(shown.splitlines()) <= 1
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r"))
