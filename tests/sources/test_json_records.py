"""JSON as a stream of raw records: the same records as `json`, each with its bytes and their place."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vqa_pipeline.sources.json_records import (
    LONGEST_REST,
    Slice,
    breaks_off,
    read_scalars,
    split_array,
    split_lines,
    split_object,
)
from vqa_pipeline.sources.json_structure import LONGEST_RECORD, JsonError

TEXTS = st.text(st.sampled_from('ab "\\{}[],:\n\t/é漢\u2028\U0001f600\x00'), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))
BLOCKS = st.integers(1, 40) | st.just(1 << 20)
LAYOUTS = st.fixed_dictionaries(
    {
        "ensure_ascii": st.booleans(),
        "indent": st.sampled_from([None, 0, 3, "\t"]),
        "separators": st.sampled_from([(",", ":"), (" ,\r\n ", "\t: ")]),
    }
)


class Trickle(io.BytesIO):
    """A stream that, as some do, gives fewer bytes than it was asked for."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 5) if size and size > 5 else size)


def split(text: bytes | str, key: str | None = None, block: int = 1 << 20) -> list[Slice]:
    return list(split_array(io.BytesIO(text.encode() if isinstance(text, str) else text), key, block))


def check_places(text: bytes, slices: list[Slice]) -> None:
    for part in slices:
        assert text[part.byte_offset : part.byte_offset + len(part.payload)] == part.payload
        assert part.payload == part.payload.strip()


# --------------------------------------------------------------------------------------------------- as json reads it


@given(st.lists(VALUES, max_size=6), LAYOUTS, BLOCKS, st.sampled_from([b"", b"\xef\xbb\xbf", b" \r\n"]))
@example(["\\", '\\"', '"'], {"ensure_ascii": True, "indent": None, "separators": (",", ":")}, 1, b"")
def test_an_array_has_the_elements_that_json_finds(
    values: list[Any], layout: dict[str, Any], block: int, start: bytes
) -> None:
    text = start + json.dumps(values, **layout).encode() + b"\n"
    slices = split(text, None, block)
    assert [json.loads(part.payload) for part in slices] == values
    check_places(text, slices)


@given(st.dictionaries(TEXTS, VALUES, max_size=6), LAYOUTS, BLOCKS)
def test_an_object_has_the_members_that_json_finds(members: dict[str, Any], layout: dict[str, Any], block: int) -> None:
    text = json.dumps(members, **layout).encode()
    slices = list(split_object(io.BytesIO(text), block))
    assert {part.key: json.loads(part.payload) for part in slices} == members
    check_places(text, slices)


@given(st.dictionaries(TEXTS, VALUES, max_size=4), st.lists(VALUES, max_size=5), LAYOUTS, BLOCKS, st.data())
def test_an_array_inside_an_object_is_found_by_its_key_alone(
    members: dict[str, Any], values: list[Any], layout: dict[str, Any], block: int, data: st.DataObject
) -> None:
    key = data.draw(TEXTS.filter(lambda name: name not in members))
    items = data.draw(st.permutations([*members.items(), (key, values)]))
    text = json.dumps(dict(items), **layout).encode()
    slices = split(text, key, block)
    assert [json.loads(part.payload) for part in slices] == values
    check_places(text, slices)


@given(st.dictionaries(TEXTS, VALUES, max_size=6), LAYOUTS, BLOCKS)
def test_the_scalars_of_an_object_are_those_that_json_finds(
    members: dict[str, Any], layout: dict[str, Any], block: int
) -> None:
    text = json.dumps(members, **layout).encode()
    expected = {name: value for name, value in members.items() if not isinstance(value, list | dict)}
    assert read_scalars(io.BytesIO(text), block) == expected


@given(VALUES, st.text('[]{},:"\\ a1', max_size=12), BLOCKS)
@settings(max_examples=300)
def test_text_that_is_not_json_is_an_error_or_costs_single_records(value: Any, noise: str, block: int) -> None:
    """Whatever stands in the file: an answer or a `JsonError`, never another exception, never a wrong place."""
    text = (json.dumps(value) + noise).encode()
    readers = (
        lambda: list(split_array(io.BytesIO(text), None, block)),
        lambda: list(split_array(io.BytesIO(text), "a", block)),
        lambda: list(split_object(io.BytesIO(text), block)),
    )
    for read in readers:
        try:
            check_places(text, read())
        except JsonError as error:
            assert 0 <= error.byte_offset <= len(text)


OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)


def check_cut(read: list[Slice], values: list[Any]) -> None:
    """All whole records are among `values`, in order; exactly the last slice is no record, and says so."""
    *whole, last = read
    assert [json.loads(part.payload) for part in whole] == values[: len(whole)]
    assert all(part.is_whole for part in whole)
    assert not last.is_whole
    assert breaks_off(last.payload)


@given(st.lists(OBJECTS, max_size=4), LAYOUTS, BLOCKS, st.data())
def test_an_array_cut_anywhere_costs_the_record_that_breaks_off(
    values: list[Any], layout: dict[str, Any], block: int, data: st.DataObject
) -> None:
    text = json.dumps(values, **layout).encode()
    cut = data.draw(st.integers(1, len(text) - 1))
    read = split(text[:cut], None, block)
    check_cut(read, values)
    check_places(text[:cut], read)


@given(st.lists(OBJECTS, max_size=3), st.dictionaries(TEXTS, VALUES, max_size=2), BLOCKS, st.data())
def test_an_array_inside_an_object_cut_anywhere_costs_one_record(
    values: list[Any], members: dict[str, Any], block: int, data: st.DataObject
) -> None:
    text = json.dumps({"the key": values, **members}).encode()
    cut = data.draw(st.integers(text.index(b"[") + 1, len(text) - 1))
    check_cut(split(text[:cut], "the key", block), values)


@given(st.dictionaries(TEXTS, OBJECTS, max_size=4), BLOCKS, st.data())
def test_an_object_cut_anywhere_costs_one_record(members: dict[str, Any], block: int, data: st.DataObject) -> None:
    text = json.dumps(members).encode()
    cut = data.draw(st.integers(1, len(text) - 1))
    read = list(split_object(io.BytesIO(text[:cut]), block))
    check_cut(read, list(members.values()))
    assert [part.key for part in read[:-1]] == list(members)[: len(read) - 1]
    check_places(text[:cut], read)


@given(st.dictionaries(TEXTS, VALUES, max_size=4), BLOCKS, st.data())
def test_scalars_of_an_object_cut_anywhere_are_those_before(
    members: dict[str, Any], block: int, data: st.DataObject
) -> None:
    text = json.dumps(members).encode()
    cut = data.draw(st.integers(1, len(text) - 1))
    scalars = [(name, value) for name, value in members.items() if not isinstance(value, list | dict)]
    read = list(read_scalars(io.BytesIO(text[:cut]), block).items())
    assert read == scalars[: len(read)]


@given(VALUES, st.data())
def test_every_beginning_of_a_value_that_lacks_something_breaks_off(value: Any, data: st.DataObject) -> None:
    text = json.dumps([value], ensure_ascii=data.draw(st.booleans())).encode()
    assert breaks_off(text[: data.draw(st.integers(0, len(text) - 1))])
    assert not breaks_off(text)


@pytest.mark.parametrize("text", ['{"q": "say "hi" now"}', "{'a': 1}", "[1, 2}", "{]", "1 2", "nil"])
def test_what_is_no_json_from_some_place_on_does_not_break_off(text: str) -> None:
    assert not breaks_off(text.encode())


def test_a_stream_that_gives_few_bytes_at_a_time_is_read_to_its_end() -> None:
    text = json.dumps({"info": [1, [2]], "questions": [{"a": "x" * 20}, {"b": [1, 2]}]}).encode()
    assert [part.payload for part in split_array(Trickle(text), "questions")] == [
        b'{"a": "xxxxxxxxxxxxxxxxxxxx"}',
        b'{"b": [1, 2]}',
    ]


# ------------------------------------------------------------------------------------------------------- spelled out


def test_a_record_is_a_slice_of_the_file() -> None:
    assert split(' [ {"a": 1} ,\n"two", 3 ]\n') == [
        Slice(b'{"a": 1}', 3),
        Slice(b'"two"', 14),
        Slice(b"3", 21),
    ]


def test_a_key_inside_strings_and_deeper_objects_is_not_the_key() -> None:
    text = '{"note": "\\"questions\\": [9]", "info": {"questions": [8]}, "questions" : [7], "b": []}'
    assert split(text, "questions") == [Slice(b"7", 74)]


