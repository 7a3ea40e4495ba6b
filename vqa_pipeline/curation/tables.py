"""How tables become files: those between the plan's tasks and those that it publishes, all in the same way."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_ROWS_PER_GROUP = 10_000


def open_table(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A file to be written row group by row group; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return pq.ParquetWriter(path, schema, compression="zstd", compression_level=1)


def write_table(table: pa.Table, schema: pa.Schema, path: Path) -> None:
    """Write a whole table; the schema brings the descriptions of its columns."""
    with open_table(path, schema) as writer:
        writer.write_table(table, _ROWS_PER_GROUP)
