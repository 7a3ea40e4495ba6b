"""Formats made of records: rows with their places, records that ask several questions, and those that ask none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import Locator, QuestionFields, RawRecord
from vqa_pipeline.sources.formats.format import MalformedRecord, Sample
from vqa_pipeline.sources.formats.records import (
    RecordsFormat,
    RecordsSource,
    ask_each,
    claim,
    hold,
    in_lines,
    in_list,
    in_object,
    take_answers,
    write_out,
)


class Scene(TypedDict):
    picture: str
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


def test_a_key_with_half_a_character_costs_its_record_alone(tmp_path):
    bad, good = read(tmp_path, f'{{"\\ud800": {FIRST}, "b": {SECOND}}}', in_object)[0]
    with pytest.raises(ValidationError, match="Invalid JSON"):
        TypeAdapter(dict[str, Scene]).validate_json(bad.payload)
    assert good.payload.decode() == f'{{"b": {SECOND}}}'


class Numbered(TypedDict):
    number: int


def test_values_are_never_taken_for_another_type(tmp_path):
    rows, parse = read(tmp_path, '[{"number": "7"}]', in_list(), Numbered)
    with pytest.raises(ValidationError, match="should be a valid integer"):
        parse(rows[0])


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


# --------------------------------------------------------------------------------------- questions that go wrong alone


def test_what_is_wrong_with_one_question_costs_only_that_one():
    def ask_one(text: str) -> QuestionFields:
        if text == "bad?":
            raise MalformedRecord("scene_bad", "bad", "mend")
        return make_fields("1.png", text, text)

    first, bad, last = ask_each(["a?", "bad?", "c?"], ask_one)
    assert [first["question"], last["question"]] == ["a?", "c?"]
    assert (bad.rule, bad.fix) == ("scene_bad", "mend")


def test_a_question_that_goes_wrong_alone_is_refused_when_it_is_parsed(tmp_path):
    def ask_all(_settings: SceneSource, scene: Scene, _locator: Locator) -> list[Any]:
        return [MalformedRecord("scene_bad", "bad", "mend"), make_fields(scene["picture"], "b?", "b")]

    (tmp_path / "scenes.json").write_text(f"[{FIRST}]")
    source = SceneSource(name="scenes", files="scenes.json")
    chosen = RecordsFormat(in_list(), TypeAdapter(Scene), ask_all, lambda sample: None)
    bad, good = chosen.read(source, tmp_path)
    parse = chosen.build_parser(source, tmp_path)
    with pytest.raises(MalformedRecord, match="bad"):
        parse(bad)
    assert parse(good)["question"] == "b?"


# ---------------------------------------------------------------------------------------------------------- the split


class SplitScene(Scene):
    part: str | None


def ask_with_split(_settings: SceneSource, scene: SplitScene, _locator: Locator) -> list[QuestionFields]:
    return [make_fields(scene["picture"], text, text) | {"split": scene["part"]} for text in scene["asks"]]


def read_splits(folder: Path, splits: Any, header: dict[str, Any] | None = None) -> list[str | None]:
    """The splits of a scene that says val and of one that says nothing."""
    scenes = [{"picture": "1.png", "asks": ["a?"], "part": part} for part in ("val", None)]
    (folder / "scenes.json").write_text(json.dumps({"scenes": scenes, **(header or {})}))
    source = SceneSource(name="scenes", files="scenes.json", splits=splits)
    chosen = RecordsFormat(
        in_list("scenes"), TypeAdapter(SplitScene), ask_with_split, lambda sample: None, split_key="part_of_all"
    )
    parse = chosen.build_parser(source, folder)
    return [parse(row)["split"] for row in chosen.read(source, folder)]


def test_a_record_s_own_split_comes_before_its_file_s(tmp_path):
    assert read_splits(tmp_path, "declared", {"part_of_all": "test"}) == ["val", "test"]


@pytest.mark.parametrize("header", [None, {"part_of_all": None}, {"part_of_all": ["test"]}, {"part_of_all": 7}])
def test_a_split_that_is_said_nowhere_is_asked_for(tmp_path, header):
    with pytest.raises(MalformedRecord) as refused:
        read_splits(tmp_path, "declared", header)
    assert refused.value.rule == "split_unknown"


@pytest.mark.parametrize("splits", ["by_image", "train", "val", "test"])
def test_what_records_say_of_their_split_counts_only_where_it_is_asked_for(tmp_path, splits):
    assert read_splits(tmp_path, splits, {"part_of_all": "test"}) == [None, None]


def test_a_split_from_a_field_that_the_settings_name_is_the_format_s_own_matter(tmp_path):
    assert read_splits(tmp_path, {"column": "part"}, {"part_of_all": "test"}) == ["val", None]


# --------------------------------------------------------------------------------------------------------- recognition


def sample(*records: Any) -> Sample:
    return Sample("folder/scenes.json", b"", "list", {}, records)


def test_a_sample_holds_what_most_of_its_records_have():
    whole, part = {"picture": "1.png", "asks": []}, {"picture": "1.png"}
    assert hold(sample(whole, whole, part), "picture", "asks")
    assert hold(sample(whole, "damaged", whole), "picture", "asks")
    assert not hold(sample(whole, part), "picture", "asks")
    assert not hold(sample(), "picture")


def test_a_claim_names_the_file_and_settings():
    assert claim(sample(), 0.5, splits="val") == (0.5, {"files": "folder/scenes.json", "splits": "val"})