def test_a_key_may_be_written_with_escapes() -> None:
    assert [part.payload for part in split('{"qu\\u0065stions": [1]}', "questions")] == [b"1"]


def test_a_byte_order_mark_counts_in_offsets() -> None:
    assert split(b"\xef\xbb\xbf[5]") == [Slice(b"5", 4)]


@pytest.mark.parametrize("text", ["[]", " [ ] ", '{"a": [ ]}'])
def test_an_empty_array_has_no_records(text: str) -> None:
    assert split(text, "a" if text.startswith("{") else None) == []


def test_a_comma_after_the_last_record_costs_nothing() -> None:
    assert [part.payload for part in split("[1, 2, ]")] == [b"1", b"2"]


def test_a_missing_record_between_commas_is_one_bad_record() -> None:
    assert split("[1,, 2]") == [Slice(b"1", 1), Slice(b",", 3), Slice(b"2", 5)]


@pytest.mark.parametrize("text", ['{"a": [1, 2,], "b": 3,}', '{"b": {"a": [9]},\n"a":[1, 2] , }'])
def test_commas_after_the_last_member_and_record_cost_nothing(text: str) -> None:
    assert [part.payload for part in split(text, "a")] == [b"1", b"2"]


def test_a_malformed_record_costs_only_itself() -> None:
    text = '[{"a": 1}, {"a": tru}, {"a" 2}, {"b": [3}}, {"a": 4}]'
    assert [part.payload for part in split(text)] == [
        b'{"a": 1}',
        b'{"a": tru}',
        b'{"a" 2}',
        b'{"b": [3}}',
        b'{"a": 4}',
    ]


def test_bytes_that_are_not_utf_8_stay_in_their_record() -> None:
    assert [part.payload for part in split(b'["caf\xe9", "ok"]')] == [b'"caf\xe9"', b'"ok"']


@pytest.mark.parametrize(
    ("text", "last", "place"),
    [
        ('[{"a": 1}, {"a": 2', b'{"a": 2', 11),
        ('[{"a": 1}, "text', b'"text', 11),
        ('[{"a": 1}, ', b"", 11),
        ('[{"a": 1}', b"", 9),
        ("[", b"", 1),
    ],
)
def test_a_file_that_breaks_off_ends_with_what_is_left_of_a_record(text: str, last: bytes, place: int) -> None:
    read = split(text)
    assert read[-1] == Slice(last, place, None, is_whole=False)
    assert [part.payload for part in read[:-1]] == [b'{"a": 1}'][: len(text) > 1]


@pytest.mark.parametrize("rest", ["", ", ", ', "b": 2', ', "b": {"c": ['])
def test_a_file_that_breaks_off_after_its_records_says_so_too(rest: str) -> None:
    text = '{"a": [1]' + rest
    assert split(text, "a") == [Slice(b"1", 7), Slice(b"", len(text), None, is_whole=False)]


@pytest.mark.parametrize(
    ("text", "key", "payload"),
    [
        ('{"x": {"a": 1}, "y": {"a": ', "y", b'{"a":'),
        ('{"x": {"a": 1}, "y": ', "y", b""),
        ('{"x": {"a": 1}, "y', None, b""),
        ('{"x": {"a": 1}, ', None, b""),
        ('{"x": {"a": 1}', None, b""),
    ],
)
def test_an_object_that_breaks_off_keeps_the_key_where_it_is_known(text: str, key: str | None, payload: bytes) -> None:
    first, last = split_object(io.BytesIO(text.encode()))
    assert (first.key, first.payload) == ("x", b'{"a": 1}')
    assert (last.key, last.payload, last.is_whole) == (key, payload, False)


@pytest.mark.parametrize("text", ["", "  ", "hello"])
def test_a_file_that_never_begins_is_an_error(text: str) -> None:
    with pytest.raises(JsonError, match="ends inside what begins here"):
        split(text)


