"""A little of a file, to recognise its format by: its first bytes, how they are laid out, and the records in them.

Never reads a file whole, never trusts its suffix, runs no code that a file holds, and fails on no content: what cannot
be told is `text` or `binary`.
"""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from pydantic_core import from_json

from vqa_pipeline.sources.containers import measure_content, measure_file, open_content
from vqa_pipeline.sources.delimited_records import DelimitedError, DelimitedFile
from vqa_pipeline.sources.encodings import BYTE_ORDER_MARK, is_text, read_as_utf_8
from vqa_pipeline.sources.formats.format import Layout, Sample

_HEADS = (1 << 18, 1 << 20, 1 << 24)
"""Bytes to read; more only while no record is whole in them, as with images inside rows."""

_MISJUDGED = 2
"""How many times more or less of a compressed file than its beginning lets expect may be in it."""

_NOT_ALL = 1 - 1e-9
_PIECE = 1 << 16
_MOST_ROWS = 16
_MOST_MEMBERS = 1000
_MOST_ARCHIVE_BYTES = 1 << 24
_ENOUGH_LINES = 2
_LONGEST_HEADING = 60

_GZIP, _ZIP, _PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"PAR1"
_TAR_MAGIC, _TAR_PLACE = b"ustar", 257
_BLANK = b" \t\r\n"
_LINE_SUFFIXES = {".jsonl", ".ndjson"}
_NUMBER = re.compile(r"[-+]?[\d.,]+")


class SampledFile(NamedTuple):
    """A file's sample, and what it tells of the whole."""

    path: Path
    size: int
    """Bytes on the disk."""
    sample: Sample
    num_records: int
    """Whole records in the bytes read; of Parquet, all of the file's."""
    fraction: float
    """Share of the file that was looked at, in (0, 1]; 1 is all of it."""

    def estimate_records(self) -> int | None:
        """Records in the whole file, as dense as in its beginning; exact where that is all of it, None: unknown."""
        if self.sample.layout in {"archive", "binary"} or not self.num_records:
            return None
        return round(self.num_records / self.fraction)


class _Head(NamedTuple):
    """The beginning of a file, decompressed."""

    data: bytes
    fraction: float

    @property
    def is_cut(self) -> bool:
        return self.fraction < 1


class _Content(NamedTuple):
    """What the bytes of a head are."""

    layout: Layout
    fields: Mapping[str, Any] = {}
    records: Sequence[Any] = ()
    members: tuple[str, ...] = ()


def take_sample(path: Path, name: str) -> SampledFile:
    """Look at the beginning of a file.

    Args:
        path: The file, or the member of an archive.
        name: What it is called in the sample and in the settings that a format proposes.

    Raises:
        UnreadableFile: it is an archive in an archive.
        ArchiveError: the archive is damaged.
        OSError: the file cannot be read.
    """
    size = measure_file(path)
    for most in _HEADS:
        head = _read_head(path, most)
        content = _look_at(path, head)
        if content.records or not head.is_cut or content.layout in {"archive", "parquet", "binary"}:
            break
    num_records, fraction = len(content.records), head.fraction
    if content.layout == "parquet":
        num_records, fraction = _count_parquet(path), 1.0
    sample = Sample(
        name=name,
        start=_recode(head.data)[: _HEADS[1]],
        layout=content.layout,
        fields=content.fields,
        records=tuple(content.records),
        members=content.members,
    )
    return SampledFile(path, size, sample, num_records, fraction)


# --------------------------------------------------------------------------------------------------------------- bytes


def _read_head(path: Path, most: int) -> _Head:
    """At most so many bytes of the content, and their share of it."""
    size = measure_file(path)
    with path.open("rb") if path.is_file() else open_content(path) as file:
        start = file.read(len(_GZIP))
        file.seek(0)
        if start != _GZIP:
            data = file.read(most)
            return _Head(data, len(data) / size if size else 1.0)
        data, used = _decompress(file, most)
    if not data or (used == size and len(data) < most):
        return _Head(data, 1.0)
    reckoned, declared = len(data) * size / max(1, used), measure_content(path)
    is_plausible = reckoned / _MISJUDGED < declared < reckoned * _MISJUDGED  # beyond 4 GiB it is not
    return _Head(data, min(len(data) / (declared if is_plausible else reckoned), _NOT_ALL))


def _decompress(file: BinaryIO, most: int) -> tuple[bytes, int]:
    """The beginning of a gzip file's content, and how many of its own bytes that took; damage ends it."""
    found, used, rest = bytearray(), 0, b""
    inflate = zlib.decompressobj(wbits=31)
    while len(found) < most:
        piece = rest or file.read(_PIECE)
        if not piece:
            break
        try:
            found += inflate.decompress(piece, most - len(found))
        except zlib.error:
            break
        rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        used += len(piece) - len(rest)
        if inflate.eof:
            inflate = zlib.decompressobj(wbits=31)
    return bytes(found), used


def _recode(data: bytes) -> bytes:
    """The text as UTF-8 without a mark; other bytes as they are."""
    return read_as_utf_8(io.BytesIO(data)).read().removeprefix(BYTE_ORDER_MARK)


# -------------------------------------------------------------------------------------------------------------- layout


