"""Samples: what the beginning of a file tells, whatever the file is called and however large it is."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.sources.samples import take_sample

ROWS = [{"image": f"{number}.png", "question": "what?", "answer": "a"} for number in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def write(folder: Path, content: bytes | str, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def look(folder: Path, content: bytes | str, name: str = "file"):
    return take_sample(write(folder, content, name), name).sample


TEXTS = {
    "a list": (json.dumps(ROWS), "list", ROWS),
    "a list of lists": ('[["what?", "a", 7]]', "list", [["what?", "a", 7]]),
    "an object with records": (json.dumps({"info": {"year": 2017}, "data": ROWS}, indent=1), "object", ROWS),
    "an object keyed by id": (json.dumps({"7": ROWS[0], "8": ROWS[1]}), "object", ROWS[:2]),
    "an object without records": ('{"train": ["1", "2"]}', "object", []),
    "lines": (LINES, "lines", ROWS),
    "lines, one of them broken": (LINES + "{broken\n", "lines", ROWS),
    "cells": ("image,question,answer\n0.png,what?,a\n1.png,what?,a\n2.png,what?,a\n", "delimited", ROWS),
    "cells with tabs": ("image\tquestion\tanswer\n0.png\twhat?\ta\n", "delimited", ROWS[:1]),
    "cells with semicolons": ("image;question;answer\n0.png;what?;a\n", "delimited", ROWS[:1]),
    "cells without a header": ("synpic1|what is it?|ct\nsynpic2|where?|left\n", "text", ["synpic1|what is it?|ct", "synpic2|where?|left"]),
    "prose": ("Read me.\nThen go on.\n", "text", ["Read me.", "Then go on."]),
    "nothing": ("", "text", []),
    "no JSON": ("[1, 2", "list", [1, 2]),
    "braces of another language": ("{% if %}\n", "text", ["{% if %}"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS)
def test_the_layout_is_told_by_content(tmp_path, kind):
    text, layout, records = TEXTS[kind]
    sample = look(tmp_path, text)
    assert (sample.layout, list(sample.records)) == (layout, records)


def test_one_object_is_lines_only_by_its_files_name(tmp_path):
    assert look(tmp_path, json.dumps(ROWS[0])).layout == "object"
    assert look(tmp_path, json.dumps(ROWS[0]), "one.jsonl").layout == "lines"
    assert look(tmp_path, json.dumps(ROWS[0]), "one.jsonl.gz").layout == "lines"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_mark_at_the_start_changes_nothing(tmp_path, encoding):
    sample = look(tmp_path, json.dumps(ROWS).encode(encoding))
    assert (sample.layout, list(sample.records)) == ("list", ROWS)
    assert sample.start.startswith(b"[")


def test_gzip_is_looked_through_whatever_it_is_called(tmp_path):
    sample = look(tmp_path, gzip.compress(LINES.encode()), "rows.csv")
    assert (sample.layout, list(sample.records)) == ("lines", ROWS)


def test_damaged_gzip_shows_what_is_left(tmp_path):
    whole = gzip.compress(LINES.encode() * 1000)
    assert look(tmp_path, whole[:200]).layout == "lines"
    assert look(tmp_path, b"\x1f\x8b not gzip").layout == "text"


def test_the_fields_of_an_object_are_its_members(tmp_path):
    sample = look(tmp_path, json.dumps({"data_subtype": "val2014", "questions": ROWS}))
    assert sample.fields == {"data_subtype": "val2014", "questions": ROWS}


def test_the_fields_of_a_table_are_its_columns(tmp_path):
    assert look(tmp_path, "image,question\n0.png,what?\n").fields == {"image": "text", "question": "text"}


def test_parquet_tells_types_first_rows_and_how_many_there_are(tmp_path):
    path = tmp_path / "rows"
    pq.write_table(pa.table({"image": ["a.png"] * 100, "n": [1] * 100}), path)
    file = take_sample(path, "rows")
    assert (file.sample.layout, file.sample.fields) == ("parquet", {"image": "string", "n": "int64"})
    assert file.sample.records[0] == {"image": "a.png", "n": 1}
    assert file.estimate_records() == 100


def test_archives_tell_their_members(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a/q.json", "[]")
    assert look(tmp_path, packed.getvalue()).members == ("a/q.json",)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("k.json"))
        tar.addfile(tarfile.TarInfo("k.png"))
    sample = look(tmp_path, packed.getvalue())
    assert (sample.layout, sample.members) == ("archive", ("k.json", "k.png"))


@pytest.mark.parametrize(
    "content", [pickle.dumps(ROWS), b"PAR1 is not enough", b"\x93NUMPY\1\0", b"\x89PNG\r\n\x1a\n\0\0"]
)
def test_what_is_no_text_is_binary_and_nothing_in_it_runs(tmp_path, content):
    sample = look(tmp_path, content)
    assert (sample.layout, sample.records) == ("binary", ())


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "huge.jsonl"
    with path.open("wb") as file:
        while file.tell() < 1 << 20:
            file.write(LINES.encode())
        size = file.tell()
        file.truncate(1 << 40)  # a terabyte of nothing after the first megabyte
    sampled = take_sample(path, "huge.jsonl")
    assert sampled.sample.layout == "lines"
    assert sampled.estimate_records() == pytest.approx(3 * size / len(LINES) * (1 << 40) / size, rel=0.01)


def test_more_is_read_while_no_record_is_whole(tmp_path):
    rows = [{"image": "x" * 600_000, "question": "what?"}] * 4
    file = take_sample(write(tmp_path, json.dumps(rows)), "rows.json")
    assert file.sample.records == (rows[0],)
    assert file.estimate_records() == pytest.approx(4, abs=2)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_records_of_a_large_file_are_estimated_by_its_beginning(tmp_path, compress):
    rows = [{"question_id": number, "question": f"what is {number * 7919 % 1000}?"} for number in range(20_000)]
    file = take_sample(write(tmp_path, compress(json.dumps(rows).encode())), "rows.json")
    assert len(file.sample.records) < 20_000
    assert file.estimate_records() == pytest.approx(20_000, rel=0.1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(st.text(min_size=1), JSON, min_size=1), min_size=1), st.integers(1), st.booleans())
def test_a_cut_file_shows_a_beginning_of_its_records(rows, padding, is_lines):
    """Whatever comes after, only whole records are shown, as they are, in order."""
    rest = {"padding": "x" * (1 << 18)}
    text = "".join(json.dumps(row) + "\n" for row in [*rows, rest]) if is_lines else json.dumps([*rows, rest])
    with tempfile.TemporaryDirectory() as folder:
        records = list(look(Path(folder), text, "rows.jsonl" if is_lines else "rows.json").records)
    assert records == [*rows, rest][: len(records)]
    assert len(records) >= len(rows)


@given(st.binary(max_size=300))
def test_no_content_breaks_it(content):
    with tempfile.TemporaryDirectory() as folder:
        assert look(Path(folder), content).layout in {
            "list",
            "object",
            "lines",
            "delimited",
            "text",
            "binary",
            "archive",
        }
