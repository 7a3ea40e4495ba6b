"""Inspection: what a person learns of a folder before anything is configured."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vqa_pipeline.curation.corrections import COLUMNS
from vqa_pipeline.curation.findings import Count
from vqa_pipeline.curation.inspection import inspect
from vqa_pipeline.errors import SettingsError


def write_rows(folder: Path, *changes: dict[str, object], images: int = 4) -> Path:
    """Rows and the images that they name, with some rows changed."""
    (folder / "pictures").mkdir(parents=True)
    for number in range(images):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / "pictures" / f"{number}.png")
    rows = [{"qid": n, "img": f"{n % 4}.png", "question": "what?", "answer": "red"} for n in range(8)]
    for row, change in zip(rows, changes, strict=False):
        row.update(change)
    (folder / "rows.json").write_text(json.dumps(rows))
    return folder


def look(folder: Path):
    [source] = inspect(folder, folder).sources
    return source


def test_a_clean_folder_needs_no_word(tmp_path):
    inspection = inspect(write_rows(tmp_path / "scans"), tmp_path)
    [source] = inspection.sources
    assert source.settings == {
        "name": "scans",
        "format": "table",
        "files": "scans/rows.json",
        "columns": {"question": "question", "image": "img", "answers": "answer", "id": "qid"},
        "image_root": "scans/pictures",
    }
    assert (source.num_questions.value, source.num_questions.basis) == (8, "counted")
    assert (source.images.looked_for, source.images.found) == (4, 4)
    assert (source.problems, source.repairs, source.error) == ((), {}, None)
    assert (inspection.num_images, inspection.unknown) == (4, ())
    first = source.first_rows[0]
    assert (first.question_id, first.question, first.answers, first.image) == ("scans/0", "what?", ("red",), "0.png")


def test_what_is_outside_the_project_is_named_absolutely(tmp_path):
    [source] = inspect(write_rows(tmp_path / "scans"), tmp_path / "project").sources
    assert source.settings["files"] == str(tmp_path / "scans" / "rows.json")
    assert source.settings["image_root"] == str(tmp_path / "scans" / "pictures")


def test_a_file_alone_finds_its_images_beside_it(tmp_path):
    [source] = inspect(write_rows(tmp_path) / "rows.json", tmp_path).sources
    assert source.settings["image_root"] == "pictures"


def test_images_are_looked_for_beside_the_folder_too(tmp_path):
    write_rows(tmp_path)
    (tmp_path / "labels").mkdir()
    (tmp_path / "rows.json").rename(tmp_path / "labels" / "rows.json")
    [source] = inspect(tmp_path / "labels", tmp_path).sources
    assert source.settings["image_root"] == "pictures"
    assert source.images.found == 4


def draw(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 0)).save(file, "PNG")
    return file.getvalue()


def test_images_inside_the_rows_are_there_and_the_first_are_decoded(tmp_path):
    images = [draw(number) if number else b"<html>" for number in range(30)]
    table = pa.table({"image": images, "question": ["what?"] * 30, "answer": ["red"] * 30})
    pq.write_table(table, tmp_path / "train.parquet")
    source = look(tmp_path)
    assert source.settings["format"] == "hf_parquet"
    assert source.num_questions == Count(value=30, basis="counted")
    assert (source.images.image_root, source.images.looked_for, source.images.found) == (None, 24, 24)
    assert [(problem.rule, problem.count, problem.looked_at) for problem in source.problems] == [
        ("image_unreadable", 1, 24)
    ]


def write_shard(path: Path, padding: bytes) -> None:
    """A hundred questions with their images, the last one's padded."""
    with tarfile.open(path, "w") as shard:
        for number in range(100):
            asked = json.dumps({"question": f"is it {number}?", "answers": ["yes"]}).encode()
            image = draw(number) + (padding if number == 99 else b"")
            for name, content in ((f"{number}.png", image), (f"{number}.json", asked)):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                shard.addfile(entry, io.BytesIO(content))


def test_where_the_length_of_records_is_unknown_few_of_them_are_read(tmp_path):
    write_shard(tmp_path / "a.tar", bytes(1 << 20))
    source = look(tmp_path)
    assert (source.settings["format"], source.num_read) == ("webdataset", 64)
    assert source.num_questions == Count(value=64, basis="at_least")


def test_a_small_archive_is_read_to_its_end(tmp_path):
    write_shard(tmp_path / "a.tar", b"")
    assert look(tmp_path).num_questions == Count(value=100, basis="counted")


def test_rows_and_images_in_archives_are_found(tmp_path):
    write_rows(tmp_path / "scans")
    packed = tmp_path / "packed"
    packed.mkdir()
    with zipfile.ZipFile(packed / "rows.zip", "w") as archive:
        archive.write(tmp_path / "scans" / "rows.json", "rows.json")
    with zipfile.ZipFile(packed / "images.zip", "w") as archive:
        for path in (tmp_path / "scans" / "pictures").iterdir():
            archive.write(path, path.name)
    [source] = inspect(packed, packed).sources
    assert (source.settings["files"], source.settings["image_root"]) == ("rows.zip!/rows.json", "images.zip")
    assert (source.num_questions.value, source.num_questions.basis) == (8, "counted")
    assert (source.images.found, source.problems) == (4, ())