def _look_at(path: Path, head: _Head) -> _Content:
    data = head.data
    if data.startswith(_PARQUET):
        return _look_at_parquet(path)
    if data.startswith(_ZIP) or data[_TAR_PLACE:].startswith(_TAR_MAGIC):
        return _Content("archive", members=tuple(islice(_list_members(path), _MOST_MEMBERS)))
    if not is_text(data):
        return _Content("binary")
    text = _recode(data).lstrip(_BLANK)
    looks = {b"[": (_look_at_array,), b"{": (_look_at_lines, _look_at_object)}.get(text[:1], (_look_at_table,))
    for look in looks:
        content = look(text, path.name, head.is_cut)
        if content is not None:
            return content
    lines = text.decode("utf-8", "replace").splitlines()
    return _Content("text", records=lines[:-1] if head.is_cut else lines)


def _parse_part(text: bytes) -> Any:
    """The beginning of a JSON text as a value, as far as it goes; None: it is not JSON."""
    try:
        return from_json(text, allow_partial=True)
    except ValueError:
        return None


def _look_at_array(text: bytes, name: str, is_cut: bool) -> _Content | None:  # noqa: ARG001 - all looks are alike
    value = _parse_part(text)
    return _Content("list", records=_drop_partial(value, is_cut)) if isinstance(value, list) else None


def _look_at_object(text: bytes, name: str, is_cut: bool) -> _Content | None:  # noqa: ARG001 - all looks are alike
    """The records are in the longest array of objects inside it, or they are its values."""
    value = _parse_part(text)
    if not isinstance(value, dict):
        return None
    arrays = {key: item for key, item in value.items() if isinstance(item, list) and _are_objects(item)}
    if arrays:
        key = max(arrays, key=lambda key: len(arrays[key]))
        is_last = is_cut and key == next(reversed(value))
        records = _drop_partial(arrays[key], is_last)
        return _Content("object", value | {key: records}, records)
    values = _drop_partial(list(value.values()), is_cut)
    return _Content("object", value, values if values and _are_objects(values) else ())


def _are_objects(items: Sequence[Any]) -> bool:
    return all(isinstance(item, dict) for item in items) and bool(items)


def _drop_partial(items: list[Any], is_cut: bool) -> list[Any]:
    return items[:-1] if is_cut else items


def _look_at_lines(text: bytes, name: str, is_cut: bool) -> _Content | None:
    """A whole object in a line, and another line after it; one object alone is lines only by name."""
    lines = [line for line in text.splitlines() if line.strip(_BLANK)]
    if is_cut:
        lines.pop()
    records = [value for value in map(_parse_line, lines) if isinstance(value, dict)]
    is_named = bool(_LINE_SUFFIXES & {suffix.lower() for suffix in PurePosixPath(name).suffixes})
    enough = len(lines) >= _ENOUGH_LINES or is_named
    return _Content("lines", records=records) if enough and 2 * len(records) > len(lines) else None


def _parse_line(line: bytes) -> Any:
    try:
        return from_json(line)
    except ValueError:
        return None


def _look_at_table(text: bytes, name: str, is_cut: bool) -> _Content | None:
    """Cells under a header: several short names, none of them twice, over rows with as many cells."""
    try:
        table = DelimitedFile(io.BytesIO(text), name)
        delimiter = table.suggest_delimiter(()) if len(table.header) == 1 else None
        table = DelimitedFile(io.BytesIO(text), name, delimiter) if delimiter else table
        header = table.header
    except DelimitedError:
        return None
    if not _is_header(header):
        return None
    rows = _drop_partial(list(_read_rows(table)), is_cut)
    fitting = [row for row in rows if isinstance(row, dict)]
    if 2 * len(fitting) < len(rows):
        return None
    return _Content("delimited", dict.fromkeys(header, "text"), fitting)


def _is_header(cells: Sequence[str]) -> bool:
    names = {cell.strip() for cell in cells}
    is_plain = all(len(name) <= _LONGEST_HEADING and not name.endswith(("?", ".")) for name in names)
    is_named = all(names) and not any(_NUMBER.fullmatch(name) for name in names)
    return 1 < len(cells) == len(names) and is_plain and is_named


def _read_rows(table: DelimitedFile) -> Iterator[Any]:
    try:
        for row in table:
            yield _parse_line(row.payload)
    except DelimitedError:
        return


# ------------------------------------------------------------------------------------------------- Parquet and archives


def _look_at_parquet(path: Path) -> _Content:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, buffer_size=_PIECE, pre_buffer=False) as file:
            fields = {field.name: str(field.type) for field in file.schema_arrow}
            batch = next(file.iter_batches(batch_size=_MOST_ROWS), None)
            rows = batch.to_pylist() if batch is not None else []
    except (pa.ArrowException, OSError):
        return _Content("binary")
    return _Content("parquet", fields, rows)


def _count_parquet(path: Path) -> int:
    import pyarrow.parquet as pq

    num_rows: int = pq.read_metadata(path).num_rows
    return num_rows


def _list_members(path: Path) -> Iterator[str]:
    """The names of an archive's first members; what is damaged ends the list."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from archive.namelist()
            return
        with tarfile.open(path) as tar:
            for member in tar:
                yield member.name
                if member.offset > _MOST_ARCHIVE_BYTES:
                    return
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OSError):
        return
