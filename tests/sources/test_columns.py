"""Guesses of columns: by the usual names, as far as the values may be what the name says."""

from __future__ import annotations

import pytest

from vqa_pipeline.sources.columns import guess_columns, guess_split_column

GUESSES = {
    "the usual names": (
        {"question_id": 7, "image": "1.png", "question": "what?", "answers": ["a"]},
        {"id": "question_id", "image": "image", "question": "question", "answers": "answers"},
    ),
    "names of other people": (
        {"Q": "what?", "img_name": "x/1.png", "A": "yes", "qid": 1},
        {"question": "Q", "image": "img_name", "answers": "A", "id": "qid"},
    ),
    "a number is no image name": (
        {"image_id": 7, "file_name": "1.png", "text": "what?"},
        {"question": "text", "image": "file_name"},
    ),
    "an image told by its values": (
        {"scan": "1.png", "question": "what?", "answer": 3},
        {"question": "question", "image": "scan", "answers": "answer"},
    ),
    "the file itself is no image": (
        {"image": "x" * 2000, "question": "what?"},
        {"question": "question"},
    ),
    "nothing usable": ({"x": 1, "y": 2.5}, {}),
}


@pytest.mark.parametrize("case", GUESSES)
def test_columns_are_told_by_name_and_value(case):
    row, expected = GUESSES[case]
    assert guess_columns([row]) == expected


def test_an_id_is_one_only_if_no_row_shares_it():
    rows = [{"id": 1, "image": "1.png", "question": "what?"}, {"id": 1, "image": "1.png", "question": "where?"}]
    assert "id" not in guess_columns(rows)


def test_no_rows_tell_nothing():
    assert guess_columns([]) == {}
    assert guess_split_column([]) is None


def test_a_split_column_mostly_holds_words_for_splits():
    assert guess_split_column([{"split": "train"}, {"split": "valid"}]) == "split"
    assert guess_split_column([{"split": "train"}, {"split": "a"}]) is None
    assert guess_split_column([{"subset": "test"}]) == "subset"
    assert guess_split_column([{"split": "train"}, {"split": "trian"}, {"split": "val"}]) == "split"