def test_problems_are_told_by_rule_with_their_first_row(tmp_path):
    source = look(write_rows(tmp_path, {"question": " "}, {"question": 7}, {}, {"question": ""}))
    problems = {problem.rule: problem for problem in source.problems}
    assert set(problems) == {"question_empty", "record_malformed"}
    empty = problems["question_empty"]
    assert (empty.count, empty.looked_at, empty.unit, empty.place) == (2, 8, "records", "rows.json[0]")
    assert json.loads(empty.raw)["question"] == " "
    assert empty.reason == "the question is empty"


def test_rows_that_repeat_are_told_apart(tmp_path):
    """An id twice is no id; without ids, annotators in rows of their own look like this."""
    source = look(write_rows(tmp_path, *[{"qid": 7, "img": "0.png", "answer": answer} for answer in ("red", "blue")]))
    assert "id" not in source.settings["columns"]
    differing, same = source.problems
    assert (differing.rule, differing.count, differing.place) == ("answers_in_rows", 3, "rows.json[0]")
    assert "Put all answers of a question into one row" in differing.fix
    assert (same.rule, same.count) == ("duplicate_row", 2)


def test_a_beginning_does_not_make_orphans_of_what_comes_later(tmp_path):
    questions = [{"question_id": n, "image_id": n, "question": "what?"} for n in range(3000)]
    annotations = [{"question_id": n, "answers": [{"answer": "a", "answer_id": 1}]} for n in reversed(range(3000))]
    (tmp_path / "q.json").write_text(json.dumps({"data_subtype": "val2014", "questions": questions}))
    (tmp_path / "a.json").write_text(json.dumps({"data_subtype": "val2014", "annotations": annotations}))
    assert {problem.rule for problem in look(tmp_path).problems} == {"image_missing"}


def test_missing_images_are_counted_and_named(tmp_path):
    source = look(write_rows(tmp_path, {"img": "lost.png"}))
    assert (source.images.looked_for, source.images.found, source.images.missing) == (5, 4, ("lost.png",))
    [problem] = source.problems
    assert (problem.rule, problem.count, problem.looked_at, problem.unit) == ("image_missing", 1, 5, "images")


def test_broken_images_are_found_by_decoding_some(tmp_path):
    folder = write_rows(tmp_path)
    (folder / "pictures" / "0.png").write_bytes(b"<html>")
    [problem] = look(folder).problems
    assert (problem.rule, problem.place, problem.looked_at) == ("image_unreadable", "0.png", 4)


def test_repairs_are_told_by_kind(tmp_path):
    source = look(write_rows(tmp_path, {"img": ".\\0.png"}, {"img": "1.PNG"}))
    assert source.images.found == source.images.looked_for
    assert {"backslash", "letter_case"} <= source.repairs.keys()
    assert source.problems == ()


def test_a_few_images_of_these_names_beside_the_folder_are_others(tmp_path):
    write_rows(tmp_path / "others", images=1)
    assert "image_root" not in look(write_rows(tmp_path / "scans", images=0)).settings


def test_without_any_image_the_source_is_shown_all_the_same(tmp_path):
    source = look(write_rows(tmp_path / "a" / "b", images=0))
    assert "image_root" not in source.settings
    assert (source.images.image_root, source.images.found, source.images.looked_for) == (None, 0, 4)


def test_answers_of_another_file_are_shown_with_their_questions(tmp_path):
    question = {"question_id": 1, "image_id": 9, "question": "what?"}
    (tmp_path / "q.json").write_text(json.dumps({"data_subtype": "val2014", "questions": [question]}))
    answers = [{"answer": "red", "answer_id": 1}, {"answer": "rot", "answer_id": 2}]
    annotation = {"question_id": 1, "answers": answers}
    (tmp_path / "a.json").write_text(json.dumps({"data_subtype": "val2014", "annotations": [annotation] * 3}))
    source = look(tmp_path)
    assert source.first_rows[0].answers == ("red", "rot")
    assert source.first_rows[0].image == "COCO_val2014_000000000009.jpg"
    assert (source.num_questions.value, source.num_annotations.value) == (1, 3)


