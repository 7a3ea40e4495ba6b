"""What evaluation makes of the tables that pandas reads."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_pipeline.evaluation.tables import list_references, map_answers, select_predictions
from vqa_pipeline.schemas import ANSWERS

RED = {"answer": "red", "answer_id": 1, "answer_confidence": None}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ([RED], [RED]),
        ((RED, RED), [RED, RED]),
        (np.array([RED], dtype=object), [RED]),
        ([], []),
        (None, []),
        (float("nan"), []),
        (pd.NA, []),
    ],
)
def test_references_come_in_every_guise(cell, expected):
    assert list_references(pd.DataFrame({"answers": pd.Series([cell], dtype=object)})) == [expected]


def test_references_read_from_parquet_are_those_written(tmp_path):
    written = [[RED, {"answer": "blue", "answer_id": None, "answer_confidence": "maybe"}], None, []]
    pq.write_table(pa.table({"answers": pa.array(written, ANSWERS)}), tmp_path / "questions.parquet")
    assert list_references(pd.read_parquet(tmp_path / "questions.parquet")) == [written[0], [], []]


def test_a_file_without_any_annotation_gives_no_references(tmp_path):
    pq.write_table(pa.table({"answers": pa.array([None, None], ANSWERS)}), tmp_path / "questions.parquet")
    assert list_references(pd.read_parquet(tmp_path / "questions.parquet")) == [[], []]


def test_a_cell_that_is_no_list_is_an_error():
    with pytest.raises(TypeError, match="'red' where a list of answers belongs"):
        list_references(pd.DataFrame({"answers": ["red"]}))


def test_only_a_checkpoints_own_answers_are_taken():
    predictions = pd.DataFrame(
        {
            "question_id": ["s/1", "s/1", "s/2", "s/2"],
            "variant": ["model", "shuffled_image", "model", "model"],
            "checkpoint": ["new", "new", "new", "old"],
            "answer": ["a", "b", "c", "d"],
        }
    )
    assert map_answers(select_predictions(predictions, "new")) == {"s/1": "a", "s/2": "c"}
    assert map_answers(select_predictions(predictions, "old")) == {"s/2": "d"}
    with pytest.raises(ValueError, match="2 questions have more than one prediction, the first is s/1"):
        map_answers(predictions)


def test_two_answers_to_one_question_are_an_error():
    with pytest.raises(ValueError, match="1 questions have more than one prediction, the first is s/2"):
        map_answers(pd.DataFrame({"question_id": ["s/1", "s/2", "s/2"], "answer": ["a", "b", "b"]}))
