"""`easy_vqa`: triples of question, answer and image id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import Locator, RawRecord
from vqa_pipeline.sources.formats.easy_vqa import EasyVqaFormat, EasyVqaSource


def make_source(**settings) -> EasyVqaSource:
    return EasyVqaSource.model_validate({"name": "easy", "format": "easy_vqa", "folder": "raw/train", **settings})


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "raw" / "train"
    (folder / "images").mkdir(parents=True)
    triples = [["what color is the shape?", "blue", 0], ["is there a circle?", "no", 17]]
    (folder / "questions.json").write_text(json.dumps(triples))
    return tmp_path


def test_a_triple_is_a_question_with_one_answer_about_a_numbered_picture(root):
    source = make_source()
    records = list(EasyVqaFormat().read(source, root))
    assert [str(record.locator) for record in records] == ["questions.json[0]", "questions.json[1]"]
    parse = EasyVqaFormat().build_parser(source, root)
    assert parse(records[1]) == {
        "native_id": None,
        "image": "17.png",
        "question": "is there a circle?",
        "split": None,
        "question_type": None,
        "answer_type": None,
        "answers": [{"answer": "no", "answer_id": 1, "answer_confidence": None}],
    }


def test_files_and_pictures_are_found_in_the_folder(root):
    source = make_source()
    assert EasyVqaFormat().find_files(source, root) == [root / "raw" / "train" / "questions.json"]
    assert EasyVqaFormat().find_image_root(source, root) == root / "raw" / "train" / "images"


@pytest.mark.parametrize(
    "triple",
    [
        ["what?", "blue"],
        ["what?", "blue", 0, 1],
        ["what?", "blue", "0"],
        ["what?", "blue", -1],
        ["what?", "blue", True],
        ["what?", 3, 0],
        [None, "blue", 0],
        {"question": "what?"},
        "what?",
    ],
)
def test_what_is_no_triple_is_refused(triple):
    parse = EasyVqaFormat().build_parser(make_source(), Path("/"))
    with pytest.raises(ValidationError):
        parse(RawRecord("question", json.dumps(triple).encode(), Locator("questions.json", 0)))


def test_a_folder_that_is_not_there_is_named(root):
    with pytest.raises(SourceError, match="`folder`: .*/raw/test: no such folder"):
        EasyVqaFormat().find_files(make_source(folder="raw/test"), root)


def test_a_folder_without_pictures_or_questions_is_named(root):
    (root / "raw" / "train" / "images").rmdir()
    with pytest.raises(SourceError, match="images: no such folder"):
        EasyVqaFormat().find_image_root(make_source(), root)
    (root / "raw" / "train" / "questions.json").unlink()
    with pytest.raises(SourceError, match="questions.json: no such file"):
        EasyVqaFormat().find_files(make_source(), root)


def test_a_file_that_breaks_off_costs_its_last_triple(root):
    path = root / "raw" / "train" / "questions.json"
    whole = list(EasyVqaFormat().read(make_source(), root))
    path.write_bytes(path.read_bytes()[:-5])
    *kept, last = EasyVqaFormat().read(make_source(), root)
    assert kept == whole[:-1]
    with pytest.raises(ValidationError, match="EOF"):
        EasyVqaFormat().build_parser(make_source(), root)(last)


@pytest.mark.parametrize("splits", ["declared", {"column": "split"}])
def test_splits_that_triples_cannot_say_are_refused(splits):
    with pytest.raises(ValidationError):
        make_source(splits=splits)
