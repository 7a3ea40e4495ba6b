"""A JSON file as a stream of its records' raw bytes: arrays, objects keyed by id, arrays inside an object, JSON Lines.

Memory is bounded by one block and one record. Each record keeps its bytes and their offset, so that a bad one can be
shown as it stands and costs only itself. Nothing is parsed here but what separates records.

A file is an error where it does not begin as what was asked for, or where what stands between two records separates
none. A file that breaks off gives the records before, and a last one that is no JSON: the rest, or no bytes where a
record had just ended. That is so only if the rest is the beginning of a record and no longer than one may be: what is
never closed, a quote or a bracket, runs to the end of the file too, and hides all records behind it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, NoReturn

from pydantic_core import from_json

from vqa_pipeline.sources.encodings import BYTE_ORDER_MARK
from vqa_pipeline.sources.json_structure import BLANK, BLOCK, LONGEST_RECORD, JsonError, find_marks

LONGEST_REST = 1 << 20
"""What a file that breaks off ends with is one record; more of it is taken for a bracket that is never closed."""

Scalar = str | int | float | bool | None


class Slice(NamedTuple):
    """One record's bytes and where they start in the (uncompressed) file."""

    payload: bytes
    byte_offset: int
    key: str | None = None
    """The record's key, when the records are the values of an object; None where the file breaks off in a key."""
    is_whole: bool = True
    """False: the file breaks off here."""


class _BrokenOff(JsonError):
    """The file ends where more of it must come."""


def split_array(stream: BinaryIO, key: str | None = None, block: int = BLOCK) -> Iterator[Slice]:
    """The elements of an array: the file's own, or the one under `key` of the file's object.

    Raises:
        JsonError: the file is not JSON, or has no such array.
    """
    depth = 1 if key is None else 2
    marks = _Marks(stream, depth, depth - 1, block)
    found = False
    try:
        for _ in _find_arrays(marks, key):
            if found:
                raise JsonError(marks.offset, f'"{key}" stands in the object twice')
            found = True
            yield from _split_elements(marks)
    except _BrokenOff:
        if not found:
            raise
        yield from marks.slice_rest()
        return
    if not found:
        raise JsonError(marks.offset, f'no "{key}" in the object')


def split_object(stream: BinaryIO, block: int = BLOCK) -> Iterator[Slice]:
    """The values of the file's object, each with its key.

    Raises:
        JsonError: the file is not a JSON object.
    """
    marks = _Marks(stream, 1, 1, block)
    key = None
    try:
        for key in _iterate_members(marks):
            marks.in_record = True
            marks.advance_into_value()
            marks.in_record = False
            yield marks.slice(key)
    except _BrokenOff:
        if not marks.is_open:
            raise
        yield from marks.slice_rest(key)


def split_lines(stream: BinaryIO) -> Iterator[tuple[int, Slice]]:
    """The lines of a JSON Lines file that are not blank, each with its number from 1.

    A comma after a line's record is none of it: some write lists that way, without the brackets.

    Raises:
        JsonError: a line is longer than `LONGEST_RECORD`.
    """
    place = 0
    for number, line in enumerate(iter(lambda: stream.readline(LONGEST_RECORD + 1), b""), 1):
        if len(line) > LONGEST_RECORD:
            raise JsonError(place, f"line {number} is longer than {LONGEST_RECORD >> 20} MB")
        text = line
        if number == 1:
            text = line.removeprefix(BYTE_ORDER_MARK)
        payload = text.strip(BLANK)
        if payload.endswith((b"},", b"],")):
            payload = payload[:-1]
        if payload:
            yield number, Slice(payload, place + line.index(payload))
        place += len(line)


def read_scalars(stream: BinaryIO, block: int = BLOCK) -> dict[str, Scalar]:
    """The members of the file's object that are neither object nor array; of a file that breaks off, those before.

    Raises:
        JsonError: the file is not a JSON object.
    """
    marks = _Marks(stream, 2, 1, block)
    scalars: dict[str, Scalar] = {}
    try:
        for name in _iterate_members(marks):
            marks.advance_into_value()
            if marks.depth == 1:
                scalars[name] = marks.decode("a value")
    except _BrokenOff:
        if not marks.is_open:
            raise
    return scalars


def _find_arrays(marks: _Marks, key: str | None) -> Iterator[None]:
    """Stops after the bracket of the file's array, or of each array under `key` of its object."""
    if key is None:
        marks.expect(b"[", "an array")
        yield
        marks.expect_end()
        return
    for name in _iterate_members(marks):
        if name == key:
            marks.expect(b"[", f'an array under "{key}"')
            yield


