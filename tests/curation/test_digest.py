"""Content digests: by hand, independent of order and layout, and different whenever a value is."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vqa_pipeline.curation.digest import digest_table, format_digest, hash_rows, sum_rows
from vqa_pipeline.schemas import ANSWERS, LOCATOR

SCHEMA = pa.schema([("text", pa.string()), ("number", pa.int64()), ("raw", pa.binary()), ("answers", ANSWERS)])
NAMES = SCHEMA.names


def hash_encoding(encoding: bytes) -> bytes:
    return hashlib.blake2b(encoding, digest_size=16).digest()


def make_row(text=None, number=None, raw=None, answers=None) -> dict:
    return {"text": text, "number": number, "raw": raw, "answers": answers}


def make_table(*rows: dict) -> pa.Table:
    return pa.Table.from_pylist(list(rows), SCHEMA)


ANSWER = st.fixed_dictionaries(
    {
        "answer": st.none() | st.text(max_size=4),
        "answer_id": st.none() | st.integers(-(2**63), 2**63 - 1),
        "answer_confidence": st.none() | st.sampled_from(["yes", "no", "~", ""]),
    }
)
ROW = st.builds(
    make_row,
    st.none() | st.text("a1:~#é\0", max_size=4),
    st.none() | st.integers(-20, 20),
    st.none() | st.binary(max_size=4),
    st.none() | st.lists(st.none() | ANSWER, max_size=3),
)


# ------------------------------------------------------------------------------------------------------------- by hand


def test_a_row_is_its_values_each_with_its_length_before_it():
    answers = [
        {"answer": "yes", "answer_id": 10, "answer_confidence": None},
        {"answer": "", "answer_id": -1, "answer_confidence": "no"},
    ]
    rows = [make_row("é", 42, b"\x00:", answers), make_row(None, None, b"", []), make_row("~", 0, None, None)]
    assert hash_rows(make_table(*rows), NAMES) == [
        hash_encoding(b"2:\xc3\xa92:422:\x00:2#3:yes2:10~0:2:-12:no"),
        hash_encoding(b"~~0:0#"),
        hash_encoding(b"1:~1:0~~"),
    ]


def test_a_digest_is_the_sum_of_the_rows_hashes():
    table = make_table(make_row("a"), make_row("b"))
    hashes = [int.from_bytes(hash_encoding(text), "big") for text in (b"1:a~~~", b"1:b~~~")]
    assert sum_rows(table, NAMES) == sum(hashes) % 2**128
    assert digest_table(table) == f"{sum(hashes) % 2**128:032x}"


def test_a_digest_has_32_hex_digits_and_nothing_has_one_too():
    assert digest_table(make_table()) == "0" * 32
    assert format_digest(2**128 + 10) == "0" * 31 + "a"
    assert len(format_digest(1, 2)) == 32


def test_only_the_named_columns_count_in_the_order_in_which_they_are_named():
    table = make_table(make_row("a", 1), make_row("b", 2))
    other = make_table(make_row("a", 7), make_row("b", 8))
    assert digest_table(table, ["text"]) == digest_table(other, ["text"])
    assert digest_table(table, ["text", "number"]) != digest_table(other, ["text", "number"])
    assert digest_table(table, ["number", "text"]) != digest_table(table, ["text", "number"])


def test_digests_of_different_tables_are_put_together_in_order():
    assert format_digest(1, 2) != format_digest(2, 1)
    assert format_digest(0, 1) != format_digest(1)
    assert format_digest(1, 2) == format_digest(1 + 2**128, 2)


# -------------------------------------------------------------------------------------------------------- what counts


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (make_row(""), make_row(None)),
        (make_row("~"), make_row(None)),
        (make_row("1:a"), make_row("a")),
        (make_row("a", 1), make_row("a1:1")),
        (make_row(raw=b""), make_row()),
        (make_row(answers=[]), make_row(answers=None)),
        (make_row(answers=[None]), make_row(answers=[{"answer": None, "answer_id": None, "answer_confidence": None}])),
        (
            make_row(answers=[{"answer": "a", "answer_id": None, "answer_confidence": "b"}]),
            make_row(answers=[{"answer": "b", "answer_id": None, "answer_confidence": "a"}]),
        ),
    ],
)
def test_rows_that_look_alike_differ(one, other):
    assert digest_table(make_table(one)) != digest_table(make_table(other))


@settings(deadline=None)
@given(ROW, ROW)
@example(make_row("1", 1), make_row("11", None))
def test_rows_have_one_hash_exactly_when_they_are_equal(one, other):
    first, second = hash_rows(make_table(one, other), NAMES)
    assert (first == second) == (one == other)


def test_equal_rows_do_not_cancel_each_other():
    once, twice, thrice = (digest_table(make_table(*[make_row("a")] * count)) for count in (1, 2, 3))
    assert len({once, twice, thrice, digest_table(make_table())}) == 4


@settings(max_examples=50, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=12), st.data())
def test_neither_order_nor_chunks_nor_parts_count(rows, data):
    whole = make_table(*rows)
    shuffled = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    parts = [make_table(*shuffled[begin:end]) for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    assert digest_table(pa.concat_tables(parts)) == digest_table(whole)
    assert format_digest(sum(sum_rows(part, NAMES) for part in parts)) == digest_table(whole)


@settings(max_examples=50, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=12), st.integers(0, 11), st.integers(0, 12))
def test_a_slice_hashes_as_its_rows_do(rows, begin, length):
    hashes = hash_rows(make_table(*rows), NAMES)
    assert hash_rows(make_table(*rows).slice(begin, length), NAMES) == hashes[begin : begin + length]


def test_a_table_longer_than_a_batch_hashes_row_for_row():
    rows = [make_row(str(number), number) for number in range(20_000)]
    hashes = hash_rows(make_table(*rows), NAMES)
    assert len(hashes) == len(set(hashes)) == 20_000
    assert hashes[16_383:16_386] == hash_rows(make_table(*rows[16_383:16_386]), NAMES)


def test_structs_and_large_types_are_encoded_as_their_plain_ones():
    locator = {"file": "a.json", "record": 3, "item": None, "byte_offset": 40, "line": None}
    table = pa.table({"locator": pa.array([locator, None], LOCATOR)})
    assert hash_rows(table, ["locator"]) == [hash_encoding(b"6:a.json1:3~2:40~"), hash_encoding(b"!")]
    plain = pa.table({"a": pa.array(["x", None]), "b": pa.array([b"y", b"z"]), "c": pa.array([["p"], None])})
    large = pa.table(
        {
            "a": plain["a"].cast(pa.large_string()),
            "b": plain["b"].cast(pa.large_binary()),
            "c": plain["c"].cast(pa.large_list(pa.large_string())),
        }
    )
    assert hash_rows(large, "abc") == hash_rows(plain, "abc")


ITEM = st.none() | st.fixed_dictionaries(
    {"text": st.none() | st.sampled_from(["", "a", "b"]), "number": st.none() | st.integers(0, 2)}
)
REPEATED = pa.schema(
    [
        ("items", pa.list_(pa.struct([("text", pa.string()), ("number", pa.int64())]))),
        ("item", pa.struct([("text", pa.string()), ("number", pa.int64())])),
        ("word", pa.string()),
    ]
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "items": st.none() | st.lists(ITEM, max_size=4),
                "item": ITEM,
                "word": st.none() | st.sampled_from(["", "~", "1:a"]),
            }
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 40),
)
def test_values_that_come_again_and_again_are_encoded_as_each_would_be_alone(rows, times):
    together = hash_rows(pa.Table.from_pylist(rows * times, REPEATED), REPEATED.names)
    alone = [hash_rows(pa.Table.from_pylist([row], REPEATED), REPEATED.names)[0] for row in rows]
    assert together == alone * times
