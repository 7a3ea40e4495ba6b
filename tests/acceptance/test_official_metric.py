"""Our official metric against what the public evaluator computed, on real VQA v2 answers.

Needs a folder with `metric/` and `vqa_v2_subset/`, which is not part of the project: name it in VQA_ACCEPTANCE_DATA.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pandas as pd
import pytest

from vqa_pipeline.answers.normalization import normalize_punctuation, normalize_words, tidy
from vqa_pipeline.answers.scoring import choose_policy, most_common_answer, score_answer
from vqa_pipeline.evaluation.accuracy import measure_accuracy, score_answers

DATA = os.environ.get("VQA_ACCEPTANCE_DATA")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not DATA, reason="VQA_ACCEPTANCE_DATA does not name a folder with the public evaluator's figures"
    ),
]


def read_json(name):
    content = (Path(DATA) / name).read_bytes()
    return json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)


@pytest.fixture(scope="module")
def annotations():
    return read_json("vqa_v2_subset/vqa_annotatons_valid.gzip")["annotations"]


@pytest.fixture(scope="module")
def expected():
    return read_json("metric/expected_vqa_v2_subset_valid.json")


PREDICTIONS = {
    "yes": lambda annotation: "yes",
    "first_annotator": lambda annotation: annotation["answers"][0]["answer"],
    "majority_upper_period": lambda annotation: annotation["multiple_choice_answer"].upper() + ".",
}


TIES = {("majority_upper_period", "what is the man"): (88.875, 88.87)}
"""Our mean and the published one where the mean lies half-way between two roundings: the evaluator's running sum of
floats falls just below it, ours is exact."""


def to_percent(share):
    """As the official evaluator prints it."""
    return round(100 * share, 2)


def test_every_stage_of_the_normalization_of_every_known_case():
    cases = read_json("metric/normalisation_cases.json")
    assert len(cases) == 103
    for case in cases:
        tidied = tidy(case["input"])
        punctuated = normalize_punctuation(tidied)
        assert tidied == case["stripped"], case
        assert punctuated == case["processPunctuation"], case
        assert normalize_words(punctuated) == case["processDigitArticle_of_that"], case


def test_auto_takes_real_vqa_v2_as_official(annotations):
    assert choose_policy(annotation["answers"] for annotation in annotations) == "official"


@pytest.mark.parametrize("name", PREDICTIONS)
def test_accuracies_are_the_official_ones(name, annotations, expected):
    answers = [PREDICTIONS[name](annotation) for annotation in annotations]
    references = [annotation["answers"] for annotation in annotations]
    scored = pd.DataFrame(
        {
            "score": score_answers(answers, references, "official"),
            "exact": False,
            "answer_type": [annotation["answer_type"] for annotation in annotations],
            "question_type": [annotation["question_type"] for annotation in annotations],
        }
    )
    official = expected[name]
    assert len(scored) == official["n"] == 8977
    assert to_percent(measure_accuracy(scored).vqa_accuracy) == official["overall"]
    for column, published in (("answer_type", "perAnswerType"), ("question_type", "perQuestionType")):
        groups = {kind: measure_accuracy(rows) for kind, rows in scored.groupby(column)}
        assert groups.keys() == official[published].keys()
        for group, percent in official[published].items():
            ours = groups[group].vqa_accuracy
            if (name, group) in TIES:
                assert (100 * ours, percent) == TIES[name, group]
            else:
                assert to_percent(ours) == percent, group


@pytest.mark.parametrize("name", PREDICTIONS)
def test_every_sampled_question_scores_as_officially(name, annotations, expected):
    references = {str(annotation["question_id"]): annotation["answers"] for annotation in annotations}
    sample = expected[name]["sample_predictions"]
    scores = {
        question_id: to_percent(score_answer(answer, references[question_id], "official"))
        for question_id, answer in sample.items()
    }
    assert len(sample) == 300
    assert scores == expected[name]["sample_per_question_accuracy"]


def test_the_most_common_answer_is_the_published_one_but_for_ties_and_spelling(annotations):
    published = [annotation["multiple_choice_answer"] for annotation in annotations]
    ours = [most_common_answer(annotation["answers"]) for annotation in annotations]
    agreeing = sum(mine == theirs for mine, theirs in zip(ours, published, strict=True))
    assert agreeing / len(ours) > 0.9
