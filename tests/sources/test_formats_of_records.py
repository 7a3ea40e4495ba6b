"""What holds for every format made of records, whatever its records hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from source_reading import SOURCE

from vqa_pipeline.schemas import ANSWERS, Locator, RawRecord
from vqa_pipeline.sources.formats import FORMATS
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.formats.records import RecordsFormat
from vqa_pipeline.sources.formats.visual_genome import _QUESTION as QUESTION_OF_VISUAL_GENOME

OF_RECORDS = {name: found for name, found in FORMATS.items() if isinstance(found, RecordsFormat)}

TEXTS = st.text(max_size=5) | st.sampled_from(["", "image3", "is it in the image3 ?", "<image>\nwhat?", "human", "gpt"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def follow_type(adapter: TypeAdapter[Any]) -> st.SearchStrategy[Any]:
    """Values that a type's JSON schema allows, and here and there one that it does not."""
    return _follow(adapter.json_schema(), adapter.json_schema())


def _follow(schema: dict[str, Any], whole: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        return _follow(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in schema:
        return st.one_of([_follow(choice, whole) for choice in schema["anyOf"]])
    return st.one_of([_follow_kind(schema, whole)] * 7 + [ANYTHING])


def _follow_kind(schema: dict[str, Any], whole: dict[str, Any]) -> st.SearchStrategy[Any]:
    match schema.get("type"):
        case "object" if "properties" in schema:
            fields = {name: _follow(field, whole) for name, field in schema["properties"].items()}
            required = {name: field for name, field in fields.items() if name in schema.get("required", [])}
            optional = {name: field for name, field in fields.items() if name not in required}
            return st.fixed_dictionaries(required, optional=optional)
        case "object":
            values = schema.get("additionalProperties")
            return st.dictionaries(TEXTS, _follow(values, whole) if isinstance(values, dict) else ANYTHING, max_size=2)
        case "array":
            return st.lists(_follow(schema.get("items", {}), whole), max_size=3)
        case "string":
            return TEXTS
        case "integer":
            return st.integers()
    return ANYTHING


RECORDS = {name: follow_type(found.record) for name, found in OF_RECORDS.items()}
RECORDS["conversations"] |= st.fixed_dictionaries({"image": TEXTS, "text": TEXTS})
RECORDS["daquar"] |= st.tuples(TEXTS, TEXTS, st.just("image3"))
RECORDS["visual_genome"] = st.fixed_dictionaries({"qas": st.lists(follow_type(QUESTION_OF_VISUAL_GENOME), max_size=2)})


@pytest.mark.parametrize("name", OF_RECORDS)
def test_whatever_a_record_holds_its_fields_fit_the_tables_or_it_is_malformed(name):
    source = SOURCE.validate_python({"name": "s", "format": name, "files": "none", "splits": "train"})
    parse = OF_RECORDS[name].build_parser(source, Path("/"))
    found = []

    @settings(max_examples=60, derandomize=True)
    @given(RECORDS[name])
    def check(record: Any) -> None:
        try:
            fields = parse(RawRecord("question", json.dumps(record).encode(), Locator("file.json", 0)))
        except (MalformedRecord, ValidationError):
            return
        found.append(fields)
        pa.array([fields["answers"]], ANSWERS)
        pa.array([fields["question_type"], fields["answer_type"]], pa.string())
        assert [type(fields["image"]), type(fields["question"])] == [str, str]
        assert type(fields["native_id"]) in (int, str, type(None))
        assert fields["native_id"] != ""
        assert fields["split"] is None

    check()
    assert found or name == "nlvr2", "every record was refused at the door"  # nlvr2: each shows two pictures
