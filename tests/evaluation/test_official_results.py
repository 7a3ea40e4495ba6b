"""The official result file: native ids with their type, one row for every question."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from vqa_pipeline.evaluation.official_results import build_official_results


def test_native_ids_keep_their_type_and_the_order_of_questions():
    questions = pd.DataFrame({"question_id": ["v/7", "v/x7", "v/3"], "native_id": ["7", '"7"', "3"]})
    predictions = pd.DataFrame({"question_id": ["v/3", "v/7", "v/x7"], "answer": ["no", "yes", "2"]})
    assert build_official_results(questions, predictions) == [
        {"question_id": 7, "answer": "yes"},
        {"question_id": "7", "answer": "2"},
        {"question_id": 3, "answer": "no"},
    ]


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_question_without_native_id_goes_by_its_question_id(missing):
    questions = pd.DataFrame({"question_id": ["t/ab12"], "native_id": pd.Series([missing], dtype=object)})
    predictions = pd.DataFrame({"question_id": ["t/ab12"], "answer": ["yes"]})
    assert build_official_results(questions, predictions) == [{"question_id": "t/ab12", "answer": "yes"}]


def test_a_question_without_prediction_gets_the_empty_answer():
    questions = pd.DataFrame({"question_id": ["v/1"], "native_id": ["1"]})
    predictions = pd.DataFrame({"question_id": [], "answer": []})
    assert build_official_results(questions, predictions) == [{"question_id": 1, "answer": ""}]


def test_predictions_for_other_questions_are_left_out():
    questions = pd.DataFrame({"question_id": ["v/1"], "native_id": ["1"]})
    predictions = pd.DataFrame({"question_id": ["v/1", "v/2"], "answer": ["yes", "no"]})
    assert build_official_results(questions, predictions) == [{"question_id": 1, "answer": "yes"}]


def test_big_ids_survive_as_json():
    questions = pd.DataFrame({"question_id": ["v/1"], "native_id": ["262148000123456789"]})
    predictions = pd.DataFrame({"question_id": ["v/1"], "answer": ["café"]})
    text = json.dumps(build_official_results(questions, predictions), ensure_ascii=False)
    assert text == '[{"question_id": 262148000123456789, "answer": "café"}]'
