"""A JSON file as a stream of its records' raw bytes: arrays, objects keyed by id, arrays inside an object, JSON Lines.

Memory is bounded by one block and one record. Each record keeps its bytes and their offset, so that a bad one can be
shown as it stands and costs only itself. Nothing is parsed here but the outer structure: numpy finds brackets, commas
and colons outside strings, a block at a time, and Python looks only at those that separate records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 20
LONGEST_RECORD = 256 << 20
"""Longer records are taken for a bracket or quote that is never closed; it also bounds memory."""

_BLANK = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_QUOTE, _BACKSLASH, _COLON = b'"\\:'
_STRUCTURE = bytes(byte in b'"{}[],:' for byte in range(256))
_STEP = np.zeros(256, dtype=np.int8)
_STEP[list(b"{[")], _STEP[list(b"}]")] = 1, -1

Scalar = str | int | float | bool | None


class Slice(NamedTuple):
    """One record's bytes and where they start in the (uncompressed) file."""

    payload: bytes
    byte_offset: int
    key: str | None = None
    """The record's key, when the records are the values of an object."""


class JsonError(ValueError):
    """The text is not JSON, or not of the expected shape."""

    def __init__(self, byte_offset: int, reason: str) -> None:
        self.byte_offset, self.reason = byte_offset, reason
        super().__init__(f"{reason} (at byte {byte_offset})")


def split_array(stream: BinaryIO, key: str | None = None, block: int = BLOCK) -> Iterator[Slice]:
    """The elements of an array: the file's own, or the one under `key` of the file's object.

    Raises:
        JsonError: the file is not JSON, ends early, or has no such array.
    """
    if key is None:
        marks = _Marks(stream, 1, 0, block)
        marks.expect(b"[", "an array")
        yield from _split_elements(marks)
        marks.expect_end()
        return
    found = False
    marks = _Marks(stream, 2, 1, block)
    for name in _iterate_members(marks):
        if name != key:
            continue
        if found:
            raise JsonError(marks.offset, f'"{key}" stands in the object twice')
        found = True
        marks.expect(b"[", f'an array under "{key}"')
        yield from _split_elements(marks)
    if not found:
        raise JsonError(marks.offset, f'no "{key}" in the object')


def split_object(stream: BinaryIO, block: int = BLOCK) -> Iterator[Slice]:
    """The values of the file's object, each with its key.

    Raises:
        JsonError: the file is not a JSON object, or ends early.
    """
    marks = _Marks(stream, 1, 1, block)
    for name in _iterate_members(marks):
        marks.advance_into_value()
        yield marks.slice(name)


def split_lines(stream: BinaryIO) -> Iterator[tuple[int, Slice]]:
    """The lines of a JSON Lines file that are not blank, each with its number from 1.

    Raises:
        JsonError: the file is UTF-16, or a line is longer than `LONGEST_RECORD`.
    """
    place = 0
    for number, line in enumerate(iter(lambda: stream.readline(LONGEST_RECORD + 1), b""), 1):
        if len(line) > LONGEST_RECORD:
            raise JsonError(place, f"line {number} is longer than {LONGEST_RECORD >> 20} MB")
        text = line
        if number == 1:
            _refuse_utf_16(line)
            text = line.removeprefix(_BYTE_ORDER_MARK)
        payload = text.strip(_BLANK)
        if payload:
            yield number, Slice(payload, place + line.index(payload))
        place += len(line)


def read_scalars(stream: BinaryIO, block: int = BLOCK) -> dict[str, Scalar]:
    """The members of the file's object that are neither object nor array, wherever they stand.

    Raises:
        JsonError: the file is not a JSON object, or ends early.
    """
    marks = _Marks(stream, 2, 1, block)
    scalars: dict[str, Scalar] = {}
    for name in _iterate_members(marks):
        marks.advance_into_value()
        if marks.depth == 1:
            scalars[name] = marks.decode("a value")
    return scalars


