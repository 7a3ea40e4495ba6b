"""`vqa_v2`: the official two files and what is distributed in their form."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import Locator, RawRecord
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.formats.vqa_v2 import VqaV2Format, VqaV2Source

QUESTIONS = [
    {"image_id": 458752, "question": "What is this photo taken looking through?", "question_id": 458752000},
    {"image_id": 9, "question": "Is it “red”?", "question_id": 9001},
]
TEN = [
    {"answer": word, "answer_confidence": "yes", "answer_id": n} for n, word in enumerate(["net"] * 9 + ["fence"], 1)
]
ANNOTATIONS = [
    {
        "question_type": "what is this",
        "multiple_choice_answer": "net",
        "answers": TEN,
        "image_id": 458752,
        "answer_type": "other",
        "question_id": 458752000,
    }
]
HEADER = {"info": {"year": 2017, "questions": [1]}, "task_type": "Open-Ended", "data_type": "mscoco"}


def make_source(**settings: Any) -> VqaV2Source:
    return VqaV2Source.model_validate({"name": "vqa", "format": "vqa_v2", "questions": "questions*", **settings})


def write_questions(folder: Path, records: list[Any] = QUESTIONS, name: str = "questions.json", **header: Any) -> None:
    (folder / name).write_text(json.dumps({**HEADER, **header, "questions": records}))


def write_annotations(folder: Path, name: str = "annotations.json") -> None:
    (folder / name).write_text(json.dumps({**HEADER, "data_subtype": "train2014", "annotations": ANNOTATIONS}))


def read(root: Path, **settings: Any) -> list[RawRecord]:
    return list(VqaV2Format().read(make_source(**settings), root))


def parse(root: Path, **settings: Any) -> list[dict[str, Any]]:
    source = make_source(**settings)
    parser = VqaV2Format().build_parser(source, root)
    return [dict(parser(record)) for record in VqaV2Format().read(source, root)]


def refuse(root: Path, **settings: Any) -> MalformedRecord:
    with pytest.raises(MalformedRecord) as caught:
        parse(root, **settings)
    return caught.value


# ---------------------------------------------------------------------------------------------------- the official form


def test_questions_and_annotations_are_records_of_their_own_kind(tmp_path):
    write_questions(tmp_path, data_subtype="train2014")
    write_annotations(tmp_path)
    records = read(tmp_path, annotations="annotations.json")
    assert [(record.kind, str(record.locator)) for record in records] == [
        ("question", "questions.json[0]"),
        ("question", "questions.json[1]"),
        ("annotation", "annotations.json[0]"),
    ]
    assert [json.loads(record.payload) for record in records] == [*QUESTIONS, *ANNOTATIONS]


def test_fields_of_the_official_form(tmp_path):
    write_questions(tmp_path, data_subtype="train2014")
    write_annotations(tmp_path)
    first, _, annotation = parse(tmp_path, annotations="annotations.json")
    assert first == {
        "native_id": 458752000,
        "image": "COCO_train2014_000000458752.jpg",
        "question": "What is this photo taken looking through?",
        "split": "train",
        "question_type": None,
        "answer_type": None,
        "answers": None,
        "paraphrase_of": None,
    }
    assert annotation == {
        "native_id": 458752000,
        "question_type": "what is this",
        "answer_type": "other",
        "answers": TEN,
    }


@pytest.mark.parametrize(("of", "told"), [({"rephrasing_of": 7}, "7"), ({"rephrasing_of": None}, None), ({}, None)])
def test_a_rephrasing_names_its_original(tmp_path, of, told):
    write_questions(tmp_path, [{**QUESTIONS[0], **of}], data_subtype="val2014")
    [fields] = parse(tmp_path)
    assert fields["paraphrase_of"] == told
    assert fields["split"] == "val"


@pytest.mark.parametrize("name", ["questions.json", "questions.json.gz", "questions_train.gzip"])
def test_gzip_is_read_whatever_the_file_is_called(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(json.dumps({"questions": QUESTIONS}).encode()))
    assert [json.loads(record.payload) for record in read(tmp_path)] == QUESTIONS


def test_offsets_point_into_the_uncompressed_file(tmp_path):
    text = json.dumps({**HEADER, "questions": QUESTIONS}, indent=1).encode()
    (tmp_path / "questions.gz").write_bytes(gzip.compress(text))
    for record in read(tmp_path):
        offset = record.locator.byte_offset
        assert text[offset : offset + len(record.payload)] == record.payload


def test_answers_without_id_or_confidence_keep_nulls(tmp_path):
    write_questions(tmp_path, [], data_subtype="val2014")
    (tmp_path / "annotations.json").write_text(
        json.dumps(
            {"annotations": [{"question_id": "a1", "answers": [{"answer": "yes"}], "multiple_choice_answer": 3}]}
        )
    )
    assert parse(tmp_path, annotations="annotations.json") == [
        {
            "native_id": "a1",
            "question_type": None,
            "answer_type": None,
            "answers": [{"answer": "yes", "answer_id": None, "answer_confidence": None}],
        }
    ]


# --------------------------------------------------------------------------------------------------------- image names


@pytest.mark.parametrize(
    ("subtype", "pattern", "image_id", "expected"),
    [
        ("train2014", None, 9, "COCO_train2014_000000000009.jpg"),
        ("test-dev2015", None, 9, "COCO_test2015_000000000009.jpg"),  # test-dev shows images of test
        ("val2017", "{image_id:012d}.jpg", 9, "000000000009.jpg"),
        ("val2014", "{data_subtype}/{image_id}.png", 9, "val2014/9.png"),
        (
            "train2015",
            "abstract_v002_{data_subtype}_{image_id:012d}.png",
            20,
            "abstract_v002_train2015_000000000020.png",
        ),
        ("val2014", "{image_id:03d}.jpg", 12345, "12345.jpg"),
        ("VizWiz-validation", None, "VizWiz_val_00000000.jpg", "VizWiz_val_00000000.jpg"),
        ("TextVQA-validation", "{image_id}.jpg", "003a8ae2ef43b901", "003a8ae2ef43b901.jpg"),
    ],
)
def test_images_are_named_by_the_pattern(tmp_path, subtype, pattern, image_id, expected):
    write_questions(tmp_path, [{**QUESTIONS[0], "image_id": image_id}], data_subtype=subtype)
    settings = {"image_pattern": pattern} if pattern else {}
    assert parse(tmp_path, **settings)[0]["image"] == expected


def test_each_file_has_its_own_subtype(tmp_path):
    write_questions(tmp_path, QUESTIONS[:1], "questions-1.json", data_subtype="val2014")
    write_questions(tmp_path, QUESTIONS[1:], "questions-2.json", data_subtype="train2014")
    rows = parse(tmp_path)
    assert [row["split"] for row in rows] == ["val", "train"]
    assert [row["image"][:14] for row in rows] == ["COCO_val2014_0", "COCO_train2014"]


def test_a_subtype_after_the_records_is_found(tmp_path):
    (tmp_path / "questions.json").write_text(json.dumps({"questions": QUESTIONS, "data_subtype": "val2014"}))
    assert parse(tmp_path)[0]["split"] == "val"


def test_the_setting_stands_in_for_a_missing_subtype(tmp_path):
    write_questions(tmp_path)
    row = parse(tmp_path, data_subtype="train2014")[0]
    assert (row["image"], row["split"]) == ("COCO_train2014_000000458752.jpg", "train")


def test_a_missing_subtype_rejects_each_row_and_says_what_to_set(tmp_path):
    write_questions(tmp_path)
    error = refuse(tmp_path, splits="train")
    assert error.rule == "image_name_unknown"
    assert "COCO_{data_subtype}_{image_id:012d}.jpg" in error.reason
    assert "`data_subtype`" in error.fix


@pytest.mark.parametrize(
    "pattern",
    [
        "image.jpg",
        "{data_subtype}.jpg",
        "{image_id!r}.jpg",
        "{image_id.__class__}.jpg",
        "{image_id[0]}.jpg",
        "{image_id:>9}.jpg",
        "{image_id:012d}{other}.jpg",
        "{image_id}.jpg}",
        "{0}{image_id}",
    ],
)
def test_a_pattern_may_only_hold_the_two_fields(pattern):
    with pytest.raises(ValidationError, match=r"may hold \{image_id\}"):
        make_source(image_pattern=pattern)


# -------------------------------------------------------------------------------------------------------------- splits


@pytest.mark.parametrize(
    ("subtype", "split"),
    [
        ("train2014", "train"),
        ("val2014", "val"),
        ("test2015", "test"),
        ("test-dev2015", "test"),
        ("VizWiz-validation", "val"),
    ],
)
def test_the_subtype_declares_the_split(tmp_path, subtype, split):
    write_questions(tmp_path, data_subtype=subtype)
    assert parse(tmp_path)[0]["split"] == split


def test_a_record_may_declare_its_own_split(tmp_path):
    write_questions(tmp_path, [{**QUESTIONS[0], "split": "valid"}, QUESTIONS[1]], data_subtype="train2014")
    assert [row["split"] for row in parse(tmp_path)] == ["valid", "train"]


@pytest.mark.parametrize("subtype", [None, "minival", 2014])
def test_without_any_declared_split_each_row_says_what_to_set(tmp_path, subtype):
    write_questions(tmp_path, **({"data_subtype": subtype} if subtype else {}))
    error = refuse(tmp_path, image_pattern="{image_id}.jpg")
    assert error.rule == "split_unknown"
    assert "by_image" in error.fix


@pytest.mark.parametrize("splits", ["by_image", "train", "val", "test"])
def test_other_splits_are_not_the_parser_s_matter(tmp_path, splits):
    write_questions(tmp_path, [{**QUESTIONS[0], "split": "valid"}], data_subtype="train2014")
    assert parse(tmp_path, splits=splits)[0]["split"] is None


def test_a_split_column_is_read_and_must_be_there(tmp_path):
    write_questions(tmp_path, [{**QUESTIONS[0], "fold": "dev"}, QUESTIONS[1]], data_subtype="train2014")
    source = make_source(splits={"column": "fold"})
    parser = VqaV2Format().build_parser(source, tmp_path)
    first, second = VqaV2Format().read(source, tmp_path)
    assert parser(first)["split"] == "dev"
    with pytest.raises(MalformedRecord, match="`fold` holds no split"):
        parser(second)


def test_a_file_is_only_searched_for_its_subtype_when_that_matters(tmp_path):
    (tmp_path / "questions.json").write_text('{"questions": [], "data_subtype": train}')
    settings = {"splits": "train", "image_pattern": "{image_id}.jpg"}
    VqaV2Format().build_parser(make_source(**settings), tmp_path)
    with pytest.raises(SourceError, match="a value expected"):
        VqaV2Format().build_parser(make_source(), tmp_path)


# ---------------------------------------------------------------------------------------------------------- bad records


@pytest.mark.parametrize(
    "change",
    [
        {"question_id": None},
        {"question_id": 1.0},
        {"question_id": True},
        {"question_id": ""},
        {"image_id": None},
        {"image_id": [1]},
        {"question": 7},
        {"question": None},
        {"question": "\ud800"},
    ],
)
def test_a_question_of_wrong_types_is_refused(tmp_path, change):
    write_questions(tmp_path, [{**QUESTIONS[0], **change}], data_subtype="train2014")
    with pytest.raises(ValidationError):
        parse(tmp_path)


@pytest.mark.parametrize("missing", ["question_id", "image_id", "question"])
def test_a_question_without_a_field_is_refused(tmp_path, missing):
    record = {name: value for name, value in QUESTIONS[0].items() if name != missing}
    write_questions(tmp_path, [record], data_subtype="train2014")
    with pytest.raises(ValidationError, match=missing):
        parse(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"answers": None},
        {"answers": "net"},
        {"answers": ["net"]},
        {"answers": [{"answer": 3}]},
        {"answers": [{"answer_id": 1}]},
        {"answers": [{"answer": "net", "answer_id": "1"}]},
        {"answers": [{"answer": "net", "answer_id": True}]},
        {"answers": [{"answer": "net", "answer_id": 2**63}]},
        {"answers": [{"answer": "net", "answer_confidence": 1}]},
        {"answer_type": 7},
        {"question_id": None},
    ],
)
def test_an_annotation_of_wrong_types_is_refused(tmp_path, change):
    write_questions(tmp_path, data_subtype="train2014")
    payload = json.dumps({**ANNOTATIONS[0], **change}).encode()
    record = RawRecord("annotation", payload, Locator("annotations.json", 0))
    parser = VqaV2Format().build_parser(make_source(), tmp_path)
    with pytest.raises(ValidationError):
        parser(record)


def test_one_malformed_record_costs_only_itself(tmp_path):
    text = json.dumps({"questions": [QUESTIONS[0], "BAD", QUESTIONS[1]], "data_subtype": "val2014"})
    (tmp_path / "questions.json").write_text(text.replace('"BAD"', '{"question_id": 7, }'))
    source = make_source()
    parser = VqaV2Format().build_parser(source, tmp_path)
    first, bad, last = VqaV2Format().read(source, tmp_path)
    assert (parser(first)["native_id"], parser(last)["native_id"]) == (458752000, 9001)
    with pytest.raises(ValidationError, match="Invalid JSON"):
        parser(bad)


def test_a_file_that_breaks_off_costs_its_last_question_and_not_its_subtype(tmp_path):
    text = '{"data_subtype": "val2014", "questions": [{"question_id": 1, "image_id": 2, "question": "a?"}, {"ques'
    (tmp_path / "questions.json").write_text(text)
    whole, cut = read(tmp_path)
    parse = VqaV2Format().build_parser(make_source(), tmp_path)
    assert (parse(whole)["split"], parse(whole)["image"]) == ("val", "COCO_val2014_000000000002.jpg")
    assert cut.payload == b'{"ques'
    with pytest.raises(ValidationError, match="EOF"):
        parse(cut)


# ----------------------------------------------------------------------------------------------------------- bad worlds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "an object expected"),
        ('{"annotations": []}', 'no "questions" in the object'),
        ('{"questions": {"1": {}}}', 'an array under "questions" expected'),
        ('{"questions": [{"question_id": 1}, {"q": "open}, {"q": "b"}]}', r"not closed: .* \(at byte 35\)"),
        ('{"info": {"year": 2', "ends inside"),
        ("<html>", "is a web page, not the file"),
        ("", "ends inside"),
    ],
)
def test_a_file_of_another_form_is_an_error_that_names_it(tmp_path, text, reason):
    (tmp_path / "questions.json").write_text(text)
    with pytest.raises(SourceError, match=reason) as caught:
        read(tmp_path)
    assert (caught.value.source, caught.value.setting) == ("vqa", "questions")
    assert caught.value.path == tmp_path / "questions.json"


def test_annotations_that_are_not_there_are_named(tmp_path):
    write_questions(tmp_path)
    with pytest.raises(SourceError, match="`annotations`: .*: no such file"):
        read(tmp_path, annotations="annotations.json")


def test_questions_files_and_annotations_files_are_found_in_this_order(tmp_path):
    write_questions(tmp_path)
    write_annotations(tmp_path)
    found = VqaV2Format().find_files(make_source(annotations="annotations.json"), tmp_path)
    assert [path.name for path in found] == ["questions.json", "annotations.json"]
