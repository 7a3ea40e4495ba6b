"""Rows of a table by a text, such as those on one image: a task takes those that it asks for, and loads no others.

An Arrow file, memory-mapped, beside an index: the hash of each row's text above the row's number, sorted. Finding costs
what is found, and not what there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from vqa_pipeline.curation.buckets import gather, hash_keys

_ROWS_PER_BATCH = 65_536
_ROW = np.uint64(0xFFFF_FFFF)
_BITS = np.uint64(32)


def write_lookup(tables: Iterable[pa.Table], schema: pa.Schema, key: str, path: Path) -> None:
    """Write rows to be found by a column of texts.

    Args:
        tables: The rows, fewer than 2^32.
        schema: Of the tables.
        key: The column.
        path: The file; the index comes beside it.
    """
    hashes = [np.empty(0, np.uint64)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.ipc.new_file(str(path), schema) as writer:
        for table in gather(tables, _ROWS_PER_BATCH):
            writer.write_table(table)
            hashes.append(hash_keys(table[key].to_pylist()))
    index = np.concatenate(hashes) << _BITS
    index |= np.arange(len(index), dtype=np.uint64)
    index.sort()
    np.save(_name_index(path), index)


def read_lookup(path: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of all rows, in the order in which they were written."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all().select(columns)


def find_rows(path: Path, keys: Sequence[str], columns: Sequence[str]) -> pa.Table:
    """Some columns of the rows of these texts, in the order in which they were written.

    Rows of another text are among them now and then, where the hashes are equal: who joins by the text passes them by.
    """
    index = np.load(_name_index(path), mmap_mode="r")
    wanted = np.unique(hash_keys(keys)) << _BITS
    begin, end = np.searchsorted(index, wanted), np.searchsorted(index, wanted | _ROW, side="right")
    is_found = np.zeros(len(index), dtype=bool)
    for place in range(int((end - begin).max(initial=0))):  # rows of equal hashes: one or two
        of_these = begin[begin + place < end] + place
        is_found[index[of_these] & _ROW] = True
    return read_lookup(path, columns).filter(pa.array(is_found))


def _name_index(path: Path) -> Path:
    return path.with_suffix(".npy")