def _iterate_members(marks: _Marks) -> Iterator[str]:
    """The keys of the file's object, one by one; whoever iterates may read on into the value."""
    marks.expect(b"{", "an object")
    marks.advance()
    if marks.byte == b"}" and not marks.text.strip(_BLANK):
        marks.expect_end()
        return
    while True:
        name = marks.decode("a key")
        if marks.byte != b":" or not isinstance(name, str):
            raise JsonError(marks.offset, "a key and a colon expected")
        yield name
        marks.skip_to_end_of_member()
        if marks.byte == b"}":
            marks.expect_end()
            return
        marks.advance()


def _split_elements(marks: _Marks) -> Iterator[Slice]:
    """The elements of the array whose bracket was just passed; a comma after the last one costs nothing."""
    yield from marks.iterate_to_bracket()
    if marks.byte != b"]":
        raise JsonError(marks.offset, "a comma or the array's end expected")
    if marks.text.strip(_BLANK):
        yield marks.slice()


class _Marks:
    """A cursor over the brackets, commas and colons of a stream that are outside strings and not too deep.

    A bracket is as deep as what it encloses: the file's own are at depth 1, those of its members at depth 2.
    """

    def __init__(self, stream: BinaryIO, depth: int, colons: int, block: int) -> None:
        self._marks = _find_marks(stream, depth, colons, block)
        self.byte = b""
        self.depth = 0
        self.text = b""  # between the mark before and this one
        self.offset = 0  # of the text's first byte in the stream

    def advance(self) -> None:
        """Move to the next mark."""
        self.byte, self.depth, self.text, self.offset = next(self._marks)
        if not self.byte:
            self._refuse_end()

    def iterate_to_bracket(self) -> Iterator[Slice]:
        """What stands before each comma up to the next bracket; the innermost loop of reading, hence in one place."""
        for byte, depth, text, offset in self._marks:
            if byte != b",":
                self.byte, self.depth, self.text, self.offset = byte, depth, text, offset
                break
            body = text.lstrip(_BLANK)
            yield Slice(body.rstrip(_BLANK), offset + len(text) - len(body))
        if not self.byte:
            self._refuse_end()

    def _refuse_end(self) -> NoReturn:
        begin = self.offset + len(self.text) - len(self.text.lstrip(_BLANK))
        raise JsonError(begin, "the file ends inside what begins here")

    def expect(self, byte: bytes, what: str) -> None:
        """Move to the next mark, which must be this one with nothing before it."""
        self.advance()
        if self.byte != byte or self.text.strip(_BLANK):
            raise JsonError(self.offset, f"{what} expected")

    def expect_end(self) -> None:
        """Make sure that nothing but blanks is left."""
        byte, _, text, offset = next(self._marks)
        if byte or text.strip(_BLANK):
            raise JsonError(offset, "the file goes on where its JSON has ended")

    def advance_into_value(self) -> None:
        """Move from a key's colon to the end of its value, or to the bracket that opens it."""
        self.advance()
        if self.depth == 1 and not self._ends_member():
            raise JsonError(self.offset, "a value and a comma expected")

    def skip_to_end_of_member(self) -> None:
        """Move to the comma or bracket that ends the object's present member."""
        while not self._ends_member():
            was_closed = self.depth > 1 and self.byte in (b"]", b"}")
            self.advance()
            is_well_formed = self._ends_member() or self.depth > 1
            if was_closed:
                is_well_formed = self._ends_member() and not self.text.strip(_BLANK)
            if not is_well_formed:
                raise JsonError(self.offset, "a comma or the object's end expected")

    def _ends_member(self) -> bool:
        return self.depth == 1 and self.byte in (b",", b"}")

    def slice(self, key: str | None = None) -> Slice:
        """The text before this mark, without blanks at its ends."""
        text = self.text.lstrip(_BLANK)
        return Slice(text.rstrip(_BLANK), self.offset + len(self.text) - len(text), key)

    def decode(self, what: str) -> Scalar:
        """The text before this mark as a value."""
        try:
            value: Scalar = json.loads(self.text)
        except ValueError as error:
            raise JsonError(self.offset, f"{what} expected ({error})") from error
        return value


