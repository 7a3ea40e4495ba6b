"""Rows change hands between tasks: many files with rows of every bucket become one file for each bucket.

Whoever writes rows as they come, a block of records or the task of another key, has some of every bucket. Were its
files read as they are, each bucket would open each of them for a few rows: work that grows by the square of the data.
So buckets come in spans, and a task per span reads its share of every file once and deals the rows out.

Knows files and buckets, and nothing of what the rows mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa

from vqa_pipeline.curation.buckets import deal_rows, find_buckets, gather
from vqa_pipeline.curation.tables import open_table

_BUCKETS_PER_SPAN = 32
"""Files that a task writes side by side: of more, row groups are smaller; of fewer, each file is opened more often."""

_ROWS_AT_ONCE = 65_536


def choose_num_spans(num_buckets: int) -> int:
    """How many tasks deal rows out to `num_buckets` buckets; both are powers of two."""
    return max(1, num_buckets // _BUCKETS_PER_SPAN)


def name_bucket(folder: Path, bucket: int) -> Path:
    """The file of a bucket."""
    return folder / f"{bucket:05d}.parquet"


def write_span(
    tables: Iterable[pa.Table], key: str, span: int, num_buckets: int, schema: pa.Schema, folder: Path
) -> None:
    """Write the rows of a span of buckets, a file for each bucket, also where there are none.

    Args:
        tables: The rows of the span, and no others. Some ten thousand are in memory at a time.
        key: The column of texts that tells a row's bucket.
        span: 0 … `choose_num_spans(num_buckets)` - 1.
        num_buckets: Of all spans together, a power of two.
        schema: Of the tables.
        folder: Where the files go, by `name_bucket`.
    """
    width = num_buckets // choose_num_spans(num_buckets)
    with ExitStack() as opened:
        paths = [name_bucket(folder, span * width + number) for number in range(width)]
        writers = [opened.enter_context(open_table(path, schema)) for path in paths]
        for table in gather(tables, _ROWS_AT_ONCE):
            buckets = find_buckets(table[key].to_pylist(), num_buckets) - span * width
            for writer, part in zip(writers, deal_rows(table, buckets, width), strict=True):
                if part.num_rows:
                    writer.write_table(part)
