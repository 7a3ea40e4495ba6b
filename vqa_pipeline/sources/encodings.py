"""Texts of any encoding as UTF-8: told by a byte order mark, else by the bytes themselves.

UTF-8, with or without a mark, passes through as it is, so that byte offsets stay those of the file. UTF-16 and UTF-32
with a mark, and Western text of one byte per character (cp1252, of which latin-1's letters are a part), are recoded as
they are read; byte offsets are then those of the UTF-8 form. A byte that the encoding does not have stays what it is,
which is no UTF-8: it costs the row it stands in, never the file. So does every letter of other encodings (GBK, cp1251).

Decided on the first `SAMPLE` bytes, the whole of most files. Between UTF-8 and cp1252 the doubt goes to UTF-8, as that
cannot be wrong in silence: a letter of cp1252 that stands alone is no UTF-8, so that its row is rejected.
"""

from __future__ import annotations

import codecs
import io
import re
from typing import BinaryIO, Literal, cast

from typing_extensions import Buffer

Encoding = Literal["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"]
"""As Python's codecs name them; utf-8-sig is UTF-8 with a byte order mark."""

SAMPLE = 16 << 20
BYTE_ORDER_MARK = codecs.BOM_UTF8

_MARKS: tuple[tuple[bytes, Encoding], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PARQUET = b"PAR1"
_BLOCK = 1 << 16
_NO_UTF_8 = b"\xff"
"""Stands for half a character at the end of a file: a byte that no UTF-8 has."""

_STRAY = re.compile("[\udc80-\udcff]")
_LETTERS_BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")
_FEW = 8
_BY_CHANCE = 100
"""So many stray bytes to each character of UTF-8, and the characters are there by chance."""


def tell_encoding(start: bytes) -> Encoding:
    """The encoding of a text, from its first bytes, at best all of them.

    A text with bytes that are no UTF-8 is cp1252 only when next to none of the others are characters of UTF-8: two
    letters of cp1252 may look like one by chance (`É»` does), but a damaged or mixed UTF-8 file has many.
    """
    marked = _tell_mark(start)
    if marked is not None or start.isascii():
        return marked or "utf-8"
    text, _ = codecs.utf_8_decode(start, "surrogateescape", False)
    num_stray = len(_STRAY.findall(text))
    num_characters = len(text) - len(text.encode("ascii", "ignore")) - num_stray
    return "cp1252" if num_stray > _BY_CHANCE * num_characters and _is_western(start) else "utf-8"


def _tell_mark(start: bytes) -> Encoding | None:
    return next((encoding for mark, encoding in _MARKS if start.startswith(mark)), None)


def _is_western(start: bytes) -> bool:
    """Whether letters beyond ASCII stand between others, as in Western languages; in other scripts they form words."""
    runs = _LETTERS_BEYOND_ASCII.findall(start)
    total = sum(map(len, runs))
    return total <= _FEW or 2 * sum(len(run) == 1 for run in runs) >= total


def is_text(start: bytes) -> bool:
    """Whether a file's first bytes are a text's: no NUL is in them, unless a mark tells UTF-16 or UTF-32."""
    return _tell_mark(start) is not None or not (b"\0" in start or start.startswith(_PARQUET))


def find_encoding(stream: BinaryIO) -> Encoding | None:
    """The encoding that `read_as_utf_8` finds in a stream from its start; None: it is no text."""
    start = stream.read(_BLOCK)
    return tell_encoding(start + stream.read(SAMPLE - len(start))) if is_text(start) else None


def read_as_utf_8(stream: BinaryIO) -> io.BufferedReader:
    """A stream from its start, as UTF-8 where it is text; what is none stays what it is, and can be sought in."""
    start = stream.read(_BLOCK)
    if not is_text(start):
        stream.seek(0)
        return io.BufferedReader(cast("io.RawIOBase", stream), _BLOCK)
    start += stream.read(SAMPLE - len(start))
    encoding = tell_encoding(start)
    rest = _Rest(start, stream)
    return io.BufferedReader(rest if encoding.startswith("utf-8") else _Recoded(rest, encoding), _BLOCK)


class _Rest(io.RawIOBase):
    """What was read of a stream already, then the stream."""

    def __init__(self, start: bytes, stream: BinaryIO) -> None:
        self._start, self._place, self._stream = start, 0, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        room = memoryview(buffer)
        if self._place < len(self._start):
            chunk = self._start[self._place : self._place + len(room)]
            self._place += len(chunk)
        else:
            self._start, self._place = b"", 0
            chunk = self._stream.read(len(room))
        room[: len(chunk)] = chunk
        return len(chunk)


class _Recoded(io.RawIOBase):
    """A stream's text as UTF-8; what its encoding does not have stays bytes that no UTF-8 has."""

    def __init__(self, stream: io.RawIOBase, encoding: Encoding) -> None:
        errors = "surrogateescape" if encoding == "cp1252" else "surrogatepass"
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._errors = errors
        self._stream = stream
        self._pending = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        room = memoryview(buffer)
        while not self._pending and (chunk := self._stream.read(_BLOCK)):
            self._pending = self._decoder.decode(chunk).encode("utf-8", self._errors)
        if not self._pending and self._decoder.getstate()[0]:
            self._decoder.reset()
            self._pending = _NO_UTF_8
        size = min(len(room), len(self._pending))
        room[:size] = self._pending[:size]
        self._pending = self._pending[size:]
        return size