def _iterate_members(marks: _Marks) -> Iterator[str]:
    """The keys of the file's object, one by one; whoever iterates may read on into the value."""
    marks.expect(b"{", "an object")
    marks.is_open = True
    while True:
        marks.advance()
        if marks.byte == b"}" and not marks.text.strip(BLANK):  # no member, or none after a comma
            break
        name = marks.decode("a key")
        if marks.byte != b":" or not isinstance(name, str):
            raise JsonError(marks.offset, "a key and a colon expected")
        yield name
        marks.skip_to_end_of_member()
        if marks.byte == b"}":
            break
    marks.expect_end()


def _split_elements(marks: _Marks) -> Iterator[Slice]:
    """The elements of the array whose bracket was just passed; a comma after the last one costs nothing."""
    marks.in_record = True
    yield from marks.iterate_to_bracket()
    marks.in_record = False
    if marks.byte != b"]":
        raise JsonError(marks.offset, "a comma or the array's end expected")
    if marks.text.strip(BLANK):
        yield marks.slice()


def breaks_off(text: bytes) -> bool:
    """Whether a text is the beginning of a JSON value: no text at all, or one that only lacks its end."""
    try:
        from_json(text.decode("utf-8", "replace"))  # half a character at the end is one more thing that breaks off
    except ValueError as error:
        return str(error).startswith("EOF")
    return False


def _is_json(text: bytes) -> bool:
    try:
        from_json(text)
    except ValueError:
        return False
    return True


class _Marks:
    """A cursor over the brackets, commas and colons of a stream that are outside strings and not too deep.

    A bracket is as deep as what it encloses: the file's own are at depth 1, those of its members at depth 2.
    """

    def __init__(self, stream: BinaryIO, depth: int, colons: int, block: int) -> None:
        self._marks = find_marks(stream, depth, colons, block)
        self.byte = b""
        self.depth = 0
        self.text = b""  # between the mark before and this one
        self.offset = 0  # of the text's first byte in the stream
        self.is_open = False  # the file's object has begun
        self.in_record = False  # the text up to the next mark belongs to a record

    @property
    def end(self) -> int:
        """Offset of this mark, and at the end of the stream its length."""
        return self.offset + len(self.text)

    def advance(self) -> None:
        """Move to the next mark."""
        self.byte, self.depth, self.text, self.offset = next(self._marks)
        if not self.byte:
            self._break_off()

    def iterate_to_bracket(self) -> Iterator[Slice]:
        """What stands before each comma up to the next bracket; the innermost loop of reading, hence in one place.

        Between two commas it is the second comma, so that it is one bad record and not the end of a broken-off file.
        """
        for byte, depth, text, offset in self._marks:
            if byte != b",":
                self.byte, self.depth, self.text, self.offset = byte, depth, text, offset
                break
            body = text.lstrip(BLANK)
            yield Slice(body.rstrip(BLANK) or b",", offset + len(text) - len(body))
        if not self.byte:
            self._break_off()

    def _break_off(self) -> NoReturn:
        raise _BrokenOff(self.end - len(self.text.lstrip(BLANK)), "the file ends inside what begins here")

    def expect(self, byte: bytes, what: str) -> None:
        """Move to the next mark, which must be this one with nothing before it."""
        self.advance()
        if self.byte != byte or self.text.strip(BLANK):
            raise JsonError(self.offset, f"{what} expected")

    def expect_end(self) -> None:
        """Make sure that nothing but blanks is left."""
        byte, _, text, offset = next(self._marks)
        if byte or text.strip(BLANK):
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
                is_well_formed = self._ends_member() and not self.text.strip(BLANK)
            if not is_well_formed:
                raise JsonError(self.offset, "a comma or the object's end expected")

    def _ends_member(self) -> bool:
        return self.depth == 1 and self.byte in (b",", b"}")

    def slice(self, key: str | None = None) -> Slice:
        """The text before this mark, without blanks at its ends."""
        text = self.text.lstrip(BLANK)
        return Slice(text.rstrip(BLANK), self.offset + len(self.text) - len(text), key)

    def slice_rest(self, key: str | None = None) -> Iterator[Slice]:
        """What a file that breaks off ends with: at last a slice that is not whole.

        Raises:
            JsonError: the rest is not the beginning of a record: a quote or bracket before was not closed.
        """
        rest = self.slice(key)
        if not self.in_record:
            yield Slice(b"", self.end, None, is_whole=False)
        elif _is_json(rest.payload):
            yield rest
            yield Slice(b"", self.end, None, is_whole=False)
        elif len(rest.payload) <= LONGEST_REST and breaks_off(rest.payload):
            yield rest._replace(is_whole=False)
        else:
            raise JsonError(rest.byte_offset, "what begins here is not closed: it runs to the end of the file")

    def decode(self, what: str) -> Scalar:
        """The text before this mark as a value."""
        try:
            value: Scalar = json.loads(self.text)
        except ValueError as error:
            raise JsonError(self.offset, f"{what} expected ({error})") from error
        return value
