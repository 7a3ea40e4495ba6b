"""The metrics of a small world, worked out by hand."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_pipeline.answers.scoring import most_common_answer
from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.evaluation.metrics import compute_metrics
from vqa_pipeline.schemas import ANSWERS

VOCABULARY = AnswerVocabulary(answers=("yes", "red", "no"), counts=(3, 2, 1))


def refer(*answers):
    return [
        {"answer": text, "answer_id": number, "answer_confidence": None} for number, text in enumerate(answers, start=1)
    ]


def make_questions(*rows, split):
    """Rows of (question, references, answer type, question type)."""
    return pd.DataFrame(
        {
            "question_id": [f"{split}/{number}" for number in range(len(rows))],
            "split": [split] * len(rows),
            "source": ["s"] * len(rows),
            "image": [f"{number}.png" for number in range(len(rows))],
            "image_sha256": pd.Series([None] * len(rows), dtype=object),
            "question": [row[0] for row in rows],
            "answers": pd.Series([row[1] for row in rows], dtype=object),
            "most_common_answer": pd.Series([most_common_answer(row[1] or []) for row in rows], dtype=object),
            "answer_type": pd.Series([row[2] for row in rows], dtype=object),
            "question_type": pd.Series([row[3] for row in rows], dtype=object),
        }
    )


def answer(answers):
    return pd.DataFrame({"question_id": list(answers), "variant": "model", "answer": list(answers.values())})


TRAIN = make_questions(
    ("Is it red?", refer("yes"), "yes/no", "is"),
    ("Is it big?", refer("yes"), "yes/no", "is"),
    ("Is it small?", refer("yes"), "yes/no", "is"),
    ("What color?", refer("red"), "other", "what"),
    ("What color now?", refer("red"), "other", "what"),
    ("Is it gone?", None, None, None),
    split="train",
)
TEST = make_questions(
    ("Is it a ball?", refer("Yes."), "yes/no", "is"),
    ("Is it a box?", refer("no"), "yes/no", "is"),
    ("What color?", refer("red", "red", "red", "red", "blue"), "other", "what"),
    ("What name?", refer("bob"), None, None),
    ("Not annotated", None, None, None),
    split="test",
)
PREDICTIONS = answer({"test/0": "yes", "test/1": "yes", "test/2": "blue", "test/4": "no", "elsewhere/1": "yes"})


@pytest.fixture(scope="module")
def measured():
    return compute_metrics(TRAIN, TEST, PREDICTIONS, VOCABULARY, "auto")


def test_the_headline(measured):
    metrics, _ = measured
    assert metrics.metric == "normalized"
    assert (metrics.num_questions, metrics.num_scored, metrics.num_unanswered) == (5, 4, 1)
    assert metrics.vqa_accuracy == pytest.approx((1 + 0 + 1 / 1.5 + 0) / 4)
    assert metrics.exact_match == 1 / 4


def test_a_question_without_prediction_counts_as_wrong(measured):
    _, scored = measured
    row = scored[scored["question_id"] == "test/3"].iloc[0]
    assert (row["score"], row["exact"], row["answer"]) == (0.0, False, None)


def test_every_scored_question_has_its_row(measured):
    _, scored = measured
    assert list(scored.columns) == ["question_id", "score", "exact", "answer"]
    assert scored["question_id"].tolist() == ["test/0", "test/1", "test/2", "test/3"]
    assert scored["score"].tolist() == [1.0, 0.0, pytest.approx(2 / 3), 0.0]
    assert scored["exact"].tolist() == [True, False, False, False]


def test_slices_are_of_the_scored_questions(measured):
    metrics, _ = measured
    told = {(one.column, one.value): (one.num_questions, one.vqa_accuracy) for one in metrics.slices}
    assert told["answer_type", "yes/no"] == (2, 0.5)
    assert told["question_type", "what"] == (1, pytest.approx(2 / 3))
    assert told["vocabulary", "not in the vocabulary"] == (1, 0.0)


def test_the_interval_is_by_images(measured):
    metrics, _ = measured
    assert metrics.num_images == 4
    assert metrics.interval.low < metrics.vqa_accuracy < metrics.interval.high
    alike, _ = compute_metrics(TRAIN, TEST.assign(image_sha256="one"), PREDICTIONS, VOCABULARY, "auto")
    assert alike.num_images == 1
    assert alike.interval.high - alike.interval.low > 0.9


def test_coverage_and_ceiling_of_the_scored_questions(measured):
    metrics, _ = measured
    assert metrics.coverage == 3 / 4
    assert metrics.ceiling == 3 / 4


def test_baselines_answer_the_same_questions(measured):
    metrics, _ = measured
    assert metrics.baseline_majority == 1 / 4  # yes, always
    assert metrics.baseline_question_type == 2 / 4  # yes to `is`, red to `what`, yes to the untyped
    assert metrics.baseline_question_only == 2 / 4


def test_ten_references_everywhere_make_auto_official():
    questions = make_questions(
        ("Is it?", refer(*["Yes."] * 10), "yes/no", "is"),
        ("Is it?", refer(*["Yes."] * 9, "no"), "yes/no", "is"),
        ("Is it?", None, None, None),
        split="test",
    )
    predictions = answer({"test/0": "yes", "test/1": "yes"})
    metrics, scored = compute_metrics(TRAIN, questions, predictions, VOCABULARY, "auto")
    assert metrics.metric == "official"
    assert scored["score"].tolist() == [0.0, 1.0]  # ten equal strings: not normalized
    assert scored["exact"].tolist() == [True, True]
    assert (metrics.ceiling, metrics.coverage) == (0.5, 1.0)
    assert compute_metrics(TRAIN, questions, predictions, VOCABULARY, "normalized")[0].vqa_accuracy == 1.0


def test_ten_references_without_ids_make_auto_normalized_so_that_agreement_is_not_punished():
    unnumbered = [{**reference, "answer_id": None} for reference in refer(*["yes"] * 10)]
    questions = make_questions(("Is it?", unnumbered, "yes/no", "is"), split="test")
    predictions = answer({"test/0": "yes"})
    metrics, _ = compute_metrics(TRAIN, questions, predictions, VOCABULARY, "auto")
    assert (metrics.metric, metrics.vqa_accuracy, metrics.ceiling) == ("normalized", 1.0, 1.0)
    assert compute_metrics(TRAIN, questions, predictions, VOCABULARY, "official")[0].vqa_accuracy == 0.0


def test_the_policy_can_be_asked_for():
    metrics, _ = compute_metrics(TRAIN, TEST, PREDICTIONS, VOCABULARY, "official")
    assert metrics.metric == "official"
    assert metrics.vqa_accuracy == pytest.approx(
        4 / 5 / 3 / 4
    )  # blue, unless blue is left out; one reference is never met
    assert metrics.ceiling == pytest.approx(1.0 / 4)  # red, met by four of five


def test_questions_of_several_splits_are_scored_together():
    both = pd.concat([TEST, make_questions(("Is it?", refer("yes"), "yes/no", "is"), split="val")], ignore_index=True)
    predictions = pd.concat([PREDICTIONS, answer({"val/0": "yes"})])
    metrics, _ = compute_metrics(TRAIN, both, predictions, VOCABULARY, "auto")
    assert metrics.num_scored == 5


def test_a_question_that_everyone_answered_with_nothing_is_scored_and_never_exact():
    questions = make_questions(("Which letter?", refer("A"), "other", "which"), split="test")
    metrics, _ = compute_metrics(TRAIN, questions, answer({"test/0": "the"}), VOCABULARY, "auto")
    assert (metrics.num_scored, metrics.vqa_accuracy, metrics.exact_match, metrics.coverage) == (1, 0.0, 0.0, 0.0)


def test_nothing_annotated_is_refused():
    with pytest.raises(SettingsError, match="`evaluation.splits`: none of the 1 evaluated questions has answers"):
        compute_metrics(TRAIN, TEST[4:], PREDICTIONS, VOCABULARY, "auto")


def test_an_empty_split_is_refused():
    with pytest.raises(SettingsError, match="none of the 0 evaluated questions"):
        compute_metrics(TRAIN, TEST[:0], PREDICTIONS, VOCABULARY, "auto")


def test_tables_from_parquet_give_the_same_metrics(tmp_path, measured):
    for name, frame in (("train", TRAIN), ("test", TEST)):
        columns = {column: frame[column].tolist() for column in frame}
        table = pa.table(columns | {"answers": pa.array(columns["answers"], ANSWERS)})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    train, test = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("train", "test"))
    metrics, _ = compute_metrics(train, test, PREDICTIONS, VOCABULARY, "auto")
    assert metrics == measured[0]


def test_the_order_of_questions_and_predictions_changes_nothing(measured):
    metrics, scored = compute_metrics(TRAIN[::-1], TEST[::-1], PREDICTIONS[::-1], VOCABULARY, "auto")
    assert metrics == measured[0]
    assert scored[::-1].to_dict("records") == measured[1].to_dict("records")


def test_metrics_survive_json(measured):
    metrics, _ = measured
    assert type(metrics).model_validate_json(metrics.model_dump_json()) == metrics
