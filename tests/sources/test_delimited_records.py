"""CSV and TSV as a stream of rows: every value as it stands, every row with its line, bad rows on their own."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.sources.delimited_records import DelimitedError, DelimitedFile, Row

CELLS = st.text(st.sampled_from("ab ,\t\"\n'é漢;NA\u2028"), max_size=6)


def read(text: str | bytes, name: str = "rows.csv") -> DelimitedFile:
    return DelimitedFile(io.BytesIO(text.encode() if isinstance(text, str) else text), name)


def read_objects(text: str | bytes, name: str = "rows.csv") -> list:
    return [json.loads(row.payload) for row in read(text, name)]


def test_a_row_is_a_json_object_with_its_line():
    assert list(read("q,a\nwhat?,yes\nwho?,no\n")) == [
        Row(b'{"q": "what?", "a": "yes"}', 2, 4),
        Row(b'{"q": "who?", "a": "no"}', 3, 14),
    ]


def test_values_stay_texts_whatever_they_look_like():
    cells = ["None", "NA", "nan", "null", "", "007", "1e5", "TRUE", " padded ", "1,5"]
    text = "a\n" + "".join(f'"{cell}"\n' for cell in cells)
    assert [row["a"] for row in read_objects(text)] == cells


def test_lines_are_right_after_quoted_line_breaks():
    rows = list(read('q,a\n"what\nis\r\nit?",yes\n\nwho?,no\n'))
    assert [row.line for row in rows] == [2, 6]
    assert json.loads(rows[0].payload) == {"q": "what\nis\r\nit?", "a": "yes"}


@given(st.lists(st.tuples(CELLS, CELLS), max_size=8), st.sampled_from([",", "\t"]), st.sampled_from(["\n", "\r\n"]))
def test_what_the_csv_module_writes_is_read(rows, delimiter, ending):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerows([("q", "a"), *rows])
    found = read_objects(text.getvalue(), "rows.csv" if delimiter == "," else "rows.tsv")
    assert found == [{"q": q, "a": a} for q, a in rows]


@pytest.mark.parametrize("name", ["rows.tsv", "rows.TAB", "rows.tsv.gz", "rows.txt"])
def test_tabs_separate_by_suffix_or_where_there_are_no_commas(name):
    assert read_objects("q\ta\nwho, me?\tyes\n", name) == [{"q": "who, me?", "a": "yes"}]


def test_a_suffix_wins_over_commas_in_the_header():
    assert read("q, or so\ta\n", "rows.tsv").header == ["q, or so", "a"]


def test_a_byte_order_mark_is_no_part_of_the_header():
    assert read("\ufeffq,a\n1,2\n").header == ["q", "a"]


def test_a_file_without_a_final_line_break_is_whole():
    assert read_objects("a,b\n1,2") == [{"a": "1", "b": "2"}]


def test_blank_lines_are_passed_by():
    assert [row.line for row in read("a,b\n\n1,2\n  \n\r\n3,4\n\n")] == [3, 6]


def test_a_row_with_another_number_of_cells_is_kept_as_its_cells():
    assert [row.payload for row in read("a,b\n1\n1,2,3\n1,2\n")] == [
        b'["1"]',
        b'["1", "2", "3"]',
        b'{"a": "1", "b": "2"}',
    ]


@pytest.mark.parametrize("bad", ['"Stop" sign,yes', 'x,"two"2'])
def test_a_row_with_a_quote_in_the_wrong_place_costs_only_itself(bad):
    rows = list(read(f"q,a\nfirst,1\n{bad}\nlast,2\n"))
    assert [row.line for row in rows] == [2, 3, 4]
    assert rows[1].payload == f"{bad}\n".encode()
    assert json.loads(rows[2].payload) == {"q": "last", "a": "2"}


@pytest.mark.parametrize("last", [b'"x"y,2', b'"x,2', b'x,"2\n'])
def test_a_bad_last_row_costs_only_itself(last):
    rows = list(read(b"q,a\nfirst,1\n" + last))
    assert rows[1:] == [Row(last, 3, 12)]


def test_a_row_that_is_not_utf_8_costs_only_itself():
    rows = list(read(b"q,a\ncaf\xe9,1\ncaf\xc3\xa9,2\n"))
    assert rows[0] == Row(b"caf\xe9,1\n", 2, 4)
    assert json.loads(rows[1].payload) == {"q": "café", "a": "2"}


@pytest.mark.parametrize("text", ['q,a\nfirst,1\n"open,2\nlast,3\n', 'q,a\nfirst,1\n"open,2\nlast,"3"\nmore,4\n'])
def test_a_quote_that_is_not_closed_does_not_swallow_the_rows_below(text):
    rows = iter(read(text))
    assert json.loads(next(rows).payload) == {"q": "first", "a": "1"}
    with pytest.raises(DelimitedError, match=r"not closed as it should be: .*\(line 3\)") as caught:
        next(rows)
    assert caught.value.line == 3


def test_a_cell_may_be_longer_than_the_csv_module_s_own_limit():
    assert read_objects("a,b\n" + "x" * 200_000 + ",2\n")[0]["a"] == "x" * 200_000


def test_rows_are_read_as_they_are_asked_for():
    class Counting(io.BytesIO):
        num_lines = 0

        def readline(self, size: int | None = -1) -> bytes:
            self.num_lines += 1
            return super().readline(size)

    file = Counting(b"a,b\n" + b"1,2\n" * 1000)
    rows = iter(DelimitedFile(file, "rows.csv"))
    next(rows)
    assert file.num_lines <= 4


def test_an_empty_file_has_an_empty_header_and_no_rows():
    assert read("").header == []
    assert list(read("")) == []


@given(st.lists(st.lists(st.text('ab\u00e9 ,"\n\r', max_size=4), min_size=2, max_size=2), max_size=8), st.booleans())
def test_the_bytes_from_a_row_s_offset_to_the_next_are_the_row(cells, with_mark):
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["q", "a"], *cells])
    data = b"\xef\xbb\xbf" * with_mark + file.getvalue().encode()
    rows = list(read(data))
    ends = [row.byte_offset for row in rows[1:]] + [len(data)]
    for row, end in zip(rows, ends, strict=False):
        (told,) = csv.reader(io.StringIO(data[row.byte_offset : end].decode().strip("\r\n"), newline=""))
        assert list(json.loads(row.payload).values()) == told
