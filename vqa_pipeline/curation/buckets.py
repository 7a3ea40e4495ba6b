"""Tables in buckets: files between the plan's tasks, from which a task reads just its share of the rows.

A row's bucket is given by the top bits of a hash of its key, so buckets nest: a file in 2^a buckets serves tasks that
want 2^b whole row groups, or filtered ones where b > a. Inside a file each bucket that has rows is one row group; the
counts are in the file's metadata.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vqa_pipeline.curation.tables import open_table

ROWS_PER_BUCKET = 32_768
"""A task's share. Constant, so that memory does not grow with the data.

With half as many, 800,000 rows took a quarter more CPU: tasks and row groups are many. With twice as many the peak was
half as much again.
"""

_ROWS_PER_GROUP = 4_096
"""With a quarter as many, reading took four times the CPU."""

_MAX_BUCKETS_PER_FILE = 64
_COUNTS = b"bucket_rows"


def choose_num_buckets(num_rows: int) -> int:
    """How many tasks share `num_rows` rows: a power of two."""
    return _round_up_to_power(num_rows / ROWS_PER_BUCKET)


def _round_up_to_power(ratio: float) -> int:
    return 1 << max(0, int(np.ceil(np.log2(max(1.0, ratio)))))


def hash_keys(keys: Sequence[str]) -> NDArray[np.uint64]:
    """The hash of each key, 32 bits."""
    return np.fromiter(map(zlib.crc32, map(str.encode, keys)), dtype=np.uint64, count=len(keys))


def find_buckets(keys: Sequence[str], num_buckets: int) -> NDArray[np.int64]:
    """The bucket of each key, 0 … num_buckets - 1."""
    return ((hash_keys(keys) * np.uint64(num_buckets)) >> np.uint64(32)).astype(np.int64)


def gather(tables: Iterable[pa.Table], num_rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of one chunk each, with at most so many rows unless a table that came has more."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        if held and count + table.num_rows > num_rows:
            yield pa.concat_tables(held).combine_chunks()
            held, count = [], 0
        held.append(table)
        count += table.num_rows
    if held:
        yield pa.concat_tables(held).combine_chunks()


def deal_rows(table: pa.Table, buckets: NDArray[np.int64], num_buckets: int) -> list[pa.Table]:
    """The rows of each bucket, in their order; `buckets` has the bucket of each row, 0 … num_buckets - 1."""
    dealt = table.combine_chunks().take(pa.array(np.argsort(buckets, kind="stable")))  # of many chunks, 15 times slower
    ends = np.cumsum(np.bincount(buckets, minlength=num_buckets)).tolist()
    return [dealt.slice(begin, end - begin) for begin, end in zip([0, *ends], ends, strict=False)]


def write_buckets(table: pa.Table, key: str, path: Path, num_buckets: int | None = None) -> None:
    """Write a table bucketed by a column of texts, by default in as many as its rows fill; they keep their order."""
    if num_buckets is None:
        num_buckets = min(_MAX_BUCKETS_PER_FILE, _round_up_to_power(table.num_rows / _ROWS_PER_GROUP))
    parts = deal_rows(table, find_buckets(table[key].to_pylist(), num_buckets), num_buckets)
    counts = [part.num_rows for part in parts]
    schema = table.schema.with_metadata({_COUNTS: json.dumps(counts).encode()})
    with open_table(path, schema) as writer:
        for part in parts:
            if part.num_rows:
                writer.write_table(part.replace_schema_metadata(schema.metadata), part.num_rows)


def read_bucket(
    files: Sequence[Path],
    key: str,
    bucket: int,
    num_buckets: int,
    schema: pa.Schema,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """The rows of one bucket from several files, in the order of the files."""
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    parts = [_read_part(path, key, bucket, num_buckets, wanted.names) for path in files]
    return pa.concat_tables([wanted.empty_table(), *(part.cast(wanted) for part in parts)])


def _read_part(path: Path, key: str, bucket: int, num_buckets: int, columns: list[str]) -> pa.Table:
    with pq.ParquetFile(path) as file:
        counts = json.loads(file.schema_arrow.metadata[_COUNTS])
        groups = np.cumsum([0, *(count > 0 for count in counts)])
        first, last = bucket * len(counts) // num_buckets, -(-(bucket + 1) * len(counts) // num_buckets)
        needed = list(dict.fromkeys([*columns, key]))
        table = file.read_row_groups(range(int(groups[first]), int(groups[last])), columns=needed)
    if len(counts) % num_buckets and table.num_rows:  # a row group has rows of other buckets too
        mine = find_buckets(table[key].to_pylist(), num_buckets) == bucket
        table = table.filter(pa.array(mine))
    return table.select(columns).replace_schema_metadata(None)
