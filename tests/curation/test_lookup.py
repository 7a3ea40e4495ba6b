"""The lookup: asked for texts, it gives all rows of these and hardly any others."""

from __future__ import annotations

import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vqa_pipeline.curation.lookup import find_rows, read_lookup, write_lookup

SCHEMA = pa.schema([("image", pa.string()), ("number", pa.int64())])
TWINS = ("plumless", "buckeroo")
"""Two texts with one hash."""

LAST = "206-Y81l"
"""Its hash is the largest that there is."""


def write(path: Path, *parts: list[str]) -> Path:
    tables, first = [], 0
    for part in parts:
        tables.append(pa.table({"image": part, "number": range(first, first + len(part))}, SCHEMA))
        first += len(part)
    write_lookup(tables, SCHEMA, "image", path)
    return path


def find(path: Path, *images: str) -> list[int]:
    return find_rows(path, images, ["number"])["number"].to_pylist()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.text("ab", max_size=3), max_size=8), max_size=4),
    st.lists(st.text("ab", max_size=3), max_size=5),
)
@example([[]], [])
@example([], ["a"])
def test_all_rows_of_the_texts_are_found_in_the_order_of_writing(parts, wanted):
    images = [image for part in parts for image in part]
    with TemporaryDirectory() as folder:
        found = find(write(Path(folder) / "rows.arrow", *parts), *wanted)
    assert found == [number for number, image in enumerate(images) if image in wanted]


def test_texts_with_the_same_hash_are_found_together():
    assert zlib.crc32(TWINS[0].encode()) == zlib.crc32(TWINS[1].encode())
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "rows.arrow", [TWINS[0], "other", TWINS[1], TWINS[0]])
        assert find(path, TWINS[0]) == [0, 2, 3]
        assert find(path, "other") == [1]


def test_the_largest_hash_is_found_and_ends_the_search(tmp_path):
    assert zlib.crc32(LAST.encode()) == 2**32 - 1
    path = write(tmp_path / "rows.arrow", ["first", LAST, "last"])
    assert find(path, LAST) == [1]
    assert find(path, "none") == []


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """As many rows as need two batches."""
    parts = [[f"{part}/{number}.png" for number in range(1_000)] for part in range(70)]
    return write(tmp_path_factory.mktemp("lookup") / "rows.arrow", *parts)


def test_rows_of_small_tables_lie_in_few_batches_and_are_found_in_each(many):
    with pa.memory_map(str(many)) as file:
        assert pa.ipc.open_file(file).num_record_batches == 2
    assert find(many, "69/999.png", "0/0.png", "40/7.png") == [0, 40_007, 69_999]


def test_some_columns_of_all_rows_are_read(many):
    table = read_lookup(many, ["number"])
    assert table.column_names == ["number"]
    assert table["number"].to_pylist() == list(range(70_000))
