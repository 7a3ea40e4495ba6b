"""The corrections file: what is written to fill in, and what a filled-in row means."""

from __future__ import annotations

import csv
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vqa_pipeline.curation.corrections import (
    COLUMNS,
    Correction,
    parse_answers,
    parse_cells,
    read_corrections,
    show_answers,
    show_raw,
    write_corrections,
)
from vqa_pipeline.errors import SourceError

REJECT = {
    "question_id": "scans/7",
    "locator": "rows.csv:3",
    "rule": "image_missing",
    "reason": "there is no 7.png in the image root",
    "kind": "question",
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
        "kind": "question",
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


# ------------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize(
    "content",
    [
        b'question_id,action,answers\ns/1,edit,"a, b"\ns/2,,\ns/3,drop,\n',
        b'\xef\xbb\xbfquestion_id;action;answers\r\ns/1;edit;"a, b"\r\ns/3;drop;\r\n',
    ],
)
def test_rows_with_an_action_are_read_as_spreadsheets_write_them(tmp_path, content):
    (tmp_path / "c.csv").write_bytes(content)
    assert read_corrections("scans", tmp_path / "c.csv") == (
        Correction(question_id="s/1", action="edit", answers=("a, b",)),
        Correction(question_id="s/3", action="drop"),
    )


@pytest.mark.parametrize(
    ("content", "line", "told"),
    [
        (b"question_id,question\ns/1,x\n", 1, "has no column `action`"),
        (b"question_id,action,anwser\ns/1,edit,x\n", 1, "has the unknown columns anwser"),
        (b"question_id,action\ns/1,mend\n", 2, "'edit', 'drop' or 'accept'"),
        (b"question_id,action\ns/1,drop\ns/2,drop\ns/1,accept\n", 4, "s/1 is corrected twice"),
        (b"question_id,action,answers\ns/1,edit,[1]\n", 2, "no JSON list of texts"),
        (b"question_id,action\ns/1,drop,x\n", 2, "more cells than the header"),
        (b"question_id,action\ns/\xff,drop\n", None, "cannot be read"),
    ],
)
def test_a_file_that_holds_no_corrections_is_refused_by_line(tmp_path, content, line, told):
    (tmp_path / "c.csv").write_bytes(content)
    with pytest.raises(SourceError, match=re.escape(told)) as refused:
        read_corrections("scans", tmp_path / "c.csv")
    assert (refused.value.source, refused.value.setting, refused.value.line) == ("scans", "corrections", line)


def test_what_was_written_to_fill_in_can_be_filled_in_and_read(tmp_path):
    write_corrections(tmp_path / "c.csv", [REJECT])
    [row] = read(tmp_path / "c.csv")
    with (tmp_path / "c.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerow({**row, "action": "edit", "image": "8.png"})
    [one] = read_corrections("scans", tmp_path / "c.csv")
    assert (one.question_id, one.image, one.kind, one.raw) == (
        "scans/7",
        "8.png",
        "question",
        '{"id": 7, "image": "7.png"}',
    )