def test_large_files_are_estimated_and_said_to_be(tmp_path):
    rows = [{"id": n, "image": f"{n}.png", "question": f"what is {n * 7919 % 1000}?"} for n in range(30_000)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    count = look(tmp_path).num_questions
    assert count.basis == "estimated"
    assert count.value == pytest.approx(30_000, rel=0.1)


def test_rows_of_many_files_are_estimated_by_those_looked_into(tmp_path):
    rows = [{"image": f"{n}.png", "question": f"what is {n}?"} for n in range(500)]
    for number in range(40):
        (tmp_path / f"{number:03}.json").write_text(json.dumps(rows))
    source = look(tmp_path)
    assert (source.num_files, source.num_questions.basis) == (40, "estimated")
    assert source.num_questions.value == pytest.approx(20_000, rel=0.1)


def test_only_beginnings_are_read(tmp_path):
    """A terabyte that begins with rows is told of as quickly as a megabyte."""
    line = json.dumps({"id": "x", "image": "1.png", "question": "what?"}).encode() + b"\n"
    with (tmp_path / "rows.jsonl").open("wb") as file:
        file.write(line * 20_000)
        file.truncate(1 << 40)
    assert look(tmp_path).num_read == 2000


def test_what_no_format_knows_is_told_with_its_fields(tmp_path):
    (tmp_path / "notes.json").write_text(json.dumps([{"title": "a", "body": "b"}]))
    inspection = inspect(tmp_path, tmp_path)
    [file] = inspection.unknown
    assert inspection.sources == ()
    assert (file.name, file.layout, file.fields) == ("notes.json", "list", ("title", "body"))
    assert file.reason == "no format is known for it"


def test_a_split_list_is_no_source_and_says_where_it_goes(tmp_path):
    (tmp_path / "karpathy_val_images.txt").write_text("val2014/1.jpg 1\nval2014/2.jpg 2\n")
    (tmp_path / "notes.txt").write_text("1.jpg is fine\n")
    inspection = inspect(tmp_path, tmp_path)
    [file] = inspection.unknown
    assert (inspection.sources, file.name) == ((), "karpathy_val_images.txt")
    assert file.reason.startswith("a split list: name it in the `splits: {list: FILES}`")


def test_corrections_beside_the_rows_are_no_source(tmp_path):
    folder = write_rows(tmp_path / "scans")
    cells = {"question_id": "scans/1", "action": "edit", "question": "Which?", "image": "0.png", "answers": "red"}
    lines = [",".join(COLUMNS), ",".join(cells.get(name, "") for name in COLUMNS)]
    (folder / "fixes.csv").write_text("\n".join(lines))
    inspection = inspect(folder, tmp_path)
    assert [source.settings["files"] for source in inspection.sources] == ["scans/rows.json"]
    assert [file.name for file in inspection.unknown] == ["fixes.csv"]


def test_a_half_alone_says_what_it_lacks(tmp_path):
    annotation = {"question_id": 1, "answers": [{"answer": "red"}]}
    (tmp_path / "a.json").write_text(json.dumps({"annotations": [annotation]}))
    [file] = inspect(tmp_path, tmp_path).unknown
    assert file.reason == "annotations of a vqa_v2 source that lacks questions"


def test_a_file_that_breaks_off_is_told(tmp_path):
    folder = write_rows(tmp_path)
    whole = (folder / "rows.json").read_text()
    (folder / "rows.json").write_text(whole[:-30])
    source = look(folder)
    assert source.error or source.problems


def test_two_sources_get_two_names(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "rows.csv").write_text("image,question\n1.png,what?\n")
    (tmp_path / "b" / "rows.csv").write_text("img,q\n1.png,what?\n")
    assert [source.settings["name"] for source in inspect(tmp_path, tmp_path).sources] == ["a_rows", "b_rows"]


def test_nothing_at_the_path_is_a_mistake(tmp_path):
    with pytest.raises(SettingsError, match="there is no"):
        inspect(tmp_path / "nowhere", tmp_path)


def test_an_empty_folder_holds_nothing(tmp_path):
    inspection = inspect(tmp_path, tmp_path)
    assert (inspection.num_files, inspection.sources, inspection.unknown) == (0, (), ())


def test_what_is_never_read_says_why(tmp_path):
    (tmp_path / "rows.pkl").write_bytes(pickle.dumps([{"question": "what?"}]))
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("../rows.json", "[]")
    reasons = {file.name: file.reason for file in inspect(tmp_path, tmp_path).unknown}
    assert reasons["rows.pkl"].startswith("is a Python pickle, which runs whatever code it holds")
    assert reasons["rows.zip"] == "its member '../rows.json' has a name that leads out of the archive"


KNOWN = (
    "question",
    "image",
    "answers",
    "annotations",
    "questions",
    "question_id",
    "image_id",
    "conversations",
    "qas",
    "data",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["a.jpg", "train"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=15,
)


@given(
    JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200),
    st.sampled_from(["json", "jsonl", "csv", "tsv"]),
)
def test_whatever_a_file_holds_it_is_told(content, suffix):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"rows.{suffix}").write_bytes(content)
        inspection = inspect(Path(folder), Path(folder))
    assert inspection.num_files == 1
    assert all(source.num_questions.value <= source.num_read for source in inspection.sources)
