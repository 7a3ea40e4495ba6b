"""Records: each raw record becomes a record or a reject with its rule, place, payload and fix, block by block."""

from __future__ import annotations

import gc
import gzip
import io
import json
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from curation_world import (
    Row,
    encode_lines,
    make_answers,
    make_table_source,
    make_vqa_source,
    read_tree,
    write_files,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_pipeline.curation.records import RecordsSummary, describe_reject, validate_source
from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import ANNOTATION_RECORDS, QUESTION_RECORDS, REJECTS, Locator, RawRecord, Reject
from vqa_pipeline.sources.formats import FORMATS, Source
from vqa_pipeline.sources.formats.table import TableFormat

GOOD: Row = {"id": "7", "image": "a/1.png", "question": "What is it?", "answers": ["red"], "split": "train", "type": ""}


def validate(root: Path, source: Source | None = None, output: str = "records", **told: int) -> RecordsSummary:
    (root / output).mkdir()
    return validate_source(source or make_table_source(image_root=None), root, root / output, **told)


def read_rows(root: Path, kind: str, output: str = "records") -> list[Row]:
    return [row for path in sorted((root / output).glob(f"{kind}-*")) for row in pq.read_table(path).to_pylist()]


def validate_rows(root: Path, *rows: Any, **told: Any) -> tuple[list[Row], list[Row], RecordsSummary]:
    """Questions, rejects and summary of a table of such rows."""
    write_files(root, {"clinic.jsonl": encode_lines(rows)})
    summary = validate(root, make_table_source(image_root=None, **told))
    return read_rows(root, "questions"), read_rows(root, "rejects"), summary


# -------------------------------------------------------------------------------------------------------- valid records


def test_a_valid_row_becomes_a_record(tmp_path):
    rows, rejects, summary = validate_rows(tmp_path, {**GOOD, "type": "what", "image": "a\\1.png"})
    payload = json.dumps({**GOOD, "type": "what", "image": "a\\1.png"}).encode()
    assert rows == [
        {
            "question_id": "clinic/7",
            "native_id": '"7"',
            "image": "a/1.png",
            "question": "What is it?",
            "split": "train",
            "question_type": "what",
            "answer_type": None,
            "paraphrase_of": None,
            "answers": [{"answer": "red", "answer_id": 1, "answer_confidence": None}],
            "repairs": [{"kind": "backslash", "before": "a\\1.png", "after": "a/1.png"}],
            "locator": {"file": "clinic.jsonl", "record": 0, "item": None, "byte_offset": 0, "line": 1},
            "raw": payload,
        }
    ]
    assert rejects == []
    assert summary.model_dump(exclude={"data_version"}) == {
        "num_question_records": 1,
        "num_annotation_records": 0,
        "num_questions": 1,
        "num_annotations": 0,
        "num_rejects": 0,
        "num_embedded_images": 0,
        "has_annotations": False,
        "num_files": 1,
        "num_junk_files": 0,
        "encodings": {},
        "rejects_by_rule": {},
        "repairs_by_kind": {"backslash": 1},
        "corrections_by_action": {},
        "unfit_corrections": (),
        "fields": {
            "question.answers": {"a list": 1},
            "question.id": {"a text": 1},
            "question.image": {"a text": 1},
            "question.question": {"a text": 1},
            "question.split": {"a text": 1},
            "question.type": {"a text": 1},
        },
    }


def write_vqa(root: Path, questions: list[Any], annotations: list[Any]) -> None:
    files = {
        "vqa-questions.json": json.dumps({"questions": questions}).encode(),
        "vqa-annotations.json": json.dumps({"annotations": annotations}).encode(),
    }
    write_files(root, files)


def test_annotations_are_records_of_their_own(tmp_path):
    asked = {"question_id": 7, "image_id": 3, "question": "What?"}
    told = {"question_id": 7, "answers": [{"answer": "red", "answer_confidence": "yes"}], "answer_type": "other"}
    write_vqa(tmp_path, [asked], [told, {"question_id": 8, "answers": []}, {"answers": 3}])
    summary = validate(tmp_path, make_vqa_source(image_root=None))
    (question,) = read_rows(tmp_path, "questions")
    assert (question["question_id"], question["native_id"], question["image"]) == ("vqa/7", "7", "3.png")
    (annotation,) = read_rows(tmp_path, "annotations")
    assert annotation == {
        "question_id": "vqa/7",
        "question_type": None,
        "answer_type": "other",
        "answers": [{"answer": "red", "answer_id": None, "answer_confidence": "yes"}],
        "locator": annotation["locator"],
        "raw": json.dumps(told).encode(),
    }
    assert [(row["kind"], row["rule"], row["locator"]["record"]) for row in read_rows(tmp_path, "rejects")] == [
        ("annotation", "answers_empty", 1),
        ("annotation", "record_malformed", 2),
    ]
    assert (summary.num_question_records, summary.num_annotation_records) == (1, 3)
    assert (summary.num_questions, summary.num_annotations, summary.num_rejects) == (1, 1, 2)
    assert summary.has_annotations


def test_records_have_the_documented_schemas(tmp_path):
    write_vqa(tmp_path, [{"question_id": 1, "image_id": 1, "question": "a"}, 3], [{"question_id": 1, "answers": []}])
    (tmp_path / "vqa-annotations.json").write_text(
        '{"annotations": [{"question_id": 1, "answers": [{"answer": "a"}]}]}'
    )
    validate(tmp_path, make_vqa_source(image_root=None))
    schemas = {"questions": QUESTION_RECORDS, "annotations": ANNOTATION_RECORDS, "rejects": REJECTS}
    for kind, schema in schemas.items():
        assert pq.read_schema(tmp_path / "records" / f"{kind}-00000.parquet").equals(schema), kind


@pytest.mark.parametrize(
    ("splits", "word", "split"),
    [
        ({"column": "split"}, "valid", "val"),
        ({"column": "split"}, " TEST ", "test"),
        ({"column": "split"}, None, None),
        ("by_image", "val", None),
        ("train", "val", "train"),
        ("test", "no split", "test"),
    ],
)
def test_a_split_is_the_settings_or_the_rows_or_none(tmp_path, splits, word, split):
    rows, _, _ = validate_rows(tmp_path, {**GOOD, "split": word}, splits=splits)
    assert [row["split"] for row in rows] == [split]


def test_a_row_without_id_is_named_by_its_image_and_question(tmp_path):
    same = {"image": "a/1.png", "question": "What is it?"}
    lines = [same, {**same, "answers": ["other"]}, {**same, "image": "a\\1.png"}, {**same, "image": "a/2.png"}]
    lines += [{"image": "a", "question": "bc"}, {"image": "ab", "question": "c"}]
    rows, _, _ = validate_rows(tmp_path, *[{"answers": ["red"], **line} for line in lines], columns={}, splits="train")
    ids = [row["question_id"] for row in rows]
    # sha256 of "7:a/1.pngWhat is it?"
    assert ids[0] == ids[1] == ids[2] == "clinic/054fd519a9f6bf02"
    assert len(set(ids)) == 4
    assert {row["native_id"] for row in rows} == {None}


def test_ids_that_are_numbers_and_texts_keep_their_type_beside_one_question_id(tmp_path):
    rows, _, _ = validate_rows(tmp_path, {**GOOD, "id": 7}, {**GOOD, "id": "7"}, {**GOOD, "id": "é/ä"})
    told = [(row["question_id"], row["native_id"]) for row in rows]
    assert told == [("clinic/7", "7"), ("clinic/7", '"7"'), ("clinic/é/ä", '"é/ä"')]


# -------------------------------------------------------------------------------------------------------------- rejects

BROKEN = [
    # a row, its rule, a part of the reason, the fix
    ({"question": ""}, "question_empty", "the question is empty", "Write the question, or remove the row."),
    ({"question": " \t"}, "question_empty", "the question is empty", "Write the question, or remove the row."),
    ({"answers": []}, "answers_empty", "there is no answer in it", "Write an answer, or remove the row."),
    ({"answers": ["", " "]}, "answers_empty", "there is no answer in it", "Write an answer, or remove the row."),
    ({"answers": ""}, "answers_empty", "there is no answer in it", "Write an answer, or remove the row."),
    (
        {"split": "holdout"},
        "split_unknown",
        "'holdout' is no split",
        "Write train, val (valid, validation, dev) or test.",
    ),
    ({"image": ""}, "image_path_empty", "is empty", "Name the image's file."),
    (
        {"image": "../1.png"},
        "image_path_parent",
        "leads upwards",
        "Set `image_root` to the folder that holds every image.",
    ),
    ({"image": "http://a/1.png"}, "image_path_scheme", "is an address", "Download the image and name its file."),
    ({"image": "1\0.png"}, "image_path_nul", "holds a NUL", "Remove it; the name may have been cut there on purpose."),
    ({"image": "1\n.png"}, "image_path_control", "a control character", "Remove it."),
    ({"image": "a/nul.png"}, "image_path_reserved", "names the device 'nul.png'", "Rename the file."),
    (
        {"image": "a" * 2000},
        "image_path_too_long",
        "2000 characters",
        "Name the image's file, relative to the image root.",
    ),
    ({"question": 7}, "record_malformed", "`question` is a number", "Make `question` a text."),
    ({"image": None}, "record_malformed", "`image` is null", "Make `image` a text."),
    ({"id": True}, "record_malformed", "`id` is true or false", "Give the row an id in `id`."),
    ({"answers": [{"text": "red"}]}, "record_malformed", "answer 1", "Make every answer in `answers` a text."),
]


@pytest.mark.parametrize(("change", "rule", "reason", "fix"), BROKEN)
def test_a_broken_row_is_kept_with_its_rule_reason_fix_place_and_payload(tmp_path, change, rule, reason, fix):
    row = json.dumps({**GOOD, **change}).encode()
    good = json.dumps(GOOD).encode()
    kept, rejects, summary = validate_rows(tmp_path, good, row, good)
    assert [one["locator"]["record"] for one in kept] == [0, 2]
    (reject,) = rejects
    assert reason in reject.pop("reason")
    is_understood = rule != "record_malformed"  # so far that its id and image are known
    assert reject == {
        "source": "clinic",
        "kind": "question",
        "question_id": "clinic/7" if is_understood else None,
        "image": change.get("image", "a/1.png") if is_understood else None,
        "fate": "rejected",
        "rule": rule,
        "fix": fix,
        "locator": {"file": "clinic.jsonl", "record": 1, "item": None, "byte_offset": len(good) + 1, "line": 2},
        "raw": row,
    }
    assert (summary.num_question_records, summary.num_questions, summary.num_rejects) == (3, 2, 1)
    assert summary.rejects_by_rule == {rule: 1}


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b'{"id": "7", "image":', "record_truncated"),
        (b'{"id": "7", "image": NaN}', "record_not_json"),
        (b"{]", "record_not_json"),
        (b'{"id": "7", "question": "caf\x81"}', "record_not_utf_8"),
        (b'["7", "1.png"]', "record_malformed"),
        (b"null", "record_malformed"),
        (b'{"id": "7", "image": "1.png"}', "record_malformed"),
    ],
)
def test_a_line_that_is_no_row_is_kept_as_it_is(tmp_path, line, rule):
    kept, rejects, _ = validate_rows(tmp_path, GOOD, line, GOOD)
    assert len(kept) == 2
    assert [(row["rule"], row["raw"]) for row in rejects] == [(rule, line)]


