"""Formats made of records: rows with their places, records that ask several questions, and those that ask none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import Locator, QuestionFields, RawRecord
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.formats.records import (
    RecordsFormat,
    RecordsSource,
    in_lines,
    in_list,
    in_object,
    take_answers,
    write_out,
)


class Scene(TypedDict):
    picture: Annotated[str, Field(strict=True)]
    asks: list[str]


class SceneSource(RecordsSource):
    format: Literal["scene"] = "scene"


def ask(_settings: SceneSource, scene: Scene, locator: Locator) -> list[QuestionFields]:
    if scene["picture"] == "bad":
        raise MalformedRecord("scene_bad", "bad", "mend")
    return [make_fields(scene["picture"], text, f"{locator.file}-{locator.record}") for text in scene["asks"]]


def make_fields(image: str, question: str, native_id: str) -> QuestionFields:
    return QuestionFields(
        native_id=native_id,
        image=image,
        question=question,
        split=None,
        question_type=None,
        answer_type=None,
        answers=take_answers("yes"),
    )


def make_format(layout: Any, record: Any = Scene) -> RecordsFormat[SceneSource, Any]:
    return RecordsFormat(layout, TypeAdapter(record), ask, lambda sample: None)


def read(folder: Path, content: str, layout: Any, record: Any = Scene) -> tuple[list[RawRecord], Any]:
    (folder / "scenes.json").write_text(content)
    source = SceneSource(name="scenes", files="scenes.json")
    chosen = make_format(layout, record)
    return list(chosen.read(source, folder)), chosen.build_parser(source, folder)


FIRST = '{"picture": "1.png", "asks": ["a?", "b?"]}'
SECOND = '{"picture": "2.png", "asks": ["c?"]}'
TWO = f"[{FIRST}, {SECOND}]"


def test_each_question_of_a_record_is_a_row_with_its_place(tmp_path):
    rows, parse = read(tmp_path, TWO, in_list())
    assert [row.locator for row in rows] == [
        Locator("scenes.json", 0, 0, 1),
        Locator("scenes.json", 0, 1, 1),
        Locator("scenes.json", 1, None, TWO.index(SECOND)),
    ]
    assert [row.payload for row in rows] == [FIRST.encode(), FIRST.encode(), SECOND.encode()]
    assert [(parse(row)["image"], parse(row)["question"]) for row in rows] == [
        ("1.png", "a?"),
        ("1.png", "b?"),
        ("2.png", "c?"),
    ]


def test_rows_may_be_parsed_in_any_order(tmp_path):
    rows, parse = read(tmp_path, TWO, in_list())
    assert [parse(row)["question"] for row in reversed(rows)] == ["c?", "b?", "a?"]


def test_a_record_that_is_not_of_its_type_is_one_row_and_says_why(tmp_path):
    rows, parse = read(tmp_path, '[{"picture": 7, "asks": ["a?", "b?"]}]', in_list())
    [row] = rows
    with pytest.raises(ValidationError, match="picture"):
        parse(row)


def test_a_record_that_the_format_refuses_is_one_row(tmp_path):
    rows, parse = read(tmp_path, '[{"picture": "bad", "asks": ["a?", "b?"]}]', in_list())
    [row] = rows
    with pytest.raises(MalformedRecord, match="bad"):
        parse(row)


def test_a_record_that_asks_nothing_has_a_fate_too(tmp_path):
    rows, parse = read(tmp_path, '[{"picture": "1.png", "asks": []}]', in_list())
    [row] = rows
    with pytest.raises(MalformedRecord) as refused:
        parse(row)
    assert refused.value.rule == "question_missing"


def test_records_under_a_key_of_the_file_s_object(tmp_path):
    rows, _ = read(tmp_path, '{"info": {}, "scenes": ' + TWO + "}", in_list("scenes"))
    assert len(rows) == 3


def test_members_of_an_object_keep_their_key(tmp_path):
    content = f'{{"s1": {FIRST}, "s\\u00e9": {SECOND}}}'
    rows, _ = read(tmp_path, content, in_object)
    assert [row.payload.decode() for row in rows] == [f'{{"s1": {FIRST}}}', f'{{"sé": {SECOND}}}']
    assert [row.locator.byte_offset for row in rows] == [content.index(FIRST), content.index(SECOND)]


def test_lines_have_numbers(tmp_path):
    rows, _ = read(tmp_path, '{"picture": "1.png", "asks": ["a?"]}\n\n{"picture": "2.png", "asks": ["b?"]}', in_lines)
    assert [row.locator.line for row in rows] == [1, 3]


def test_a_file_of_another_layout_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"scenes\.json"):
        read(tmp_path, '{"scenes": 7}', in_list())


def test_answers_without_ids_are_told_apart_by_their_position():
    assert take_answers("yes", "yes") == [
        {"answer": "yes", "answer_id": 1, "answer_confidence": None},
        {"answer": "yes", "answer_id": 2, "answer_confidence": None},
    ]


@pytest.mark.parametrize(("value", "written"), [("a", "a"), (3, "3"), (2.5, "2.5"), (True, "true"), ("é", "é")])
def test_answers_that_are_no_texts_are_written_as_the_file_writes_them(value, written):
    assert write_out(value) == written
