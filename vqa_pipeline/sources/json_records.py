"""A JSON file as a stream of its records' raw bytes: arrays, objects keyed by id, arrays inside an object, JSON Lines.

Memory is bounded by one record and one block. Each record keeps its bytes and their offset, so that a bad one can be
shown as it stands and costs only itself. Nothing is parsed here but the structure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

BLOCK = 1 << 20
_STRUCTURE = re.compile(rb'["{}\[\],:]')
_STRING_END = re.compile(rb'["\\]')
_BLANK = b" \t\r\n"
_OPENING = frozenset(b"{[")
_scan = json.JSONDecoder().scan_once


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


class _Window:
    """A sliding view of a stream: bytes before `start` are forgotten, more are read when they are needed."""

    def __init__(self, stream: BinaryIO, block: int) -> None:
        self.stream, self.block = stream, block
        self.buffer = b""
        self.offset = 0  # of buffer[0] in the stream
        self.position = 0  # of the next byte to look at, in the buffer
        self.begin = 0  # of the value that was passed last
        self.text: str | None = None  # the buffer as Latin-1, made when it is needed

    @property
    def place(self) -> int:
        return self.offset + self.position

    def more(self) -> bool:
        block = self.stream.read(self.block)
        self.buffer += block
        self.text = None
        return bool(block)

    def forget(self) -> None:
        self.buffer = self.buffer[self.position :]
        self.offset += self.position
        self.position = 0
        self.text = None

    def peek(self) -> int:
        """The next byte that is not blank; -1 at the end."""
        while True:
            while self.position < len(self.buffer):
                byte = self.buffer[self.position]
                if byte not in _BLANK:
                    return byte
                self.position += 1
            self.forget()
            if not self.more():
                return -1

    def expect(self, byte: bytes, what: str) -> None:
        if self.peek() != byte[0]:
            raise JsonError(self.place, f"{what} expected")
        self.position += 1

    def skip_string(self) -> None:
        """Move past a string whose opening quote is the next byte."""
        at = self.position + 1
        while True:
            found = _STRING_END.search(self.buffer, at)
            if found is None:
                at = len(self.buffer)
                if not self.more():
                    raise JsonError(self.place, "the file ends inside a string")
                continue
            if found.group() == b'"':
                self.position = found.end()
                return
            at = found.end() + 1
            if at > len(self.buffer) and not self.more():
                raise JsonError(self.place, "the file ends inside a string")

    def skip_value(self) -> None:
        """Move past one value, by its brackets and strings only."""
        depth = 0
        self.peek()
        begin = self.position
        while True:
            found = _STRUCTURE.search(self.buffer, self.position)
            if found is None:
                self.position = len(self.buffer)
                if not self.more():
                    if depth or self.position == begin:
                        raise JsonError(self.place, "the file ends inside a record")
                    return
                continue
            self.position = found.start()
            mark = found.group()
            if mark == b'"':
                self.skip_string()
                if depth == 0:
                    return
                continue
            if depth == 0 and mark in b",:]}":
                return
            self.position += 1
            if mark in b"{[":
                depth += 1
            elif mark in b"}]":
                depth -= 1
                if depth == 0:
                    return

    def take_value(self) -> tuple[bytes, int]:
        """The next value's bytes and their offset."""
        first = self.peek()
        if first in _OPENING and self._skip_well_formed():
            return self.buffer[self.begin : self.position], self.offset + self.begin
        self.forget()
        place = self.offset
        self.skip_value()
        return self.buffer[: self.position].rstrip(_BLANK), place

    def _skip_well_formed(self) -> bool:
        """Move past an object or array that json's scanner, which is written in C, can read whole in this buffer.

        Latin-1 maps every byte to one character, so positions agree; whatever the scanner does not like (malformed, or
        cut by the end of the buffer) is left to `skip_value`, which looks at brackets and strings only.
        """
        if self.text is None:
            self.text = self.buffer.decode("latin-1")
        try:
            _, end = _scan(self.text, self.position)
        except (StopIteration, ValueError, RecursionError):
            return False
        self.begin, self.position = self.position, end
        return True