def test_a_file_that_breaks_off_costs_one_row_that_says_so(tmp_path):
    text = json.dumps([GOOD, GOOD | {"id": "9"}])
    write_files(tmp_path, {"clinic.jsonl": text[:-9].encode()})
    assert validate(tmp_path).rejects_by_rule == {"record_truncated": 1}
    (reject,) = read_rows(tmp_path, "rejects")
    assert reject["raw"] == text[text.index("}, ") + 3 : -9].encode()
    assert reject["fix"] == "Bring its file whole, or remove the record."


def test_texts_of_every_encoding_are_read_and_the_summary_tells_which_and_what_was_passed_by(tmp_path):
    row = json.dumps(GOOD | {"question": "Où est le café ?"}, ensure_ascii=False)
    contents = {
        "a.jsonl": row.encode(),
        "b.jsonl": ("\ufeff" + row).encode("utf-16-le"),
        "c.jsonl": row.encode("cp1252"),
        "d.jsonl": ("\ufeff" + row).encode(),
    }
    write_files(tmp_path, {f"raw/{name}": content for name, content in contents.items()} | {"raw/Thumbs.db": b"x"})
    summary = validate(tmp_path, make_table_source(image_root=None, files="raw"))
    assert {row["question"] for row in read_rows(tmp_path, "questions")} == {"Où est le café ?"}
    assert (summary.num_questions, summary.num_files, summary.num_junk_files) == (4, 4, 1)
    assert summary.encodings == {"b.jsonl": "utf-16", "c.jsonl": "cp1252", "d.jsonl": "utf-8-sig"}