@pytest.mark.parametrize(
    "text",
    [
        '[{"a": 1}, {"a": "open}, {"a": 3}, {"a": 4}]',
        '[{"a": 1}, [' + '{"a": 1}, ' * (LONGEST_REST // 9),
    ],
)
def test_a_quote_or_bracket_that_is_not_closed_is_an_error_as_it_hides_the_records_behind_it(text: str) -> None:
    read = []
    with pytest.raises(JsonError, match=r"not closed: it runs to the end of the file \(at byte \d+\)"):
        read.extend(split_array(io.BytesIO(text.encode())))
    assert read[0] == Slice(b'{"a": 1}', 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1}', "an array expected"),
        ("x [1]", "an array expected"),
        ("[1] [2]", "goes on where its JSON has ended"),
        ("[1]]", "goes on where its JSON has ended"),
        ("[1}", "a comma or the array's end expected"),
    ],
)
def test_what_is_no_array_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(JsonError, match=reason):
        split(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1]", "an object expected"),
        ('{"b": 1}', 'no "a" in the object'),
        ("{}", 'no "a" in the object'),
        ('{"a": 7}', 'an array under "a" expected'),
        ('{"a": {"b": 1}}', 'an array under "a" expected'),
        ('{"b": [1], "c": 2', "ends inside"),
        ('{"a": [1], "a": [2]}', '"a" stands in the object twice'),
        ('{"a": [1] [2]}', "a comma or the object's end expected"),
        ('{"b": [1] x, "a": [1]}', "a comma or the object's end expected"),
        ('{"b": 1: 2, "a": [1]}', "a comma or the object's end expected"),
        ('{b: 1, "a": [1]}', "a key expected"),
        ('{7: 1, "a": [1]}', "a key and a colon expected"),
        ('{"a": [1]} {"a": [2]}', "goes on where its JSON has ended"),
        ('{"a", "b"}', "a key and a colon expected"),
    ],
)
def test_what_is_no_object_with_that_array_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(JsonError, match=reason):
        split(text, "a")


@pytest.mark.parametrize("text", ['{"a": "b": 3}', '{"a": 1]', '{"a" 1}', "[1]", '{"a": 1} 2', ""])
def test_what_is_no_object_is_an_error(text: str) -> None:
    with pytest.raises(JsonError):
        list(split_object(io.BytesIO(text.encode())))
    with pytest.raises(JsonError):
        read_scalars(io.BytesIO(text.encode()))


def test_a_scalar_that_is_not_json_is_an_error() -> None:
    with pytest.raises(JsonError, match=r"a value expected .* \(at byte 5\)"):
        read_scalars(io.BytesIO(b'{"a": nul}'))


class Endless(io.BytesIO):
    """A file that never closes the string it opens, and counts what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        chunk = b"a" * (8 << 20) if self.num_bytes else b'[{"a": "'
        self.num_bytes += len(chunk)
        return chunk

    def readline(self, size: int | None = -1) -> bytes:
        assert size == LONGEST_RECORD + 1
        return bytes(size)


def test_a_quote_that_is_never_closed_does_not_fill_the_memory() -> None:
    endless = Endless()
    with pytest.raises(JsonError, match=r"longer than 256 MB: something is not closed \(at byte 1\)"):
        list(split_array(endless))
    assert endless.num_bytes < LONGEST_RECORD + (16 << 20)


# ------------------------------------------------------------------------------------------------------- JSON Lines


def test_lines_keep_number_and_offset_and_blank_ones_are_passed_by() -> None:
    text = b'\xef\xbb\xbf{"a": 1}\r\n\n   {"a": 2} \n{"a": 3}'
    assert list(split_lines(io.BytesIO(text))) == [
        (1, Slice(b'{"a": 1}', 3)),
        (3, Slice(b'{"a": 2}', 17)),
        (4, Slice(b'{"a": 3}', 27)),
    ]


def test_a_comma_after_a_line_s_record_is_none_of_it() -> None:
    text = b'{"a": 1},\n[2],  \n{"a": 3}\n{"a": "},\n'
    assert [part for _, part in split_lines(io.BytesIO(text))] == [
        Slice(b'{"a": 1}', 0),
        Slice(b"[2]", 10),
        Slice(b'{"a": 3}', 17),
        Slice(b'{"a": "}', 26),
    ]


def test_a_line_that_never_ends_is_an_error() -> None:
    with pytest.raises(JsonError, match="line 1 is longer than 256 MB"):
        list(split_lines(Endless()))


@given(st.lists(VALUES, max_size=5), st.booleans())
def test_lines_hold_what_was_written(values: list[Any], ends_with_newline: bool) -> None:
    text = "\n".join(json.dumps(value) for value in values).encode() + b"\n" * ends_with_newline
    assert [json.loads(part.payload) for _, part in split_lines(io.BytesIO(text))] == values
