"""The exchange: whatever lies in whatever files, each bucket's rows end in the bucket's own file, once, in few pieces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_pipeline.curation.buckets import find_buckets, read_bucket, write_buckets
from vqa_pipeline.curation.exchange import choose_num_spans, name_bucket, write_span

SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False), ("value", pa.int64())])


def make_table(keys: list[str], first: int = 0) -> pa.Table:
    return pa.table({"key": keys, "value": range(first, first + len(keys))}, SCHEMA)


def exchange(files: list[Path], num_buckets: int, folder: Path) -> list[pa.Table]:
    """What each bucket has in the end."""
    num_spans = choose_num_spans(num_buckets)
    for span in range(num_spans):
        tables = (read_bucket([path], "key", span, num_spans, SCHEMA) for path in files)
        write_span(tables, "key", span, num_buckets, SCHEMA, folder)
    return [pq.read_table(name_bucket(folder, bucket)) for bucket in range(num_buckets)]


@pytest.mark.parametrize(
    ("num_buckets", "num_spans"), [(1, 1), (2, 1), (32, 1), (64, 2), (256, 8), (1024, 32), (4096, 128)]
)
def test_a_span_has_at_most_32_buckets(num_buckets, num_spans):
    assert choose_num_spans(num_buckets) == num_spans


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.text(max_size=3), max_size=40), max_size=4), st.sampled_from([1, 2, 8, 64, 128]))
def test_each_row_ends_in_the_file_of_its_bucket_in_the_order_of_the_files(parts, num_buckets):
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.parquet" for number in range(len(parts))]
        first = 0
        for path, part in zip(files, parts, strict=True):
            write_buckets(make_table(part, first), "key", path)
            first += len(part)
        dealt = exchange(files, num_buckets, Path(folder) / "dealt")
        assert len(list((Path(folder) / "dealt").iterdir())) == num_buckets
    keys = [key for part in parts for key in part]
    buckets = find_buckets(keys, num_buckets).tolist()
    for bucket, table in enumerate(dealt):
        expected = [(key, value) for value, (key, own) in enumerate(zip(keys, buckets, strict=True)) if own == bucket]
        assert list(zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True)) == expected


def test_rows_of_files_in_many_buckets_keep_the_order_of_files_too(tmp_path):
    """Files with row groups of their own buckets, as records have: 20,000 rows are eight."""
    files = [tmp_path / f"{number}.parquet" for number in range(2)]
    for number, path in enumerate(files):
        write_buckets(make_table([str(row) for row in range(20_000)], 20_000 * number), "key", path)
    dealt = exchange(files, 64, tmp_path / "dealt")
    assert sum(table.num_rows for table in dealt) == 40_000
    for table in dealt:
        early = [value for value in table["value"].to_pylist() if value < 20_000]
        late = [value for value in table["value"].to_pylist() if value >= 20_000]
        assert table["value"].to_pylist() == early + late
        assert [value + 20_000 for value in early] == late


def test_rows_of_many_small_files_come_together_in_one_piece_per_bucket(tmp_path):
    files = [tmp_path / f"{number}.parquet" for number in range(50)]
    for number, path in enumerate(files):
        write_buckets(make_table([f"{number}/{row}" for row in range(100)]), "key", path)
    exchange(files, 4, tmp_path / "dealt")
    for bucket in range(4):
        assert pq.read_metadata(name_bucket(tmp_path / "dealt", bucket)).num_row_groups == 1


def test_rows_are_written_as_they_come_and_not_kept_until_the_end(tmp_path):
    """What has been written of a bucket by the time that its third block of 40,000 rows is asked for."""
    sizes: list[int] = []

    def read() -> Iterator[pa.Table]:
        for block in range(3):
            sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
            yield make_table([f"{block}/{row}" for row in range(40_000)])

    write_span(read(), "key", 0, 1, SCHEMA, tmp_path)
    before, *_, after = sizes
    assert after > before + 40_000
    assert pq.read_table(name_bucket(tmp_path, 0)).num_rows == 120_000