def test_where_rows_lie_and_how_they_are_encoded_changes_no_data_version(tmp_path):
    rows = [GOOD | {"id": f"é{number}"} for number in range(9)] + [{}, GOOD]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("all/rows.jsonl", lines)
    contents = {
        "plain": lines.encode(),
        "listed": f"[{','.join(lines.splitlines())},]".encode(),
        "compressed": gzip.compress(lines.encode()),
        "zipped": packed.getvalue(),
        "wide": ("\ufeff" + lines).encode("utf-16-be"),
        "western": lines.encode("cp1252"),
    }
    write_files(tmp_path, contents)
    summaries = [validate(tmp_path, make_table_source(image_root=None, files=name), f"of-{name}") for name in contents]
    assert len({summary.data_version for summary in summaries}) == 1
    assert {(summary.num_questions, summary.num_rejects) for summary in summaries} == {(10, 1)}


def test_rows_of_an_archive_have_its_name_and_theirs(tmp_path):
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("train/a.jsonl", encode_lines([GOOD, {}]))
        archive.writestr("__MACOSX/train/._a.jsonl", b"\0\5\x16\7")
    summary = validate(tmp_path, make_table_source(image_root=None, files="rows.zip"))
    assert (summary.num_files, summary.num_junk_files) == (1, 1)
    assert [row["locator"]["file"] for kind in ("questions", "rejects") for row in read_rows(tmp_path, kind)] == [
        "rows.zip!/train/a.jsonl"
    ] * 2


