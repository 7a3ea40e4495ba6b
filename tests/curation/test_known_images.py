"""What is known of images: found by their bytes, replaced whole, and never trusted when it is not whole."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.curation.known_images import KnownImages, read_known_images, view_fixed, write_known_images
from vqa_pipeline.errors import DiskError

SCHEMA = pa.schema([("image_sha256", pa.string()), ("width", pa.int32()), ("colours", pa.binary(3))])


def digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def make_facts(numbers: range) -> pa.Table:
    rows = [{"image_sha256": digest(n), "width": n, "colours": bytes([n, 0, 255])} for n in numbers]
    return pa.Table.from_pylist(sorted(rows, key=lambda row: row["image_sha256"]), SCHEMA)


def test_what_was_written_is_found_by_its_digest_and_nothing_else_is(tmp_path):
    path = tmp_path / "new" / "known.arrow"
    write_known_images(make_facts(range(50)), path)
    known = read_known_images(path, SCHEMA)
    for number in range(50):
        expected = {"image_sha256": digest(number), "width": number, "colours": bytes([number, 0, 255])}
        assert known.find(digest(number)) == expected
    assert [known.find(digest(number)) for number in range(50, 60)] == [None] * 10
    assert (known.find("0" * 64), known.find("f" * 64)) == (None, None)
    assert [file.name for file in path.parent.iterdir()] == ["known.arrow"]


def test_what_is_written_replaces_what_was_known(tmp_path):
    path = tmp_path / "known.arrow"
    write_known_images(make_facts(range(5)), path)
    read = read_known_images(path, SCHEMA)
    write_known_images(make_facts(range(5, 9)), path)
    assert read.find(digest(1)) is not None, "who reads the old one keeps it"
    assert [read_known_images(path, SCHEMA).find(digest(n)) is not None for n in (1, 7)] == [False, True]


def test_where_nothing_was_written_nothing_is_known(tmp_path):
    assert read_known_images(tmp_path / "known.arrow", SCHEMA).find(digest(1)) is None
    assert KnownImages(SCHEMA.empty_table()).find(digest(1)) is None


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_of_a_torn_file_nothing_is_known(tmp_path, kept):
    path = tmp_path / "known.arrow"
    write_known_images(make_facts(range(5)), path)
    path.write_bytes(path.read_bytes()[:kept])
    assert read_known_images(path, SCHEMA).find(digest(1)) is None


def test_facts_of_another_kind_are_not_taken(tmp_path):
    path = tmp_path / "known.arrow"
    write_known_images(make_facts(range(5)).select(["image_sha256", "width"]), path)
    assert read_known_images(path, SCHEMA).find(digest(1)) is None


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError):
        write_known_images(make_facts(range(1)), tmp_path / "file" / "known.arrow")


@given(st.lists(st.binary(min_size=3, max_size=3)), st.integers(0, 5))
def test_a_column_of_equal_widths_is_seen_as_rows_of_bytes(values, begin):
    column = pa.chunked_array([pa.array(values, pa.binary(3))]).slice(begin)
    assert [row.tobytes() for row in view_fixed(column, 3)] == values[begin:]
