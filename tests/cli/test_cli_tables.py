"""Columns for the terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.cli.tables import format_table


def test_texts_stand_left_and_numbers_right():
    table = format_table([("yes", 7, "a"), ("a long one", 1234, "b")], ("answer", "count", ""))
    assert table.splitlines() == ["answer      count", "yes             7  a", "a long one   1234  b"]


def test_no_rows_are_no_lines():
    assert format_table([]) == ""
    assert format_table([], ("a", "b")) == "a  b"


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1))
def test_a_row_is_a_line_whatever_it_says(rows):
    assert len(format_table(rows).split("\n")) == len(rows)
    assert "\x1b" not in format_table(rows)