def test_numbers_that_json_does_not_have_cost_their_row_wherever_they_stand(tmp_path):
    questions = [
        {"question_id": 1, "image_id": 1, "question": "a?", "score": float("nan")},
        {"question_id": 2, "image_id": 1, "question": "What is NaN, what Infinity?"},
        {"question_id": 3, "image_id": 1, "question": "b?", "score": -float("inf")},
    ]
    write_vqa(tmp_path, questions, [])
    validate(tmp_path, make_vqa_source(image_root=None))
    assert [row["question_id"] for row in read_rows(tmp_path, "questions")] == ["vqa/2"]
    assert [row["rule"] for row in read_rows(tmp_path, "rejects")] == ["record_not_json"] * 2


def test_what_pydantic_finds_is_told_in_a_sentence_of_at_most_three_findings(tmp_path):
    broken = {"question_id": 1, "answers": [{"answer": 1}, {"answer": 2}, {}, {"answer": None}]}
    write_vqa(tmp_path, [{"question_id": 1.5, "image_id": 1, "question": "a"}, {"question_id": 2}, []], [broken])
    validate(tmp_path, make_vqa_source(image_root=None))
    first, second, third, fourth = read_rows(tmp_path, "rejects")
    assert first["reason"].startswith("question_id.")
    assert second["reason"] == "image_id: Field required; question: Field required"
    assert third["reason"].startswith("the record: ")
    assert fourth["reason"].count("; ") == 3
    assert fourth["reason"].endswith("answers.2.answer: Field required; and 1 more")
    assert {row["rule"] for row in (first, second, third, fourth)} == {"record_malformed"}


def test_a_format_that_cannot_name_an_image_rejects_the_row(tmp_path):
    write_vqa(tmp_path, [{"question_id": 1, "image_id": 1, "question": "a"}], [])
    source = make_vqa_source(image_root=None, image_pattern="COCO_{data_subtype}_{image_id}.jpg")
    assert validate(tmp_path, source).rejects_by_rule == {"image_name_unknown": 1}


