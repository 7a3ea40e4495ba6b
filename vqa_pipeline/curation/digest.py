"""Content digests of tables: independent of the order of rows, of chunks, of row groups and of files.

A digest is the sum modulo 2^128 of one 128-bit hash per row (an exclusive or would cancel equal pairs), written as 32
hex digits. A row is encoded value by value, each with its length before it, so that no two rows share an encoding.
It detects accidents, not adversaries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_BATCH = 16_384
_REPEATED = 4
"""Values that come as often are encoded once each, then copied: answers are the same few texts again and again."""

_MOST_NUMBERS = 1 << 62

_MODULUS = 1 << 128


def hash_rows(table: pa.Table, columns: Iterable[str]) -> list[bytes]:
    """One 16-byte hash per row over the named columns, in the table's order."""
    names = list(columns)
    hashes: list[bytes] = []
    for begin in range(0, table.num_rows, _BATCH):
        encoded = _encode_rows(table.slice(begin, _BATCH), names)
        hashes += [hashlib.blake2b(row, digest_size=16).digest() for row in encoded.to_pylist()]
    return hashes


def hash_some_rows(table: pa.Table, columns: Iterable[str], wanted: pl.Series) -> pl.Series:
    """The hashes of the rows where `wanted` is true, null elsewhere: comparing few rows should not cost all of them."""
    hashes = iter(hash_rows(table.filter(wanted.to_arrow()), columns))
    return pl.Series([next(hashes) if one else None for one in wanted.to_list()], dtype=pl.Binary)


def sum_rows(table: pa.Table, columns: Iterable[str]) -> int:
    """The sum of the rows' hashes, to be added up over parts of a table."""
    quarters = (
        np.frombuffer(b"".join(hash_rows(table, columns)), dtype=">u4").reshape(-1, 4).sum(axis=0, dtype=np.uint64)
    )
    total = 0
    for quarter in quarters.tolist():  # of 32 bits each, so that no sum of fewer than 2^32 rows overflows
        total = (total << 32) + quarter
    return total % _MODULUS


def format_digest(*sums: int) -> str:
    """One digest over sums that were made from different tables: their order counts."""
    if len(sums) == 1:
        return f"{sums[0] % _MODULUS:032x}"
    parts = b"".join((value % _MODULUS).to_bytes(16, "big") for value in sums)
    return hashlib.blake2b(parts, digest_size=16).hexdigest()


def digest_table(table: pa.Table, columns: Iterable[str] | None = None) -> str:
    """Digest of a whole table, or of some of its columns."""
    return format_digest(sum_rows(table, table.column_names if columns is None else columns))


def _encode_rows(table: pa.Table, columns: list[str]) -> pa.Array:
    encoded = [_encode(_flatten_chunks(table[name])) for name in columns]
    return pc.binary_join_element_wise(*encoded, pa.scalar(b"", pa.binary()))


def _flatten_chunks(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _encode(values: pa.Array) -> pa.Array:
    """Each value as `<length>:<bytes>`, null as `~`; a list as `<count>#` and its values; a struct as its fields.

    A null struct is `!`, as a struct of nulls is something else.
    """
    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _encode_list(values)
    numbers = _number(values)
    if numbers is None:
        return _encode_each(values)
    coded = pa.array(numbers).dictionary_encode()
    if len(coded.dictionary) * _REPEATED > len(values):
        return _encode_each(values)
    indices = coded.indices.to_numpy()
    first = np.empty(len(coded.dictionary), dtype=np.int64)
    first[indices[::-1]] = np.arange(len(indices) - 1, -1, -1)  # of equal values the first is written last
    return _encode_each(values.take(pa.array(first))).take(coded.indices)


def _number(values: pa.Array) -> NDArray[np.int64] | None:
    """Numbers that are equal for equal values; None where few values are equal, or nobody can tell cheaply."""
    if pa.types.is_nested(values.type) and not pa.types.is_struct(values.type):
        return None
    if not pa.types.is_struct(values.type):
        coded = values.dictionary_encode(null_encoding="encode")
        indices: NDArray[np.int64] = np.asarray(coded.indices, dtype=np.int64)
        return None if len(coded.dictionary) * _REPEATED > len(values) else indices
    numbers: NDArray[np.int64]
    numbers, count = pc.is_null(values).to_numpy(zero_copy_only=False).astype(np.int64), 2
    for index in range(values.type.num_fields):
        field = _number(pc.struct_field(values, index))
        if field is None or not len(field):
            return None
        size = int(field.max()) + 1
        count *= size
        if count > _MOST_NUMBERS:
            return None
        numbers = numbers * size + field
    return numbers


def _encode_each(values: pa.Array) -> pa.Array:
    if not pa.types.is_struct(values.type):
        return _frame(values)
    fields = [_encode(pc.struct_field(values, index)) for index in range(values.type.num_fields)]
    joined = pc.binary_join_element_wise(*fields, pa.scalar(b"", pa.binary()))
    return pc.if_else(pc.is_null(values), pa.scalar(b"!", pa.binary()), joined) if values.null_count else joined


def _frame(values: pa.Array) -> pa.Array:
    kind = values.type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        values = values.cast(pa.string())
    values = values.cast(pa.binary())
    lengths = pc.cast(pc.cast(pc.binary_length(values), pa.string()), pa.binary())
    framed = pc.binary_join_element_wise(lengths, values, pa.scalar(b":", pa.binary()))
    return pc.fill_null(framed, pa.scalar(b"~", pa.binary()))


def _encode_list(values: pa.Array) -> pa.Array:
    counts = pc.fill_null(pc.list_value_length(values), 0)
    items = _encode(values.flatten())
    offsets = pa.array(np.concatenate(([0], np.cumsum(counts.to_numpy(zero_copy_only=False)))), pa.int32())
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, items), b"")
    written = pc.cast(pc.cast(counts, pa.string()), pa.binary())
    framed = pc.binary_join_element_wise(written, joined, pa.scalar(b"#", pa.binary()))
    return pc.if_else(pc.is_null(values), pa.scalar(b"~", pa.binary()), framed)
