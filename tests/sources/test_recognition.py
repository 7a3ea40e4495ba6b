"""Recognition: which files make which sources together."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from vqa_pipeline.sources.formats import FORMATS
from vqa_pipeline.sources.recognition import (
    draft_sources,
    list_tree_near,
    recognize_files,
    to_name,
    validate_settings,
)

ROW = {"image": "1.png", "question": "what?", "answer": "a"}
QUESTION = {"question_id": 1, "image_id": 9, "question": "what?"}
ANNOTATION = {"question_id": 1, "answers": [{"answer": "a", "answer_id": 1}]}


def write(folder: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def draft(folder: Path) -> list[dict[str, object]]:
    """The settings of the sources in a folder, paths relative to it."""
    tree = list_tree_near(folder)
    return [one.build_settings(one.name(), tree, str) for one in draft_sources(recognize_files(tree)[0])]


def test_a_table_is_mapped_by_the_names_of_its_columns(tmp_path):
    write(tmp_path, {"rows.csv": "qid,file,question,answer,split\n1,a.png,what?,x,train\n2,b.png,where?,y,test\n"})
    assert draft(tmp_path) == [
        {
            "name": "rows",
            "format": "table",
            "files": "rows.csv",
            "columns": {"question": "question", "image": "file", "answers": "answer", "id": "qid"},
            "splits": {"column": "split"},
        }
    ]


def test_a_table_without_answers_and_with_semicolons_says_so(tmp_path):
    write(tmp_path, {"rows.csv": "image;question\na.png;what?\n"})
    [settings] = draft(tmp_path)
    assert settings["delimiter"] == ";"
    assert settings["columns"] == {"question": "question", "image": "image", "answers": None}


@pytest.mark.parametrize(
    ("name", "splits"),
    [("train.json", "train"), ("vqa_dev.json", "val"), ("test/rows.json", "test"), ("all.json", None)],
)
def test_a_files_name_may_declare_the_split(tmp_path, name, splits):
    [settings] = draft(write(tmp_path, {name: [ROW]}))
    assert settings.get("splits") == splits


def test_the_two_halves_of_a_vqa_source_are_brought_together_by_their_subtype(tmp_path):
    files = {}
    for subtype in ("train2014", "val2014"):
        files[f"q_{subtype}.json"] = {"data_subtype": subtype, "questions": [QUESTION]}
        files[f"a_{subtype}.json"] = {"annotations": [ANNOTATION], "data_subtype": subtype}
    files["q_test.json"] = {"data_subtype": "test2015", "questions": [QUESTION]}
    drafts = draft(write(tmp_path, files))
    assert sorted((one["questions"], one.get("annotations"), one["name"]) for one in drafts) == [
        ("q_test.json", None, "test2015"),
        ("q_train2014.json", "a_train2014.json", "train2014"),
        ("q_val2014.json", "a_val2014.json", "val2014"),
    ]


def test_image_names_of_a_vqa_source_are_told_from_its_ids(tmp_path):
    def pattern(image_id, **members):
        file = {**members, "questions": [{**QUESTION, "image_id": image_id}]}
        [settings] = draft(write(tmp_path, {"q.json": file}))
        return settings.get("image_pattern")

    assert pattern(9, data_subtype="train2014") is None
    assert pattern(9) == "{image_id:012d}.jpg"
    assert pattern("003a8ae2ef43b901") == "{image_id}.jpg"
    assert pattern("VizWiz_val_00000000.jpg") is None
    abstract = pattern(9, data_subtype="train2015", data_type="abstract_v002")
    assert abstract == "abstract_v002_{data_subtype}_{image_id:012d}.png"


def test_a_half_alone_is_no_source(tmp_path):
    [settings] = draft(write(tmp_path, {"a.json": {"annotations": [ANNOTATION]}}))
    with pytest.raises(ValidationError, match="questions"):
        validate_settings(settings)


def test_easy_vqa_folders_are_a_source_each(tmp_path):
    triples = [["what?", "red", 0]]
    drafts = draft(write(tmp_path, {"train/questions.json": triples, "test/questions.json": triples}))
    assert [(one["folder"], one["splits"]) for one in drafts] == [("test", "test"), ("train", "train")]


def test_files_that_end_alike_in_one_folder_are_named_by_a_glob(tmp_path):
    [settings] = draft(write(tmp_path, {f"shards/{number}.jsonl": [ROW] for number in range(12)}))
    assert settings["files"] == "shards/*.jsonl"


def test_a_glob_would_take_in_others_so_the_files_are_listed(tmp_path):
    files = {f"{number}.json": [ROW] for number in range(5)}
    [settings] = draft(write(tmp_path, {**files, "other.json": {"version": 1}}))
    assert settings["files"] == sorted(files)


def test_of_many_files_alike_some_are_looked_into(tmp_path):
    found, rest = recognize_files(list_tree_near(write(tmp_path, {f"{n:03}.json": [ROW] for n in range(200)})))
    assert len(found) < 20
    assert (len(found) + len(found[-1].alike), rest) == (200, [])


def test_files_that_are_not_alike_are_looked_into_one_by_one(tmp_path):
    files = {f"{number:03}.json": [ROW] if number % 2 else {"version": number} for number in range(100)}
    found, rest = recognize_files(list_tree_near(write(tmp_path, files)))
    assert [one.file.sample.name for one in found] + rest == sorted(files)
    assert len(found) == 60
    assert not any(one.alike for one in found)


def pack(path: Path, files: dict[str, object]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, json.dumps(content))
    return path


def test_an_archive_stands_for_its_members(tmp_path):
    pack(tmp_path / "vqa.zip", {"a/q.json": {"questions": [QUESTION]}, "a/a.json": {"annotations": [ANNOTATION]}})
    [settings] = draft(tmp_path)
    assert (settings["questions"], settings["annotations"]) == ("vqa.zip!/a/q.json", "vqa.zip!/a/a.json")


def test_an_archive_that_may_not_be_read_says_why(tmp_path):
    pack(tmp_path / "vqa.zip", {"../q.json": {"questions": [QUESTION]}})
    [[one], _] = recognize_files(list_tree_near(tmp_path))
    assert one.format is None
    assert "../q.json" in one.reason


def test_different_columns_make_different_sources(tmp_path):
    drafts = draft(write(tmp_path, {"a.csv": "image,question\n1.png,what?\n", "b.csv": "img,q\n1.png,what?\n"}))
    assert [one["columns"]["question"] for one in drafts] == ["question", "q"]


def test_images_programs_and_hidden_files_are_not_looked_into(tmp_path):
    names = ("1.png", "run.py", ".rows.json", ".git/rows.json", "__MACOSX/rows.json", "notes.md")
    tree = list_tree_near(write(tmp_path, dict.fromkeys(names, [ROW])))
    assert recognize_files(tree) == ([], [])
    assert tree.names == ("1.png", "notes.md", "run.py")


def test_a_tree_is_listed_from_the_top_and_not_beyond_its_bound(tmp_path):
    write(tmp_path, {"b/deep.json": [], "a.json": [], "c.json": []})
    (tmp_path / "loop.json").symlink_to("loop.json")
    assert list_tree_near(tmp_path) == (tmp_path, ("a.json", "c.json", "b/deep.json"), True)
    assert list_tree_near(tmp_path, most=2) == (tmp_path, ("a.json", "c.json"), False)


def test_links_to_folders_are_not_followed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert list_tree_near(tmp_path).names == ()


@pytest.mark.parametrize("content", [[], {}, [1], "", "x,y\n", {"questions": []}, [[]], [None], [{"question": None}]])
def test_no_format_claims_what_asks_nothing(tmp_path, content):
    [[one], _] = recognize_files(list_tree_near(write(tmp_path, {"rows.json": content})))
    assert one.format is None


def test_generated_sources_are_never_recognised(tmp_path):
    [[one], _] = recognize_files(list_tree_near(write(tmp_path, {"questions.jsonl": [ROW]})))
    assert FORMATS["shapes"].recognize(one.file.sample) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [("train2014", "train2014"), ("My-Data 2", "my_data_2"), ("2024", "source_2024"), ("Ä", "source"), ("a__b", "a_b")],
)
def test_any_text_becomes_a_name(text, name):
    assert to_name(text) == name