def test_the_first_rule_that_a_row_breaks_is_told(tmp_path):
    _, rejects, _ = validate_rows(tmp_path, {**GOOD, "question": " ", "image": "../1.png", "split": "x", "answers": []})
    assert [row["rule"] for row in rejects] == ["question_empty"]


def test_a_question_that_nobody_answered_is_no_reject(tmp_path):
    rows, rejects, _ = validate_rows(tmp_path, {**GOOD, "answers": None}, {**GOOD, "answers": ["", "red"]})
    assert [row["answers"] for row in rows] == [None, make_answers("", "red")]
    assert rejects == []


def test_a_reject_can_be_described_with_another_fate():
    raw = RawRecord("annotation", b"{}", Locator("a.json", 3, 1, 40, None))
    assert describe_reject("clinic", Reject("rule", "a reason", "A fix.", raw, "clinic/1", "excluded", "1.png")) == {
        "source": "clinic",
        "kind": "annotation",
        "question_id": "clinic/1",
        "fate": "excluded",
        "rule": "rule",
        "reason": "a reason",
        "fix": "A fix.",
        "image": "1.png",
        "locator": raw.locator,
        "raw": b"{}",
    }


# ------------------------------------------------------------------------------------------------------------ streaming


def test_records_are_written_block_by_block_and_digested_as_a_whole(tmp_path):
    rows = [{**GOOD, "id": str(number), "answers": [] if number % 5 == 3 else ["a"]} for number in range(11)]
    write_files(tmp_path, {"clinic.jsonl": encode_lines(rows)})
    summary = validate(tmp_path, block_rows=4)
    written = {path.name: pq.read_table(path) for path in sorted((tmp_path / "records").iterdir())}
    assert {name: table.num_rows for name, table in written.items()} == {
        "questions-00000.parquet": 3,
        "questions-00001.parquet": 4,
        "questions-00002.parquet": 2,
        "rejects-00000.parquet": 1,
        "rejects-00002.parquet": 1,
    }
    assert [table["question_id"].to_pylist() for name, table in written.items() if name.startswith("questions")] == [
        ["clinic/0", "clinic/1", "clinic/2"],
        ["clinic/4", "clinic/5", "clinic/6", "clinic/7"],
        ["clinic/9", "clinic/10"],
    ]
    assert validate(tmp_path, output="whole") == summary


def test_reading_is_at_most_one_block_ahead_of_writing(tmp_path, monkeypatch):
    """A format that looks, while it gives its records one by one, at what has been written of them by then."""
    (tmp_path / "records").mkdir()
    seen = []

    class WatchingFormat(TableFormat):
        def read(self, settings, root, most=None):
            for raw in super().read(settings, root):
                seen.append(len(list((root / "records").iterdir())))
                yield raw

    write_files(tmp_path, {"clinic.jsonl": encode_lines([GOOD] * 13)})
    monkeypatch.setitem(FORMATS, "table", WatchingFormat())
    validate_source(make_table_source(image_root=None), tmp_path, tmp_path / "records", block_rows=3)
    handed_over = [number // 3 for number in range(13)]
    assert all(blocks - 1 <= written <= blocks for written, blocks in zip(seen, handed_over, strict=True)), seen
    assert len(list((tmp_path / "records").iterdir())) == 5


def test_a_source_without_rows_of_a_kind_writes_no_file_of_it(tmp_path):
    write_files(tmp_path, {"clinic.jsonl": b"[]"})
    assert validate(tmp_path).num_question_records == 0
    assert read_tree(tmp_path / "records") == {}


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_as_it_was_before_also_when_reading_fails(tmp_path, was_enabled):
    write_files(tmp_path, {"clinic.jsonl": b'[{"id": 1}} '})
    (gc.enable if was_enabled else gc.disable)()
    try:
        with pytest.raises(SourceError, match="clinic.jsonl"):
            validate(tmp_path)
        assert gc.isenabled() == was_enabled
    finally:
        gc.enable()


def test_a_missing_file_is_no_reject_but_an_error(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        validate(tmp_path)


# --------------------------------------------------------------------------------------------------------- data version

LINES = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(0, 5),
            "image": st.sampled_from(["1.png", "a\\2.png", "../3.png"]),
            "question": st.sampled_from(["What?", "", "Wo?"]),
            "answers": st.sampled_from([["red"], None, [], "blue"]),
            "split": st.sampled_from(["train", "dev", "?"]),
        }
    ),
    min_size=1,
    max_size=8,
)


