"""`gqa`: objects keyed by question id, in one file or in shards."""

from __future__ import annotations

import zipfile

import pytest
from source_reading import number_answers, read_fields, read_rows, sample_list, sample_object, write_json

from vqa_pipeline.sources.formats.gqa import GQA

HANGING = {
    "semantic": [{"operation": "select", "dependencies": [], "argument": "wall (0)"}],
    "question": "What is hanging on the wall?",
    "imageId": "n57",
    "answer": "clock",
    "fullAnswer": "The clock is hanging on the wall.",
    "annotations": {"answer": {"0": "12"}, "question": {}, "fullAnswer": {"1": "12"}},
    "types": {"detailed": "relS", "semantic": "rel", "structural": "query"},
}
ROUND = {"question": "Is it round?", "imageId": "2400861", "answer": "yes", "types": {"structural": "verify"}}


def test_a_question_is_a_member_with_its_id_as_key(tmp_path):
    write_json(tmp_path / "val.json", {"0207": HANGING})
    assert read_fields(tmp_path, "gqa", "val.json") == [
        {
            "native_id": "0207",
            "image": "n57.jpg",
            "question": "What is hanging on the wall?",
            "split": "val",
            "question_type": "query",
            "answer_type": None,
            "answers": number_answers("clock"),
            "paraphrase_of": None,
        }
    ]


def test_equivalent_questions_share_a_name_whatever_order_they_list_each_other_in(tmp_path):
    listed = {"9": ["8", "9"], "8": ["9", "10", "8"], "10": ["10", "9", "8"], "7": ["7"], "6": [], "5": None}
    write_json(tmp_path / "val.json", {name: ROUND | {"equivalent": group} for name, group in listed.items()})
    listed_fields = read_fields(tmp_path, "gqa", "val.json")
    told = {fields["native_id"]: fields["paraphrase_of"] for fields in listed_fields}
    assert told == {"9": "8", "8": "10", "10": "10", "7": None, "6": None, "5": None}


def test_entailed_questions_are_no_paraphrases(tmp_path):
    write_json(tmp_path / "val.json", {"1": ROUND | {"entailed": ["2"]}})
    [fields] = read_fields(tmp_path, "gqa", "val.json")
    assert fields["paraphrase_of"] is None


def test_shards_are_read_one_after_another(tmp_path):
    write_json(tmp_path / "train" / "train_q_0.json", {"1": HANGING, "2": ROUND})
    write_json(tmp_path / "train" / "train_q_1.json", {"3": ROUND})
    rows = read_rows(tmp_path, "gqa", "train/*.json")
    assert [(row.raw.locator.file, row.raw.locator.record, row.fields["native_id"]) for row in rows] == [
        ("train_q_0.json", 0, "1"),
        ("train_q_0.json", 1, "2"),
        ("train_q_1.json", 0, "3"),
    ]


def test_a_folder_of_shards_and_an_archive_of_them_are_read_as_their_files(tmp_path):
    write_json(tmp_path / "shards" / "train_q_1.json", {"3": ROUND})
    write_json(tmp_path / "shards" / "train_q_0.json", {"1": HANGING, "2": ROUND})
    with zipfile.ZipFile(tmp_path / "questions.zip", "w") as archive:
        for path in (tmp_path / "shards").iterdir():
            archive.write(path, path.name)
    for files in ("shards", "questions.zip"):
        fields = read_fields(tmp_path, "gqa", files)
        assert [(one["native_id"], one["split"]) for one in fields] == [("1", "train"), ("2", "train"), ("3", "train")]


def test_a_folder_of_one_split_says_it_for_its_files(tmp_path):
    write_json(tmp_path / "project" / "gqa" / "train" / "questions.json", {"1": ROUND})
    [fields] = read_fields(tmp_path / "project", "gqa", "gqa/train/questions.json")
    assert fields["split"] == "train"
    for split in ("train", "val"):
        write_json(tmp_path / "test" / split / "questions.json", {"1": ROUND})
    elsewhere = read_fields(tmp_path / "project", "gqa", str(tmp_path / "test" / "**" / "*.json"))
    assert [fields["split"] for fields in elsewhere] == ["train", "val"]
    [row] = read_rows(tmp_path / "test" / "train", "gqa", "questions.json")
    assert row.error.rule == "split_unknown"


def test_a_file_that_breaks_off_costs_its_last_question(tmp_path):
    write_json(tmp_path / "train.json", {"1": ROUND, "2": HANGING})
    path = tmp_path / "train.json"
    path.write_bytes(path.read_bytes()[:-20])
    good, cut = read_rows(tmp_path, "gqa", "train.json")
    assert good.fields["native_id"] == "1"
    assert cut.error is not None
    assert cut.raw.payload.startswith(b'{"2": {"semantic"')


def test_a_file_whose_name_says_no_split_asks_for_one(tmp_path):
    write_json(tmp_path / "questions.json", {"1": HANGING})
    [row] = read_rows(tmp_path, "gqa", "questions.json")
    assert row.error.rule == "split_unknown"
    assert "questions.json" in row.error.reason
    [fields] = read_fields(tmp_path, "gqa", "questions.json", splits="by_image")
    assert fields["split"] is None


def test_questions_of_the_test_set_have_no_answers(tmp_path):
    write_json(
        tmp_path / "test.json", {"1": {"question": "Is it round?", "imageId": "5", "types": None, "isBalanced": True}}
    )
    [fields] = read_fields(tmp_path, "gqa", "test.json")
    assert fields["answers"] is None
    assert fields["question_type"] is None


@pytest.mark.parametrize(
    "change", [{"imageId": 5}, {"question": None}, {"answer": ["yes"]}, {"types": "query"}, {"imageId": None}]
)
def test_a_question_that_is_not_one_costs_only_itself(tmp_path, change):
    write_json(tmp_path / "q.json", {"1": HANGING | change, "2": ROUND})
    bad, good = read_rows(tmp_path, "gqa", "q.json", splits="train")
    assert next(iter(change)) in str(bad.error)
    assert good.fields["native_id"] == "2"


def test_a_file_of_questions_by_id_is_recognised():
    found = GQA.recognize(sample_object("q/val.json", {"1": HANGING, "2": ROUND}, [HANGING, ROUND]))
    assert found is not None
    assert dict(found.settings) == {"files": "q/val.json", "splits": "declared"}
    assert GQA.recognize(sample_object("q.json", {"1": HANGING}, [HANGING])).settings["splits"] == "by_image"
    assert GQA.recognize(sample_list("q.json", [HANGING])) is None
    assert GQA.recognize(sample_object("q.json", {"1": {"question": "a?"}}, [{"question": "a?"}])) is None
