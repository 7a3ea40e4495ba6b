"""A CSV or TSV file with a header as a stream of its rows, each as a JSON object with its line.

Reads with the standard csv module, which streams, changes no value, and knows the line of each row, quoted line breaks
included. A row that is not one costs only itself, as long as its quotes close in its own line.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import PurePath
from typing import Any, BinaryIO, NamedTuple

from vqa_pipeline.sources.encodings import BYTE_ORDER_MARK

_LONGEST_FIELD = 1 << 27  # Python's own 131,072 is too small for cells that people really have, such as images
_LONGEST_LINE = 1 << 28
_TAB_SUFFIXES = {".tsv", ".tab"}
_DELIMITERS = ",;\t|"


class Row(NamedTuple):
    """One row: a JSON object; its cells as a JSON list where they do not fit the header; or its bytes as they are."""

    payload: bytes
    line: int
    """Line that the row begins in, from 1."""
    byte_offset: int
    """Of its first byte in the (uncompressed) file."""


class DelimitedError(ValueError):
    """From this line on the rows of a file cannot be told."""

    def __init__(self, line: int, reason: str) -> None:
        self.line, self.reason = line, reason
        super().__init__(f"{reason} (line {line})")


class DelimitedFile:
    """A file's header, read at once, and its rows, read as they are asked for."""

    def __init__(self, file: BinaryIO, name: str, delimiter: str | None = None) -> None:
        """Read the header.

        Args:
            file: The file, uncompressed, at its start.
            name: The file's name; .tsv and .tab mean that tabs stand between cells, even if commas are in them.
            delimiter: What stands between cells; None: what the name and the header tell, a tab or a comma.

        Raises:
            DelimitedError: its first line has no end.
        """
        csv.field_size_limit(_LONGEST_FIELD)
        start = file.readline(_LONGEST_LINE)
        has_tabs = b"\t" in start and b"," not in start
        is_tsv = has_tabs or bool(_TAB_SUFFIXES & {suffix.lower() for suffix in PurePath(name).suffixes})
        self.delimiter = delimiter or ("\t" if is_tsv else ",")
        self._start = start.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace")
        self._lines = _Lines(start, file)
        self._rows = csv.reader(iter(self._lines), delimiter=self.delimiter, strict=True)
        self.header: list[str] = self._read_cells() or []

    def suggest_delimiter(self, columns: Collection[str]) -> str | None:
        """Another delimiter by which the header has all these columns, or several where it has one by this."""
        headers = {other: _split_line(self._start, other) for other in _DELIMITERS if other != self.delimiter}
        fitting = [other for other, header in headers.items() if set(columns) <= set(header)]
        if not fitting and len(self.header) <= 1:
            fitting = [other for other, header in headers.items() if len(header) > 1]
        return max(fitting, key=lambda other: len(headers[other]), default=None)

    def __iter__(self) -> Iterator[Row]:
        while (cells := self._read_cells()) is not None:
            if self._lines.row.strip():
                yield Row(self._encode(cells), self._lines.begin, self._lines.place)

    def _read_cells(self) -> list[str] | None:
        """The next row's cells, none if they cannot be told; None at the end of the file."""
        self._lines.begin_row()
        try:
            return next(self._rows, None)
        except csv.Error as error:
            if self._lines.number > self._lines.begin:
                reason = f"a quoted cell that begins here is not closed as it should be: {error}"
                raise DelimitedError(self._lines.begin, reason) from error
            return []

    def _encode(self, cells: list[str]) -> bytes:
        if not cells:
            return self._lines.row
        fields: Any = dict(zip(self.header, cells, strict=True)) if len(cells) == len(self.header) else cells
        try:
            return json.dumps(fields, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # the row is not UTF-8
            return self._lines.row


def _split_line(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


class _Lines:
    """A file's lines as the csv module wants them, and the bytes that the present row was made of."""

    def __init__(self, start: bytes, file: BinaryIO) -> None:
        self.start, self.file = start, file
        self.number = 0
        self.begin = 1
        self.place = 0  # of the present row's first byte in the file
        self.row = b""

    def __iter__(self) -> Iterator[str]:
        for line in itertools.chain([self.start], iter(partial(self.file.readline, _LONGEST_LINE), b"")):
            self.number += 1
            self.row += line
            text = line.removeprefix(BYTE_ORDER_MARK) if self.number == 1 else line
            yield text.decode("utf-8", "surrogateescape")  # one bad byte costs one row

    def begin_row(self) -> None:
        self.begin, self.place, self.row = self.number + 1, self.place + len(self.row), b""