_Mark = tuple[bytes, int, bytes, int]


def _find_marks(stream: BinaryIO, depth: int, colons: int, block: int) -> Iterator[_Mark]:
    """Each mark with its depth, the text before it, and that text's offset; at the end one of no bytes.

    Args:
        stream: The file, uncompressed.
        depth: Brackets, and the commas between them, are marks down to this depth.
        colons: Colons are marks down to this depth.
        block: How many bytes to read at once.
    """
    scanner = _Scanner(depth, colons)
    chunk = stream.read(len(_BYTE_ORDER_MARK))
    _refuse_utf_16(chunk)
    offset = place = len(_BYTE_ORDER_MARK) if chunk == _BYTE_ORDER_MARK else 0
    chunk = stream.read(block) if place else chunk + stream.read(block)
    pending: list[bytes] = []
    while chunk:
        begin = 0
        positions, depths = scanner.scan(chunk)
        for position, level in zip(positions.tolist(), depths.tolist(), strict=True):
            text = chunk[begin:position]
            if pending:
                text = b"".join([*pending, text])
                pending.clear()
            yield chunk[position : position + 1], level, text, place
            begin = position + 1
            place = offset + begin
        pending.append(chunk[begin:])
        offset += len(chunk)
        if offset - place > LONGEST_RECORD:
            raise JsonError(
                place, f"what begins here is longer than {LONGEST_RECORD >> 20} MB: something is not closed"
            )
        chunk = stream.read(block)
    yield b"", 0, b"".join(pending), place


def _refuse_utf_16(start: bytes) -> None:
    if start.startswith(_UTF_16):
        raise JsonError(0, "the file is UTF-16, not UTF-8")


class _Scanner:
    """Finds structure in consecutive chunks; what a chunk leaves open is carried to the next."""

    def __init__(self, depth: int, colons: int) -> None:
        self.max_depth, self.max_colon_depth = depth, colons
        self.depth = 0
        self.in_string = False
        self.escaped = False

    def scan(self, chunk: bytes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Positions in the chunk and depths of the marks that are not too deep."""
        data = np.frombuffer(chunk, dtype=np.uint8)
        positions = np.flatnonzero(np.frombuffer(chunk.translate(_STRUCTURE), dtype=np.bool_))
        found = data[positions]
        quotes = found == _QUOTE
        if self.escaped or b"\\" in chunk:
            quotes &= ~self._find_escaped(data)[positions]
        num_quotes = np.cumsum(quotes)
        outside = ((num_quotes + self.in_string) & 1 == 0) & (found != _QUOTE)
        self.in_string ^= bool(len(quotes) and num_quotes[-1] & 1)
        return self._measure_depth(positions[outside], found[outside])

    def _measure_depth(
        self, positions: NDArray[np.intp], found: NDArray[np.uint8]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        step = _STEP[found]
        depths = self.depth + np.cumsum(step, dtype=np.intp)
        if len(depths):
            self.depth = int(depths[-1])
        depths += step < 0  # a closing bracket is as deep as what it closes
        near = (depths <= self.max_depth) & ((found != _COLON) | (depths <= self.max_colon_depth))
        return positions[near], depths[near]

    def _find_escaped(self, data: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which bytes follow an odd number of backslashes."""
        escaped = np.zeros(len(data) + 1, dtype=np.bool_)
        escaped[0] = self.escaped
        backslashes = np.flatnonzero(data == _BACKSLASH)
        if len(backslashes):
            is_first = np.diff(backslashes, prepend=-2) != 1
            first, last = backslashes[is_first], backslashes[np.append(is_first[1:], True)]
            lengths = last - first + 1
            lengths[0] -= self.escaped and first[0] == 0
            escaped[last[lengths & 1 == 1] + 1] = True
        self.escaped = bool(escaped[-1])
        return escaped
