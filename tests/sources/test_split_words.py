"""The split that a file's name says, or a folder's."""

from __future__ import annotations

import pytest

from vqa_pipeline.sources.split_words import find_split_word


@pytest.mark.parametrize(
    ("file", "word"),
    [
        ("train.json", "train"),
        ("validate.json", "val"),
        ("snli_ve_dev.jsonl", "val"),
        ("balanced_dev.head3.json", "val"),
        ("testset.json", "test"),
        ("Training/questions.json", "train"),
        ("train/test_1.json", "test"),
        ("dev/slake/questions.json", "val"),
        ("test_data/slake/questions.json", None),
        ("v2_OpenEnded_mscoco_val2014_questions.json", "val"),
        ("test-dev2015.json", "test"),
        ("testdev_balanced_questions.json", "test"),
        ("train_all_questions_0.json", "train"),
        ("VizWiz-validation", "val"),
        ("questions.json", None),
        ("train_and_test.json", None),
        ("train/val_and_test.json", None),
        ("pretrained.json", None),
        ("trainval.json", None),
        ("values/contest.json", None),
    ],
)
def test_a_file_s_name_says_a_split_by_a_whole_word_and_a_folder_s_by_all_of_it(file, word):
    assert find_split_word(file) == word
