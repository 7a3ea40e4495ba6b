"""Which fields raw records have: by kind, below an id, of the first thousand, whatever is broken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vqa_pipeline.curation.record_fields import FieldTally, find_main_kind, is_usual
from vqa_pipeline.schemas import Locator, RawRecord


def tally(*payloads: bytes, kind: Any = "question") -> dict[str, dict[str, int]]:
    fields = FieldTally()
    for number, payload in enumerate(payloads):
        fields.look(RawRecord(kind, payload, Locator("a.json", number)))
    return fields.describe()


def test_fields_are_counted_by_what_they_hold():
    rows = [{"id": 1, "a": None}, {"id": "2", "a": ["x"]}, {"id": 3.5, "a": {}, "b": True}]
    assert tally(*[json.dumps(row).encode() for row in rows]) == {
        "question.a": {"a list": 1, "an object": 1, "null": 1},
        "question.b": {"true or false": 1},
        "question.id": {"a number": 2, "a text": 1},
    }


def test_a_member_of_an_object_is_known_by_its_fields_not_by_its_id():
    assert tally(b'{"201": {"imageId": "n1"}}', b'{"202": {"imageId": "n2"}}') == {"question.imageId": {"a text": 2}}
    assert tally(b'{"answer": "red"}') == {"question.answer": {"a text": 1}}


@pytest.mark.parametrize("payload", [b"[1]", b"{", b"\xff", b"", b'"a"'])
def test_what_is_no_object_says_nothing(payload):
    assert tally(payload) == {}


def test_kinds_are_apart_and_only_the_first_thousand_of_each_are_looked_at():
    fields = FieldTally()
    for number in range(1500):
        fields.look(RawRecord("question", b'{"q": 1}', Locator("a.json", number)))
        fields.look(RawRecord("annotation", b'{"a": 1}', Locator("a.json", number)))
    assert fields.describe() == {"annotation.a": {"a number": 1000}, "question.q": {"a number": 1000}}


def test_what_a_field_mostly_holds_is_told_without_its_nulls():
    assert find_main_kind({"null": 90, "a text": 6, "a list": 4}) == "a text"
    assert find_main_kind({"null": 3}) is None
    assert find_main_kind({}) is None


def test_a_field_is_usual_that_half_of_the_records_of_its_kind_have():
    fields = {"question.id": {"a text": 10}, "question.hint": {"a text": 4}, "annotation.hint": {"a text": 2}}
    assert [is_usual(fields[name], fields, name) for name in fields] == [True, False, True]
