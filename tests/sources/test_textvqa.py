"""`textvqa`: TextVQA of before and after version 0.5."""

from __future__ import annotations

import json

import pytest
from source_reading import number_answers, read_fields, read_rows, sample_object, write_json

from vqa_pipeline.errors import SourceError
from vqa_pipeline.sources.formats.textvqa import TEXTVQA

OLD = {
    "image": "train/66ab.jpg",
    "image_class": "Telephone",
    "question": "what time is it?",
    "answers": ["11:28", "11:28", "not a question"],
    "flickr_url": "https://example.org/66ab.jpg",
}
NEW = {
    "question_id": 7,
    "image_id": "66ab",
    "question": "what time is it?",
    "set_name": "val",
    "answers": ["11:28"] * 10,
}


def write_file(folder, *questions, **header) -> None:
    write_json(folder / "q.json", {"data": list(questions), "dataset_name": "TextVQA", "version": 0.1, **header})


def test_the_image_s_folder_says_nothing_of_the_split(tmp_path):
    write_file(tmp_path, OLD, dataset_type="val")
    assert read_fields(tmp_path, "textvqa", "q.json") == [
        {
            "native_id": None,
            "image": "train/66ab.jpg",
            "question": "what time is it?",
            "split": "val",
            "question_type": None,
            "answer_type": None,
            "answers": number_answers("11:28", "11:28", "not a question"),
        }
    ]


def test_later_versions_name_split_and_image_in_the_question(tmp_path):
    write_file(tmp_path, NEW, dataset_type="train")
    [fields] = read_fields(tmp_path, "textvqa", "q.json")
    assert (fields["native_id"], fields["image"], fields["split"]) == (7, "66ab.jpg", "val")
    assert fields["answers"] == number_answers(*["11:28"] * 10)


def test_questions_of_the_test_set_have_no_answers(tmp_path):
    unanswered = {key: value for key, value in NEW.items() if key != "answers"}
    write_file(tmp_path, unanswered | {"set_name": "test"})
    [fields] = read_fields(tmp_path, "textvqa", "q.json")
    assert (fields["split"], fields["answers"]) == ("test", None)


def test_each_file_declares_its_own_split(tmp_path):
    for split in ("train", "val"):
        write_json(tmp_path / f"{split}.json", {"dataset_type": split, "data": [OLD]})
    assert [fields["split"] for fields in read_fields(tmp_path, "textvqa", "*.json")] == ["train", "val"]


def test_a_file_that_breaks_off_declares_its_split_if_it_still_says_it(tmp_path):
    whole = json.dumps({"dataset_type": "val", "data": [OLD, OLD]})
    (tmp_path / "q.json").write_text(whole[:-20])
    good, cut = read_rows(tmp_path, "textvqa", "q.json")
    assert good.fields["split"] == "val"
    assert cut.error is not None


def test_a_split_that_nothing_declares_is_asked_for(tmp_path):
    write_file(tmp_path, OLD)
    [row] = read_rows(tmp_path, "textvqa", "q.json")
    assert row.error.rule == "split_unknown"
    [fields] = read_fields(tmp_path, "textvqa", "q.json", splits="by_image")
    assert fields["split"] is None


def test_a_question_without_an_image_is_refused(tmp_path):
    write_file(tmp_path, {"question": "what?", "answers": ["a"]}, NEW)
    bad, good = read_rows(tmp_path, "textvqa", "q.json")
    assert str(bad.error) == "the question has neither `image` nor `image_id`"
    assert good.error is None


@pytest.mark.parametrize("change", [{"answers": ["a", 3]}, {"answers": "a"}, {"image": 3}, {"question": None}])
def test_a_question_that_is_not_one_costs_only_itself(tmp_path, change):
    write_file(tmp_path, OLD | change, NEW, dataset_type="val")
    bad, good = read_rows(tmp_path, "textvqa", "q.json")
    assert next(iter(change)) in str(bad.error)
    assert good.error is None


def test_a_file_without_data_is_named(tmp_path):
    write_json(tmp_path / "q.json", {"questions": []})
    with pytest.raises(SourceError, match=r'q\.json: is not JSON of this format: no "data"'):
        read_rows(tmp_path, "textvqa", "q.json", splits="train")


def test_a_file_of_textvqa_is_recognised():
    members = {"dataset_type": "val", "dataset_name": "TextVQA", "data": [OLD]}
    assert TEXTVQA.recognize(sample_object("q.json", members, [OLD])) == (1.0, {"files": "q.json"})
    assert TEXTVQA.recognize(sample_object("q.json", members | {"dataset_name": "mine"}, [OLD])).certainty < 1
    assert TEXTVQA.recognize(sample_object("q.json", {"data": [OLD]}, [OLD])) is None
