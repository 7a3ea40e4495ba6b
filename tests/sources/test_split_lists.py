"""Split lists, as people publish them: which image or question is in which split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_reading import sample_object, sample_text

from vqa_pipeline.errors import SourceError
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.formats.split_lists import SplitLists, find_split_lists, is_split_list
from vqa_pipeline.sources.settings import SplitList


def read_lists(folder: Path, files: Any = "*", **contents: str) -> SplitLists:
    for name, content in contents.items():
        (folder / name.replace("__", ".")).write_text(content, encoding="utf-8")
    return SplitLists("coco", SplitList(list=files), folder)


# --------------------------------------------------------------------------------------------------------------- lists


def test_a_text_lists_an_image_per_line_and_its_name_says_the_split(tmp_path):
    lists = read_lists(
        tmp_path,
        karpathy_val_images__txt="val2014/COCO_val2014_000000011169.jpg 11169\nval2014/a b.jpg 7\n\n",
        karpathy_train_images__txt="train2014/COCO_train2014_000000000009.jpg",
    )
    assert lists.find("val2014/COCO_val2014_000000011169.jpg", None) == "val"
    assert lists.find("val2014/a b.jpg", None) == "val"
    assert lists.find("train2014/COCO_train2014_000000000009.jpg", None) == "train"


@pytest.mark.parametrize("reference", ["val2014/1.jpg", "1.jpg", "coco/images/val2014/1.jpg"])
def test_a_listed_image_is_found_by_the_end_of_its_path(tmp_path, reference):
    assert read_lists(tmp_path, val__txt="val2014/1.jpg").find(reference, None) == "val"


def test_an_image_of_another_folder_is_another_image(tmp_path):
    with pytest.raises(MalformedRecord, match="in none of"):
        read_lists(tmp_path, val__txt="val2014/1.jpg").find("train2014/1.jpg", None)


def test_an_image_that_is_listed_as_it_is_named_is_not_mistaken_for_a_longer_path(tmp_path):
    lists = read_lists(tmp_path, train__txt="1.jpg", test__txt="a/1.jpg")
    assert [lists.find(name, None) for name in ("1.jpg", "a/1.jpg", "b/1.jpg")] == ["train", "test", "train"]


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path):
    lists = read_lists(tmp_path, train__txt="a/source.jpg\nb/source.jpg", test__txt="c/source.jpg")
    assert [lists.find(f"images/{name}/source.jpg", None) for name in "abc"] == ["train", "train", "test"]
    with pytest.raises(MalformedRecord, match="source.jpg in more than one split") as refused:
        lists.find("source.jpg", None)
    assert refused.value.rule == "split_ambiguous"


def test_an_image_that_no_list_has_is_refused(tmp_path):
    with pytest.raises(MalformedRecord, match=r"2\.jpg is in none of") as refused:
        read_lists(tmp_path, val__txt="1.jpg").find("2.jpg", 1)
    assert refused.value.rule == "split_unlisted"


def test_karpathy_s_json_lists_images_with_their_split_and_restval_is_trained_on(tmp_path):
    images = [
        {"filepath": "val2014", "filename": f"{split}.jpg", "split": split, "sentences": [{"raw": "A man."}]}
        for split in ("train", "restval", "val", "test")
    ]
    lists = read_lists(tmp_path, dataset_coco__json=json.dumps({"images": images, "dataset": "coco"}))
    found = [lists.find(f"{split}.jpg", None) for split in ("train", "restval", "val", "test")]
    assert found == ["train", "train", "val", "test"]


def test_scienceqa_s_json_lists_ids_and_parts_of_a_split_do_not_count(tmp_path):
    content = json.dumps(
        {"train": ["1", "2"], "val": ["3"], "minival": ["3"], "trainval": ["1", "2", "3"], "test": [4]}
    )
    lists = read_lists(tmp_path, pid_splits__json=content)
    assert [lists.find("any.png", number) for number in ("1", 2, "3", "4")] == ["train", "train", "val", "test"]


def test_lists_may_be_compressed_and_several(tmp_path):
    import gzip

    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(b"1.jpg\n"))
    lists = read_lists(tmp_path, ("train.txt.gz", "test.txt"), test__txt="2.jpg")
    assert (lists.find("1.jpg", None), lists.find("2.jpg", None)) == ("train", "test")


PATHS = st.sampled_from([f"{folder}/{number}.jpg" for folder in "xyz" for number in "123"])


@given(st.dictionaries(PATHS, st.sampled_from(["train", "test"]), min_size=1))
def test_every_listed_path_has_its_own_split(tmp_path_factory, split_of_path):
    folder = tmp_path_factory.mktemp("lists")
    for split in set(split_of_path.values()):
        paths = [path for path, told in split_of_path.items() if told == split]
        (folder / f"{split}.txt").write_text("\n".join(paths))
    lists = SplitLists("coco", SplitList(list="*.txt"), folder)
    assert {path: lists.find(path, None) for path in split_of_path} == split_of_path


# ------------------------------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("images.txt", "1.jpg", "its own name says no split"),
        ("pids.json", '{"train": [1.5]}', "is no split list"),
        ("pids.json", '{"train": "1"}', "is no split list"),
        ("coco.json", '{"images": [{"filename": "1.jpg"}]}', "is no split list"),
        ("coco.json", '{"images": [{"filename"', "is no split list"),
        ("val.txt", "\udc81.jpg", "cannot be read"),
        ("empty.json", '{"minival": ["1"]}', "lists nothing"),
        ("val.txt", "\n", "lists nothing"),
    ],
)
def test_a_list_that_cannot_be_read_is_named(tmp_path, name, content, told):
    (tmp_path / name).write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(SourceError, match=f"source 'coco', `splits`: .*{name}.*{told}"):
        SplitLists("coco", SplitList(list=name), tmp_path)


def test_a_list_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"`splits`: .*val\.txt: no such file"):
        find_split_lists("coco", SplitList(list="val.txt"), tmp_path)


def test_other_splits_have_no_lists(tmp_path):
    assert find_split_lists("coco", "by_image", tmp_path) == []


# --------------------------------------------------------------------------------------------------------- recognition


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (sample_text("karpathy_val_images.txt", "val2014/1.jpg 1\n2.jpg\n"), True),
        (sample_text("images.txt", "val2014/1.jpg 1\n2.jpg\n"), False),
        (sample_text("test_questions.txt", "1.jpg|what is it?\n"), False),
        (sample_object("pids.json", {"train": ["1"], "minival": ["2"]}, []), True),
        (sample_object("pids.json", {"test": [3]}, []), True),
        (sample_object("pids.json", {"minival": ["2"]}, []), False),
        (sample_object("q.json", {"train": [{"question": "a?"}]}, [{"question": "a?"}]), False),
        (sample_object("c.json", {"images": []}, [{"filepath": "a", "filename": "1.jpg", "split": "val"}]), True),
        (sample_object("c.json", {"images": []}, [{"file_name": "1.jpg", "id": 1}]), False),
    ],
)
def test_a_list_is_recognised_by_what_it_lists(sample, expected):
    assert is_split_list(sample) == expected