def split_array(stream: BinaryIO, key: str | None = None, block: int = BLOCK) -> Iterator[Slice]:
    """The elements of an array: the file's own, or the one under `key` of the file's object.

    Raises:
        JsonError: the file is not JSON, ends early, or has no such array.
    """
    window = _Window(stream, block)
    _skip_byte_order_mark(window)
    if key is not None:
        _find_key(window, key)
    yield from _split_elements(window)


def _skip_byte_order_mark(window: _Window) -> None:
    window.peek()
    if window.buffer[window.position : window.position + 3] == b"\xef\xbb\xbf":
        window.position += 3


def _find_key(window: _Window, key: str) -> None:
    """Move to the value of `key` in the object that begins next."""
    for name in _iterate_keys(window):
        if name == key:
            return
        window.take_value()
    raise JsonError(window.place, f'no "{key}" in the object')


def _iterate_keys(window: _Window) -> Iterator[str]:
    """The keys of the object that begins next; whoever iterates moves past each value."""
    window.expect(b"{", "an object")
    if window.peek() == ord("}"):
        return
    while True:
        if window.peek() != ord('"'):
            raise JsonError(window.place, "a key expected")
        name, place = window.take_value()
        window.expect(b":", "a colon")
        yield _decode_key(name, place)
        if window.peek() == ord("}"):
            return
        window.expect(b",", "a comma")


def _decode_key(name: bytes, place: int) -> str:
    try:
        return str(json.loads(name))
    except ValueError as error:
        raise JsonError(place, f"not a key: {error}") from error


def _split_elements(window: _Window) -> Iterator[Slice]:
    window.expect(b"[", "an array")
    if window.peek() == ord("]"):
        return
    while True:
        yield Slice(*window.take_value())
        byte = window.peek()
        if byte == ord("]"):
            return
        if byte == -1:
            raise JsonError(window.place, "the file ends inside the array")
        window.expect(b",", "a comma")
        if window.peek() == ord("]"):  # a trailing comma costs nothing
            return


def split_object(stream: BinaryIO, block: int = BLOCK) -> Iterator[Slice]:
    """The values of the file's object, each with its key.

    Raises:
        JsonError: the file is not a JSON object, or ends early.
    """
    window = _Window(stream, block)
    _skip_byte_order_mark(window)
    for key in _iterate_keys(window):
        payload, place = window.take_value()
        yield Slice(payload, place, key)


def split_lines(stream: BinaryIO) -> Iterator[tuple[int, Slice]]:
    """The lines of a JSON Lines file that are not blank, each with its number from 1."""
    place = 0
    for number, line in enumerate(stream, 1):
        payload = line.strip(b"\xef\xbb\xbf \t\r\n") if number == 1 else line.strip()
        if payload:
            yield number, Slice(payload, place)
        place += len(line)


def read_scalars(stream: BinaryIO, block: int = BLOCK) -> dict[str, str | int | float | bool | None]:
    """The members of the file's object that are neither object nor array, wherever they stand.

    Raises:
        JsonError: the file is not a JSON object, or ends early.
    """
    window = _Window(stream, block)
    _skip_byte_order_mark(window)
    scalars: dict[str, str | int | float | bool | None] = {}
    for key in _iterate_keys(window):
        if window.peek() in _OPENING:
            _pass_by(window)
            continue
        payload, place = window.take_value()
        try:
            scalars[key] = json.loads(payload)
        except ValueError as error:
            raise JsonError(place, f"not JSON: {error}") from error
    return scalars


def _pass_by(window: _Window) -> None:
    """Move past an array or object element by element, so that memory does not grow with it."""
    if window.peek() == ord("["):
        for _ in _split_elements(window):
            pass
        window.expect(b"]", "the array's end")
        return
    for _ in _iterate_keys(window):
        window.take_value()
    window.expect(b"}", "the object's end")
