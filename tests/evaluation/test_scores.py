"""One table with everybody's scores: the model, shuffled images, other checkpoints, guesses."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from vqa_pipeline.evaluation.scores import BLIND, list_blind, score_everybody, select_scores
from vqa_pipeline.schemas import SCORES

TRAIN = pd.DataFrame(
    {
        "question_id": ["t/1", "t/2", "t/3"],
        "question": ["Is it?", "Is it so?", "What is it?"],
        "question_type": ["is", "is", "what"],
        "most_common_answer": ["yes", "yes", "cat"],
    }
)
QUESTIONS = pd.DataFrame(
    {
        "question_id": ["s/2", "s/1"],
        "source": ["s", "s"],
        "image": ["two.png", "one.png"],
        "image_sha256": pd.Series(["22", None], dtype=object),
        "question": ["What is it?", "Is it?"],
        "question_type": ["what", "is"],
    }
)
REFERENCES = [
    [{"answer": text, "answer_id": None, "answer_confidence": None} for text in given]
    for given in (["cat", "Cat.", "dog", "dog", "dog"], ["yes"])
]


def predict(*rows):
    return pd.DataFrame(rows, columns=["question_id", "variant", "checkpoint", "answer"])


PREDICTIONS = predict(
    ("s/1", "model", "new", "yes"),
    ("s/2", "model", "new", "CAT"),
    ("s/1", "shuffled_image", "new", "no"),
    ("s/2", "shuffled_image", "new", "dog"),
    ("s/2", "model", "old", "dog"),
    ("elsewhere", "model", "new", "dog"),
)


@pytest.fixture(scope="module")
def scores():
    return score_everybody(TRAIN, QUESTIONS, REFERENCES, PREDICTIONS, "new", "normalized")


def tell(scores, variant, checkpoint=None):
    rows = select_scores(scores, variant, checkpoint)
    return list(zip(rows["question_id"], rows["answer"], rows["score"], rows["exact"], strict=True))


def test_everybody_has_a_row_for_every_question_in_its_order(scores):
    assert tell(scores, "model", "new") == [("s/2", "CAT", 1.0, False), ("s/1", "yes", 1.0, True)]
    assert tell(scores, "shuffled_image", "new") == [("s/2", "dog", 1.0, True), ("s/1", "no", 0.0, False)]
    assert tell(scores, "model", "old") == [("s/2", "dog", 1.0, True), ("s/1", None, 0.0, False)]
    assert tell(scores, "majority") == [("s/2", "yes", 0.0, False), ("s/1", "yes", 1.0, True)]
    assert tell(scores, "question_type") == [("s/2", "cat", 1.0, False), ("s/1", "yes", 1.0, True)]
    assert len(scores) == 2 * (3 + 3)


def test_an_image_is_told_by_its_digest_or_by_its_reference(scores):
    assert select_scores(scores, "majority")["image"].tolist() == ["22", "s/one.png"]


def test_guesses_are_no_checkpoints(scores):
    assert select_scores(scores, "majority")["checkpoint"].isna().all()
    assert set(scores["checkpoint"].dropna()) == {"new", "old"}


def test_a_checkpoint_that_answered_nothing_scores_nothing():
    scores = score_everybody(TRAIN, QUESTIONS, REFERENCES, predict(), "new", "normalized")
    assert tell(scores, "model", "new") == [("s/2", None, 0.0, False), ("s/1", None, 0.0, False)]


def test_blind_are_all_who_did_not_see_the_image(scores):
    blind = list_blind(scores, "new")
    assert set(blind) == set(BLIND) == {"majority", "question_type", "question_only", "shuffled_image"}
    assert blind["shuffled_image"].tolist() == [1.0, 0.0]
    assert set(list_blind(scores, "old")) == set(BLIND) - {"shuffled_image"}


def test_the_table_fits_its_schema(scores):
    table = pa.Table.from_pandas(scores, schema=SCORES, preserve_index=False)
    assert table.column_names == SCORES.names
    assert table["checkpoint"].null_count == 2 * 3


def test_a_question_answered_twice_by_one_is_refused():
    twice = predict(("s/1", "model", "new", "yes"), ("s/1", "model", "new", "no"))
    with pytest.raises(ValueError, match="1 questions have more than one prediction, the first is s/1"):
        score_everybody(TRAIN, QUESTIONS, REFERENCES, twice, "new", "normalized")
