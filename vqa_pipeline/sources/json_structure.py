"""The structure of a JSON file: brackets, commas and colons outside strings, and their depth.

numpy finds them a block at a time; nothing is parsed. What a mark separates is for `json_records` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from vqa_pipeline.sources.encodings import BYTE_ORDER_MARK

BLOCK = 1 << 20
LONGEST_RECORD = 256 << 20
"""Longer records are taken for a bracket or quote that is never closed; it also bounds memory."""

BLANK = b" \t\r\n"

_QUOTE, _BACKSLASH, _COLON = b'"\\:'
_STRUCTURE = bytes(byte in b'"{}[],:' for byte in range(256))
_STEP = np.zeros(256, dtype=np.int8)
_STEP[list(b"{[")], _STEP[list(b"}]")] = 1, -1


class JsonError(ValueError):
    """The text is not JSON, or not of the expected shape."""

    def __init__(self, byte_offset: int, reason: str) -> None:
        self.byte_offset, self.reason = byte_offset, reason
        super().__init__(f"{reason} (at byte {byte_offset})")


Mark = tuple[bytes, int, bytes, int]


def find_marks(stream: BinaryIO, depth: int, colons: int, block: int) -> Iterator[Mark]:
    """Each mark with its depth, the text before it, and that text's offset; at the end one of no bytes.

    Args:
        stream: The file, uncompressed.
        depth: Brackets, and the commas between them, are marks down to this depth.
        colons: Colons are marks down to this depth.
        block: How many bytes to read at once.
    """
    scanner = _Scanner(depth, colons)
    chunk = stream.read(len(BYTE_ORDER_MARK))
    offset = place = len(BYTE_ORDER_MARK) if chunk == BYTE_ORDER_MARK else 0
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
