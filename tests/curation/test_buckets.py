"""Tables in buckets: each row is read exactly once, whatever the number of shares and of files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_pipeline.curation.buckets import (
    ROWS_PER_BUCKET,
    choose_num_buckets,
    find_buckets,
    gather,
    read_bucket,
    write_buckets,
)

SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False), ("value", pa.int64())])


def make_table(keys: list[str]) -> pa.Table:
    return pa.table({"key": pa.array(keys, pa.string()), "value": pa.array(range(len(keys)), pa.int64())})


def read_all(files: list[Path], num_buckets: int) -> list[pa.Table]:
    return [read_bucket(files, "key", bucket, num_buckets, SCHEMA) for bucket in range(num_buckets)]


@pytest.mark.parametrize(
    ("num_shares", "more", "num_buckets"),
    [(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 2), (2, 0, 2), (2, 1, 4), (60, 0, 64), (1300, 0, 2048)],
)
def test_a_bucket_has_at_most_its_share_of_rows_on_average(num_shares, more, num_buckets):
    assert choose_num_buckets(num_shares * ROWS_PER_BUCKET + more) == num_buckets


def test_a_bucket_is_given_by_the_key_alone():
    """Golden: crc32 of "a" begins with 0xe8, of "b" with 0x71, of "" with 0x00."""
    assert find_buckets(["a", "b", "", "a"], 4).tolist() == [3, 1, 0, 3]
    assert find_buckets(["a", "b", ""], 256).tolist() == [0xE8, 0x71, 0]
    assert find_buckets(["é", "日本"], 1).tolist() == [0, 0]
    assert find_buckets([], 8).tolist() == []


@settings(deadline=None)
@given(st.lists(st.text()), st.integers(0, 8), st.integers(0, 4))
def test_buckets_nest(keys, power, more):
    coarse = find_buckets(keys, 2**power)
    fine = find_buckets(keys, 2 ** (power + more))
    assert (fine >> more).tolist() == coarse.tolist()
    assert all(0 <= bucket < 2**power for bucket in coarse)


def test_keys_are_spread_evenly():
    counts = Counter(find_buckets([f"shapes/{number}" for number in range(64_000)], 64).tolist())
    assert len(counts) == 64
    assert max(counts.values()) < 1250
    assert min(counts.values()) > 750


@pytest.mark.parametrize(
    ("sizes", "gathered"),
    [([], []), ([0], [0]), ([3, 4], [7]), ([3, 4, 3, 1], [10, 1]), ([12, 3], [12, 3]), ([3, 12, 3, 3], [3, 12, 6])],
)
def test_tables_are_gathered_up_to_a_number_of_rows_in_one_chunk_each(sizes, gathered):
    tables = [make_table([f"{number}/{row}" for row in range(size)]) for number, size in enumerate(sizes)]
    found = list(gather(tables, 10))
    assert [table.num_rows for table in found] == gathered
    assert all(table["key"].num_chunks <= 1 for table in found)
    keys = [key for table in found for key in table["key"].to_pylist()]
    assert keys == [key for table in tables for key in table["key"].to_pylist()]


# ---------------------------------------------------------------------------------------------------- written and read


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.text(max_size=3), max_size=30), max_size=3),
    st.sampled_from([1, 2, 3, 4, 5, 8, 16, 64]),
)
def test_reading_every_bucket_gives_each_row_once_and_equal_keys_together(parts, num_buckets):
    keys = [key for part in parts for key in part]
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.parquet" for number in range(len(parts))]
        for path, part in zip(files, parts, strict=True):
            write_buckets(make_table(part), "key", path)
        tables = read_all(files, num_buckets)
    assert Counter(key for table in tables for key in table["key"].to_pylist()) == Counter(keys)
    for bucket, table in enumerate(tables):
        assert set(find_buckets(table["key"].to_pylist(), num_buckets).tolist()) <= {bucket}


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """A file of 20,000 rows, three to a key, in eight buckets."""
    path = tmp_path_factory.mktemp("buckets") / "large.parquet"
    write_buckets(make_table([f"k{number // 3}" for number in range(20_000)]), "key", path)
    return path


def test_a_large_file_has_one_row_group_for_each_bucket(large):
    with pq.ParquetFile(large) as file:
        assert file.num_row_groups == 8
        for number in range(8):
            keys = file.read_row_group(number)["key"].to_pylist()
            assert set(find_buckets(keys, 8).tolist()) == {number}


@pytest.mark.parametrize("num_buckets", [1, 2, 3, 4, 6, 8, 12, 16, 32])
def test_a_large_file_is_read_in_fewer_and_in_more_shares_than_it_was_written_in(large, num_buckets):
    tables = read_all([large], num_buckets)
    values = [value for table in tables for value in table["value"].to_pylist()]
    assert sorted(values) == list(range(20_000))
    for bucket, table in enumerate(tables):
        assert set(find_buckets(table["key"].to_pylist(), num_buckets).tolist()) == {bucket}


def test_rows_of_a_bucket_keep_their_order(large):
    for table in read_all([large], 8):
        values = table["value"].to_pylist()
        assert values == sorted(values)


def test_small_and_large_files_are_read_together_in_their_order(large, tmp_path):
    small = tmp_path / "small.parquet"
    write_buckets(make_table(["k0", "new"]), "key", small)
    for bucket, table in enumerate(read_all([small, large], 16)):
        rows = table.to_pylist()
        if find_buckets(["k0"], 16)[0] == bucket:
            assert [row["value"] for row in rows if row["key"] == "k0"] == [0, 0, 1, 2]
    assert sum(table.num_rows for table in read_all([small, large], 16)) == 20_002


def test_a_file_has_as_many_buckets_as_are_asked_for(tmp_path):
    keys = [str(number) for number in range(5_000)]
    write_buckets(make_table(keys), "key", tmp_path / "few.parquet", 2)
    with pq.ParquetFile(tmp_path / "few.parquet") as file:
        assert file.num_row_groups == 2
    assert min(table.num_rows for table in read_all([tmp_path / "few.parquet"], 4)) > 1000


def test_a_bucket_without_rows_or_files_is_an_empty_table_of_the_schema(tmp_path):
    assert read_bucket([], "key", 0, 4, SCHEMA).equals(SCHEMA.empty_table())
    write_buckets(make_table([]), "key", tmp_path / "empty.parquet")
    assert read_bucket([tmp_path / "empty.parquet"], "key", 3, 4, SCHEMA).equals(SCHEMA.empty_table())


def test_some_columns_may_be_read_without_the_key(large):
    table = read_bucket([large], "key", 5, 16, SCHEMA, ["value"])
    assert table.schema.equals(pa.schema([("value", pa.int64())]))
    assert table["value"].to_pylist() == read_bucket([large], "key", 5, 16, SCHEMA)["value"].to_pylist()


def test_the_same_table_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_buckets(make_table(["c", "a", "b"]), "key", tmp_path / name / "file.parquet")
    assert (tmp_path / "one/file.parquet").read_bytes() == (tmp_path / "two/file.parquet").read_bytes()
