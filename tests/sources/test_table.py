"""`table`: one question per row, in five kinds of file, by a column mapping; a bad row costs only itself."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vqa_pipeline.answers.scoring import choose_policy, score_answer
from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import ANSWERS, Locator, RawRecord
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.formats.table import TableFormat, TableSource

ROWS = [
    {"image": "a.png", "question": "What?", "answers": "yes"},
    {"image": "b/c.png", "question": "Was ist “das”, bitte?", "answers": "None"},
]


def make_source(**settings: Any) -> TableSource:
    return TableSource.model_validate({"name": "clinic", "format": "table", "files": "rows.*", **settings})


def read(root: Path, **settings: Any) -> list[RawRecord]:
    return list(TableFormat().read(make_source(**settings), root))


def parse(row: Any, **settings: Any) -> dict[str, Any]:
    payload = row if isinstance(row, bytes) else json.dumps(row).encode()
    parser = TableFormat().build_parser(make_source(**settings), Path("/"))
    return dict(parser(RawRecord("question", payload, Locator("rows.json", 0))))


def parse_answers(answers: Any, **settings: Any) -> list[str] | None:
    found = parse({"image": "a.png", "question": "What?", "answers": answers}, **settings)["answers"]
    return None if found is None else [answer["answer"] for answer in found]


def refuse(row: Any, **settings: Any) -> MalformedRecord:
    with pytest.raises(MalformedRecord) as caught:
        parse(row, **settings)
    assert caught.value.fix
    return caught.value


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def to_parquet(rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), file, row_group_size=1)
    return file.getvalue()


CONTENTS = {
    "rows.json": json.dumps(ROWS, indent=2),
    "rows.jsonl": "\n".join(json.dumps(row) for row in ROWS) + "\n",
    "rows.csv": 'image,question,answers\na.png,What?,yes\nb/c.png,"Was ist “das”, bitte?",None\n',
    "rows.tsv": "image\tquestion\tanswers\na.png\tWhat?\tyes\nb/c.png\tWas ist “das”, bitte?\tNone\n",
    "rows.parquet": to_parquet(ROWS),
}


# --------------------------------------------------------------------------------------------------- kinds of file


def zip_file(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"rows/{name}", content)
        archive.writestr("__MACOSX/rows/._" + name, b"\0\5\x16\7")
    return file.getvalue()


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-8", "utf-32-le"])
@pytest.mark.parametrize("name", [name for name in CONTENTS if name != "rows.parquet"])
def test_a_marked_text_gives_the_same_rows_in_every_encoding(tmp_path, name, encoding):
    write(tmp_path / name, ("\ufeff" + CONTENTS[name]).encode(encoding))
    assert [json.loads(record.payload) for record in read(tmp_path)] == ROWS


def test_a_table_as_spreadsheets_save_it_in_the_west(tmp_path):
    write(tmp_path / "rows.csv", "image;question;answers\r\na.png;Où ça ?;café – ici\r\n".encode("cp1252"))
    (record,) = read(tmp_path, delimiter=";")
    assert json.loads(record.payload) == {"image": "a.png", "question": "Où ça ?", "answers": "café – ici"}


@pytest.mark.parametrize("name", CONTENTS)
def test_every_kind_of_file_is_read_inside_an_archive(tmp_path, name):
    content = CONTENTS[name] if isinstance(CONTENTS[name], bytes) else CONTENTS[name].encode()
    write(tmp_path / "all.zip", zip_file(name, content))
    records = read(tmp_path, files="all.zip")
    assert [json.loads(record.payload) for record in records] == ROWS
    assert {record.locator.file for record in records} == {f"all.zip!/rows/{name}"}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", CONTENTS)
def test_every_kind_of_file_gives_the_same_rows(tmp_path, name, zipped):
    content = CONTENTS[name] if isinstance(CONTENTS[name], bytes) else CONTENTS[name].encode()
    write(tmp_path / name, gzip.compress(content) if zipped else content)
    records = read(tmp_path)
    assert [json.loads(record.payload) for record in records] == ROWS
    assert [record.locator.record for record in records] == [0, 1]
    assert {record.locator.file for record in records} == {name}
    assert {record.kind for record in records} == {"question"}


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.parquet"])
def test_the_content_tells_the_kind_not_the_suffix(tmp_path, name):
    content = CONTENTS[name]
    write(tmp_path / "rows.txt", content)
    assert [json.loads(record.payload) for record in read(tmp_path)] == ROWS


def test_json_lines_named_json_keep_their_lines(tmp_path):
    write(tmp_path / "rows.json", "\n\n" + CONTENTS["rows.jsonl"])
    assert [str(record.locator) for record in read(tmp_path)] == ["rows.json:3", "rows.json:4"]


def test_a_json_list_keeps_offsets(tmp_path):
    text = CONTENTS["rows.json"].encode()
    write(tmp_path / "rows.json", text)
    for record in read(tmp_path):
        assert record.locator.byte_offset is not None
        assert text[record.locator.byte_offset :].startswith(record.payload)


def test_a_long_blank_start_does_not_hide_the_kind(tmp_path):
    write(tmp_path / "rows.dat", "\n" * 20 + CONTENTS["rows.json"])
    assert len(read(tmp_path)) == 2


def test_several_files_are_read_in_order_each_with_its_own_numbers(tmp_path):
    for name in ("part-2.csv", "part-1.csv", "extra.csv"):
        write(tmp_path / "raw" / name, CONTENTS["rows.csv"])
    records = read(tmp_path, files=["raw/part-*.csv", "raw/*.csv"])
    assert [(record.locator.file, record.locator.record) for record in records] == [
        *(("part-1.csv", 0), ("part-1.csv", 1)),
        *(("part-2.csv", 0), ("part-2.csv", 1)),
        *(("extra.csv", 0), ("extra.csv", 1)),
    ]


def test_locators_are_relative_to_the_folder_of_rows_and_images(tmp_path):
    write(tmp_path / "raw" / "tables" / "rows.csv", CONTENTS["rows.csv"])
    (tmp_path / "raw" / "images").mkdir()
    records = read(tmp_path, files="raw/tables/rows.csv", image_root="raw/images")
    assert records[0].locator.file == "tables/rows.csv"


def test_one_malformed_line_among_json_lines_costs_only_itself(tmp_path):
    write(tmp_path / "rows.jsonl", '{"image": "a.png", "question\n' + CONTENTS["rows.jsonl"])
    records = read(tmp_path)
    assert len(records) == 3
    assert refuse(records[0].payload).rule == "record_truncated"


def test_parquet_is_read_by_batches_and_only_the_columns_that_are_mapped(tmp_path):
    rows = [{**ROWS[0], "unused": bytes(10), "question": f"What {number}?"} for number in range(9000)]
    schema = pa.schema([("unused", pa.binary()), *((name, pa.string()) for name in ROWS[0])])
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "rows.parquet")
    records = read(tmp_path)
    assert len(records) == 9000
    assert json.loads(records[8999].payload) == {**ROWS[0], "question": "What 8999?"}
    assert records[8999].locator.record == 8999


def test_parquet_lists_and_structs_of_answers_are_read(tmp_path):
    answer = {"answer": "yes", "answer_id": 4, "answer_confidence": "maybe"}
    schema = pa.schema([("image", pa.large_string()), ("question", pa.string()), ("answers", ANSWERS)])
    write(tmp_path / "rows.parquet", to_parquet([{**ROWS[0], "answers": [answer]}], schema))
    assert parse(read(tmp_path)[0].payload)["answers"] == [answer]


def test_parquet_of_categories_is_text(tmp_path):
    category = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([("image", category), ("question", pa.string()), ("answers", pa.string())])
    write(tmp_path / "rows.parquet", to_parquet(ROWS, schema))
    assert parse(read(tmp_path)[0].payload)["image"] == "a.png"


def test_a_parquet_cell_that_json_cannot_hold_rejects_its_row(tmp_path):
    schema = pa.schema([("image", pa.string()), ("question", pa.string()), ("answers", pa.list_(pa.binary()))])
    write(tmp_path / "rows.parquet", to_parquet([{**ROWS[0], "answers": [b"\xff"]}], schema))
    assert "is null" in refuse(read(tmp_path)[0].payload).reason


@pytest.mark.parametrize("delimiter", [";", "|", "\t", "~", " "])
def test_cells_may_have_another_delimiter(tmp_path, delimiter):
    text = io.StringIO()
    table = csv.DictWriter(text, ROWS[0], delimiter=delimiter)
    table.writeheader()
    table.writerows(ROWS)
    write(tmp_path / "rows.csv", text.getvalue())
    assert [json.loads(record.payload) for record in read(tmp_path, delimiter=delimiter)] == ROWS


# ------------------------------------------------------------------------------------------------------- bad worlds


@pytest.mark.parametrize(
    ("name", "header", "settings", "told"),
    [
        ("rows.csv", "image;question;answers", {}, ("';'", "','", '";"')),
        ("rows.csv", '"image";"question";"answers"', {}, ("';'", "','", '";"')),
        ("rows.csv", "\ufeffimage;question;answers;asked, by whom", {}, ("';'", "','", '";"')),
        ("rows.csv", "file|q|a", {}, ("'|'", "','", '"|"')),
        ("rows.tsv", "image,question,answers", {}, ("','", r"'\t'", '","')),
        ("rows.csv", "image\tquestion\tanswers", {"delimiter": ";"}, (r"'\t'", "';'", r'"\t"')),
    ],
)
def test_another_delimiter_than_the_expected_one_is_found_and_told_as_yaml(tmp_path, name, header, settings, told):
    write(tmp_path / name, f"{header}\n")
    with pytest.raises(SourceError) as caught:
        read(tmp_path, **settings)
    found, expected, yaml = told
    assert str(caught.value) == (
        f"source 'clinic', `delimiter`: {tmp_path / name}, line 1: its header has {found} between its columns, "
        f"but it was read by {expected}. Give the source `delimiter: {yaml}`."
    )


@pytest.mark.parametrize("header", ["question", "image,question,reply;replies", "image,question"])
def test_a_column_that_no_delimiter_brings_is_a_matter_of_the_mapping(tmp_path, header):
    write(tmp_path / "rows.csv", f"{header}\n")
    with pytest.raises(SourceError, match=r"has no column .*Correct the mapping in `columns`\."):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "rows.x: is blank"),
        (" \n\n", "rows.x: is blank"),
        ('[{"a": 1}, {"a": "open}, {"a": 2}]', r"not closed: it runs to the end of the file \(at byte 11\)"),
        ('{\n"data": [\n{"image": "a.png"}\n]}', "line 1: is neither a list of objects nor one object per line"),
        (
            "file,question,answers\na,b,c\n",
            "line 1: has no column 'image'; its columns are 'file', 'question', 'answers'",
        ),
        ("image,question,answers,image\n", "line 1: has more than one column 'image'"),
        ('image,question,answers\na,b,"c\nd,e,f\n', "line 2: a quoted cell that begins here is not closed"),
        (b"PAR1 and no more", "is damaged Parquet"),
        (gzip.compress(b"image,question,answers\n" * 999, mtime=0)[:-20], "cannot be read"),
        (b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 50, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path, content, reason):
    write(tmp_path / "rows.x", content)
    with pytest.raises(SourceError, match=reason) as caught:
        read(tmp_path)
    assert caught.value.source == "clinic"
    assert caught.value.setting in {"files", "columns"}
    assert caught.value.path == tmp_path / "rows.x"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (pa.struct([("bytes", pa.binary()), ("path", pa.string())]), "column 'image' holds struct<bytes: binary"),
        (pa.binary(), "column 'image' holds binary"),
        (pa.int64(), "column 'image' holds int64"),
    ],
)
def test_a_parquet_column_of_images_is_refused_as_a_whole(tmp_path, kind, told):
    schema = pa.schema([("image", kind), ("question", pa.string()), ("answers", pa.string())])
    write(tmp_path / "rows.parquet", to_parquet([{"question": "What?", "answers": "yes"}], schema))
    with pytest.raises(SourceError, match=told):
        read(tmp_path)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ("raw/images", "raw/images: holds no files of rows, by their names. Name them: `files: raw/images/*.txt`."),
        ("raw/images/", "raw/images: holds no files of rows, by their names. Name them: `files: raw/images/*.txt`."),
        ("raw/im*", "raw/im*: matches folders, but no file. Name the files in them: `files: raw/im*/*.json`."),
    ],
)
def test_a_folder_without_rows_is_told_with_how_to_name_files(tmp_path, files, reason):
    write(tmp_path / "raw" / "images" / "1.png", CONTENTS["rows.jsonl"])
    with pytest.raises(SourceError) as caught:
        read(tmp_path, files=files)
    assert str(caught.value) == f"source 'clinic', `files`: {tmp_path}/{reason}"


def test_a_folder_stands_for_the_files_with_rows_in_it(tmp_path):
    for name in ("b/2.jsonl", "a.csv", "c.parquet", "1.png", "README.txt", "._a.csv", "Thumbs.db", ".hidden/3.jsonl"):
        write(tmp_path / "raw" / name, CONTENTS.get(f"rows{Path(name).suffix}", "no rows"))
    assert {row.locator.file for row in read(tmp_path, files="raw")} == {"a.csv", "b/2.jsonl", "c.parquet"}


@pytest.mark.parametrize("files", ["none.csv", "*.csv", ["rows.jsonl", "none.csv"]])
def test_files_that_are_not_there_are_named(tmp_path, files):
    write(tmp_path / "rows.jsonl", CONTENTS["rows.jsonl"])
    with pytest.raises(SourceError, match="source 'clinic', `files`: .*: no such file"):
        read(tmp_path, files=files)


def test_an_image_root_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceError, match="`image_root`: .*/pictures: no such folder"):
        TableFormat().find_image_root(make_source(image_root="pictures"), tmp_path)
    assert TableFormat().find_image_root(make_source(), tmp_path) is None


# ---------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"files": ""},
        {"files": []},
        {"files": "a\0b"},
        {"splits": "declared"},
        {"splits": "holdout"},
        {"answer_separator": ""},
        {"delimiter": ""},
        {"delimiter": ";;"},
        {"delimiter": '"'},
        {"delimiter": "\n"},
        {"colums": {}},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        make_source(**wrong)


# ----------------------------------------------------------------------------------------------------------- parsing


def test_a_row_becomes_fields_by_the_mapping():
    row = {"file": "a.png", "q": "What?", "a": "yes", "nr": 7, "kind": "open", "type": "", "fold": "valid"}
    columns = {
        "image": "file",
        "question": "q",
        "answers": "a",
        "id": "nr",
        "question_type": "kind",
        "answer_type": "type",
    }
    assert parse(row, columns=columns, splits={"column": "fold"}) == {
        "native_id": 7,
        "image": "a.png",
        "question": "What?",
        "split": "valid",
        "question_type": "open",
        "answer_type": None,
        "answers": [{"answer": "yes", "answer_id": 1, "answer_confidence": None}],
        "paraphrase_of": None,
    }


@pytest.mark.parametrize(
    ("given", "told"), [("3", "3"), (3, "3"), (0, "0"), ("a/b", "a/b"), (None, None), ("", None), ("absent", None)]
)
def test_a_row_may_name_the_question_that_it_rephrases(given, told):
    row = {"image": "a.png", "question": "What?", "answers": "yes"} | ({} if given == "absent" else {"of": given})
    assert parse(row, columns={"paraphrase_of": "of"})["paraphrase_of"] == told


@pytest.mark.parametrize("wrong", [True, 1.5, ["3"], {"id": 3}])
def test_what_a_row_rephrases_is_an_id(wrong):
    row = {"image": "a.png", "question": "What?", "answers": "yes", "of": wrong}
    with pytest.raises(MalformedRecord, match="`of`"):
        parse(row, columns={"paraphrase_of": "of"})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("yes", ["yes"]),
        (["yes", "no"], ["yes", "no"]),
        ([{"answer": "yes"}, {"answer": "no", "answer_id": 9}], ["yes", "no"]),
        ({"answer": "yes"}, ["yes"]),
        ("None", ["None"]),
        ("NA", ["NA"]),
        ("", [""]),  # empty answers are the matter of the checks that all formats share
        ([], []),
        (None, None),
        (3, ["3"]),
        (-0.5, ["-0.5"]),
        (3.0, ["3"]),
        (1234567.25, ["1234567.25"]),
        (1e300, [str(int(1e300))]),
        (["a;b"], ["a;b"]),
    ],
)
def test_answers_are_one_or_several_texts_or_numbers(given, expected):
    assert parse_answers(given) == expected


def test_one_text_may_hold_several_answers():
    assert parse_answers(" red ; dark red;;", answer_separator=";") == ["red", "dark red"]
    assert parse_answers("red", answer_separator=";") == ["red"]
    assert parse_answers(";", answer_separator=";") == []


def test_answers_keep_ids_and_confidence_or_are_numbered():
    given = [
        {"answer": "yes", "answer_id": 4, "answer_confidence": "maybe"},
        {"answer": "no"},
        "so",
        {"answer": "no", "answer_id": None},
        {"answer": "no", "answer_id": 0},
    ]
    assert parse({"image": "a", "question": "b", "answers": given})["answers"] == [
        {"answer": "yes", "answer_id": 4, "answer_confidence": "maybe"},
        {"answer": "no", "answer_id": 2, "answer_confidence": None},
        {"answer": "so", "answer_id": 3, "answer_confidence": None},
        {"answer": "no", "answer_id": 4, "answer_confidence": None},
        {"answer": "no", "answer_id": 0, "answer_confidence": None},
    ]


@pytest.mark.parametrize("said", ["yes", {"answer": "yes"}, {"answer": "yes", "answer_id": None}])
def test_ten_annotators_who_agree_are_ten_however_they_are_written(said):
    answers = parse({"image": "a", "question": "b", "answers": [said] * 10})["answers"]
    assert choose_policy([answers]) == "official"
    assert score_answer("yes", answers, "official") == 1.0


def test_a_table_without_answers_has_none():
    assert parse({"image": "a.png", "question": "What?"}, columns={"answers": None})["answers"] is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"question": 7}, "`question` is a number, but a question is a text"),
        ({"question": None}, "`question` is null"),
        ({"image": ["a.png"]}, "`image` is a list"),
        ({"answers": True}, "answer 1 in `answers` is true or false"),
        ({"answers": ["yes", None]}, "answer 2 in `answers` is null"),
        ({"answers": [["yes"]]}, "answer 1 in `answers` is a list"),
        ({"answers": [{"text": "yes"}]}, "answer 1 in `answers` is null"),
        ({"answers": [{"answer": "a", "answer_id": True}]}, "`answer_id` of answer 1 in `answers` is true or false"),
        ({"answers": [{"answer": "a", "answer_id": 2**63}]}, "`answer_id` of answer 1 .* is a number"),
        ({"answers": [{"answer": "a", "answer_id": 1.5}]}, "`answer_id` of answer 1 .* is a number"),
        ({"answers": [{"answer": "a", "answer_id": [1]}]}, "`answer_id` of answer 1 .* is a list"),
        ({"answers": [{"answer": "a", "answer_confidence": 1}]}, "`answer_confidence` of answer 1"),
        ({"id": True}, "`id` is true or false, but an id is a text or an integer"),
        ({"id": ""}, "`id` is a text"),
        ({"id": 1.5}, "`id` is a number"),
        ({"split": 3}, "`split` is a number"),
    ],
)
def test_a_row_with_a_wrong_value_is_malformed(change, reason):
    row = {"image": "a.png", "question": "What?", "answers": "yes", "id": 1, "split": "train", **change}
    error = refuse(row, columns={"id": "id"}, splits={"column": "split"})
    assert error.rule == "record_malformed"
    assert re.search(reason, error.reason)


@pytest.mark.parametrize("missing", ["image", "question", "answers", "id"])
def test_a_row_without_a_mapped_field_is_malformed(missing):
    row = {"image": "a.png", "question": "What?", "answers": "yes", "id": 1}
    del row[missing]
    assert refuse(row, columns={"id": "id"}).reason == f"the row has no `{missing}`"


@pytest.mark.parametrize(
    ("payload", "rule", "reason"),
    [
        (b'{"image": ', "record_truncated", "the record breaks off"),
        (b"", "record_truncated", "the record breaks off"),
        (b'{"image": NaN}', "record_not_json", "the record is not JSON"),
        (b'{"image": "\\ud800"}', "record_not_json", "the record is not JSON"),  # no UTF-8 text can hold it
        (b"[" * 5000, "record_not_json", "the record is not JSON"),
        (b'{"image": "caf\xe9"}', "record_not_utf_8", r"byte 0xe9 at position 14"),
        (b'"Stop" sign,yes\n', "record_malformed", "a quote is not closed"),
        (b'x,"two"2\n', "record_malformed", "a quote is not closed"),
        (b'["a", "b"]', "record_malformed", "the row has 2 cells, another number than the header"),
        (b"7", "record_malformed", "the row is a number, not an object"),
    ],
)
def test_a_row_that_is_no_object_is_told(payload, rule, reason):
    error = refuse(payload)
    assert error.rule == rule
    assert reason in error.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["answer", "answer_id", "x"]), inner),
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["image", "question", "answers", "id", "split"], JSON)))
def test_whatever_a_row_holds_its_fields_fit_the_tables_or_it_is_malformed(row):
    try:
        fields = parse(row, columns={"id": "id"}, splits={"column": "split"})
    except MalformedRecord:
        return
    pa.array([fields["answers"]], ANSWERS)
    pa.array([fields["image"], fields["question"], fields["split"]], pa.string())
    assert type(fields["native_id"]) in (int, str)
