"""The structure of JSON, found a block at a time: the same marks as reading one character after another finds."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vqa_pipeline.sources.json_structure import BLOCK, JsonError, find_marks

TEXTS = st.text(st.sampled_from('{}[],:"\\ a1é\n'), max_size=40)


def find_slowly(text: bytes, depth: int, colons: int) -> list[tuple[bytes, int]]:
    """Marks and their depths, one byte after another."""
    found, level, in_string, escaped = [], 0, False, False
    for byte in text:
        character = bytes([byte])
        if in_string or character == b'"':
            in_string ^= character == b'"' and not escaped
        elif character in b"{[":
            level += 1
            found.append((character, level))
        elif character in b"}]":
            found.append((character, level))
            level -= 1
        elif character in b",:":
            found.append((character, level))
        escaped = character == b"\\" and not escaped
    return [(mark, at) for mark, at in found if at <= depth and (mark != b":" or at <= colons)]


@given(TEXTS, st.integers(1, 3), st.integers(0, 2), st.integers(1, 9) | st.just(BLOCK))
@example('["\\\\", "\\"]', 1, 0, 1)
def test_marks_are_those_outside_strings_and_not_too_deep(text, depth, colons, block):
    content = text.encode()
    marks = list(find_marks(io.BytesIO(content), depth, colons, block))
    assert [(byte, level) for byte, level, _, _ in marks[:-1]] == find_slowly(content, depth, colons)


@given(TEXTS, st.integers(1, 9), st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_nothing_of_the_text_is_lost_and_every_part_is_in_its_place(text, block, start):
    content = start + text.encode()
    marks = list(find_marks(io.BytesIO(content), 2, 1, block))
    assert start + b"".join(part + byte for byte, _, part, _ in marks) == content
    assert all(content[offset : offset + len(part)] == part for _, _, part, offset in marks)
    assert marks[-1][0] == b""


def test_an_error_tells_its_place():
    error = JsonError(7, "an array expected")
    assert (str(error), error.byte_offset, error.reason) == ("an array expected (at byte 7)", 7, "an array expected")
    with pytest.raises(ValueError, match="at byte 7"):
        raise error