def compute_data_version(*files: list[Any], **told: int) -> str:
    with TemporaryDirectory() as folder:
        write_files(Path(folder), {f"clinic-{n}.jsonl": encode_lines(rows) for n, rows in enumerate(files) if rows})
        return validate(Path(folder), **told).data_version


@settings(max_examples=15, deadline=None)
@given(LINES, st.data())
def test_the_data_version_knows_no_order_of_rows_no_files_and_no_blocks(rows, data):
    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    block_rows = data.draw(st.integers(1, 9))
    assert compute_data_version(shuffled[:cut], shuffled[cut:], block_rows=block_rows) == compute_data_version(rows)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "8"},
        {"id": 7},
        {"image": "a/2.png"},
        {"question": "what is it?"},
        {"answers": ["red", "red"]},
        {"answers": None},
        {"split": "val"},
        {"type": "what"},
        {"of": "6"},
        {"question": ""},
    ],
)
def test_the_data_version_changes_with_whatever_a_row_says(change):
    assert compute_data_version([GOOD, {**GOOD, **change}]) != compute_data_version([GOOD, GOOD])


def test_the_data_version_counts_rows_and_what_rejects_hold():
    assert compute_data_version([GOOD]) != compute_data_version([GOOD, GOOD])
    assert compute_data_version([GOOD, {"id": 1}]) != compute_data_version([GOOD, {"id": 2}])


@pytest.mark.parametrize("change", [{"image": "a\\1.png"}, {"image": "./a/1.png"}, {"split": "training"}, {"more": 3}])
def test_the_data_version_does_not_change_with_how_it_is_said(change):
    assert compute_data_version([{**GOOD, **change}]) == compute_data_version([GOOD])


def test_the_same_files_give_the_same_bytes(tmp_path):
    write_files(tmp_path, {"clinic.jsonl": encode_lines([GOOD, {"id": 1}, {**GOOD, "id": "8"}])})
    for output in ("one", "two"):
        validate(tmp_path, output=output)
    assert read_tree(tmp_path / "one") == read_tree(tmp_path / "two")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40) | LINES.map(lambda rows: json.dumps(rows[0]).encode()), max_size=8))
def test_whatever_the_lines_are_each_becomes_a_record_or_a_reject_in_order(lines):
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write_files(root, {"clinic.jsonl": encode_lines([GOOD, *lines])})
        summary = validate(root)
        kept, rejects = read_rows(root, "questions"), read_rows(root, "rejects")
    for rows in (kept, rejects):
        numbers = [row["locator"]["record"] for row in rows]
        assert numbers == sorted(numbers)
    numbers = [row["locator"]["record"] for row in [*kept, *rejects]]
    assert sorted(numbers) == list(range(summary.num_question_records))
    assert summary.num_question_records >= 1 + sum(line.startswith(b'{"id"') for line in lines)


# --------------------------------------------------------------------------------------------------------- split lists


def test_a_list_beside_the_records_tells_their_split_by_id_or_image(tmp_path):
    listed = {"train": ["7"], "dev": ["b/2.png"], "test": ["1.png"]}
    write_files(tmp_path, {"lists/splits.json": json.dumps(listed).encode()})
    rows, rejects, summary = validate_rows(
        tmp_path,
        GOOD,
        {**GOOD, "id": "8", "image": "b\\2.png"},
        {**GOOD, "id": "9", "image": "a/1.png"},
        {**GOOD, "id": "10", "image": "3.png"},
        splits={"list": "lists/splits.json"},
    )
    assert [(row["question_id"], row["split"]) for row in rows] == [
        ("clinic/7", "train"),
        ("clinic/8", "val"),
        ("clinic/9", "test"),
    ]
    assert [(row["rule"], row["reason"]) for row in rejects] == [
        ("split_unlisted", "3.png is in none of the source's split lists")
    ]
    assert summary.rejects_by_rule == {"split_unlisted": 1}
