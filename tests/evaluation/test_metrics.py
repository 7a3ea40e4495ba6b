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
from vqa_pipeline.evaluation.scores import select_scores
from vqa_pipeline.evaluation.settings import EvaluationSettings
from vqa_pipeline.schemas import ANSWERS, SCORES

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
            "paraphrase_of": pd.Series([None] * len(rows), dtype=object),
        }
    )


def answer(answers):
    told = {"question_id": list(answers), "variant": "model", "checkpoint": "c1", "answer": list(answers.values())}
    return pd.DataFrame(told).assign(score=0.9, probability=0.5)


def compute(train, questions, predictions, metric="auto"):
    """The metrics, and the scores of the model."""
    measured = compute_metrics(train, questions, predictions, "c1", VOCABULARY, EvaluationSettings(metric=metric), 0.4)
    return measured.metrics, select_scores(measured.scores, "model", "c1")


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
    return compute(TRAIN, TEST, PREDICTIONS)


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
    assert list(scored.columns) == SCORES.names
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
    alike, _ = compute(TRAIN, TEST.assign(image_sha256="one"), PREDICTIONS)
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
    metrics, scored = compute(TRAIN, questions, predictions)
    assert metrics.metric == "official"
    assert scored["score"].tolist() == [0.0, 1.0]  # ten equal strings: not normalized
    assert scored["exact"].tolist() == [True, True]
    assert (metrics.ceiling, metrics.coverage) == (0.5, 1.0)
    assert compute(TRAIN, questions, predictions, "normalized")[0].vqa_accuracy == 1.0


def test_ten_references_without_ids_make_auto_normalized_so_that_agreement_is_not_punished():
    unnumbered = [{**reference, "answer_id": None} for reference in refer(*["yes"] * 10)]
    questions = make_questions(("Is it?", unnumbered, "yes/no", "is"), split="test")
    predictions = answer({"test/0": "yes"})
    metrics, _ = compute(TRAIN, questions, predictions)
    assert (metrics.metric, metrics.vqa_accuracy, metrics.ceiling) == ("normalized", 1.0, 1.0)
    assert compute(TRAIN, questions, predictions, "official")[0].vqa_accuracy == 0.0


def test_the_policy_can_be_asked_for():
    metrics, _ = compute(TRAIN, TEST, PREDICTIONS, "official")
    assert metrics.metric == "official"
    assert metrics.vqa_accuracy == pytest.approx(
        4 / 5 / 3 / 4
    )  # blue, unless blue is left out; one reference is never met
    assert metrics.ceiling == pytest.approx(1.0 / 4)  # red, met by four of five


def test_questions_of_several_splits_are_scored_together():
    both = pd.concat([TEST, make_questions(("Is it?", refer("yes"), "yes/no", "is"), split="val")], ignore_index=True)
    predictions = pd.concat([PREDICTIONS, answer({"val/0": "yes"})])
    metrics, _ = compute(TRAIN, both, predictions)
    assert metrics.num_scored == 5


def test_a_question_that_everyone_answered_with_nothing_is_scored_and_never_exact():
    questions = make_questions(("Which letter?", refer("A"), "other", "which"), split="test")
    metrics, _ = compute(TRAIN, questions, answer({"test/0": "the"}))
    assert (metrics.num_scored, metrics.vqa_accuracy, metrics.exact_match, metrics.coverage) == (1, 0.0, 0.0, 0.0)


def test_nothing_annotated_is_refused():
    with pytest.raises(SettingsError, match="`evaluation.splits`: none of the 1 evaluated questions has answers"):
        compute(TRAIN, TEST[4:], PREDICTIONS)


def test_an_empty_split_is_refused():
    with pytest.raises(SettingsError, match="none of the 0 evaluated questions"):
        compute(TRAIN, TEST[:0], PREDICTIONS)


def test_tables_from_parquet_give_the_same_metrics(tmp_path, measured):
    for name, frame in (("train", TRAIN), ("test", TEST)):
        columns = {column: frame[column].tolist() for column in frame}
        table = pa.table(columns | {"answers": pa.array(columns["answers"], ANSWERS)})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    train, test = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("train", "test"))
    metrics, _ = compute(train, test, PREDICTIONS)
    assert metrics == measured[0]


def test_the_order_of_questions_and_predictions_changes_nothing(measured):
    metrics, scored = compute(TRAIN[::-1], TEST[::-1], PREDICTIONS[::-1])
    assert metrics == measured[0]
    assert scored[::-1].to_dict("records") == measured[1].to_dict("records")


def test_metrics_survive_json(measured):
    metrics, _ = measured
    assert type(metrics).model_validate_json(metrics.model_dump_json()) == metrics


def test_image_reliance_is_what_the_model_has_above_the_best_that_does_not_see_the_image(measured):
    metrics, _ = measured
    assert metrics.best_blind == "question_type"  # as good as the question alone; the first of them
    assert metrics.image_reliance == pytest.approx(5 / 12 - 2 / 4)
    low, high = metrics.image_reliance_interval.low, metrics.image_reliance_interval.high
    assert -1 <= low < metrics.image_reliance < high <= 1
    assert metrics.baseline_question_type_interval.low < 0.5 < metrics.baseline_question_type_interval.high


def test_the_model_on_shuffled_images_is_blind_too():
    shuffled = answer({"test/0": "yes", "test/1": "no", "test/2": "red"}).assign(variant="shuffled_image")
    metrics, scored = compute(TRAIN, TEST, pd.concat([PREDICTIONS, shuffled]))
    assert scored["score"].tolist() == [1.0, 0.0, pytest.approx(2 / 3), 0.0]
    assert metrics.baseline_shuffled_image == 3 / 4
    assert metrics.best_blind == "shuffled_image"
    assert metrics.image_reliance == pytest.approx(5 / 12 - 3 / 4)


def test_without_answers_to_shuffled_images_nothing_is_told_of_them(measured):
    metrics, _ = measured
    assert metrics.baseline_shuffled_image is None
    assert metrics.baseline_shuffled_image_interval is None


def test_another_checkpoint_is_scored_beside_and_changes_nothing(measured):
    other = answer({"test/0": "no", "test/1": "no"}).assign(checkpoint="champion")
    computed = compute_metrics(
        TRAIN, TEST, pd.concat([PREDICTIONS, other]), "c1", VOCABULARY, EvaluationSettings(), 0.4
    )
    assert computed.metrics == measured[0]
    assert select_scores(computed.scores, "model", "champion")["score"].tolist() == [0.0, 1.0, 0.0, 0.0]


def test_probabilities_are_measured_on_the_answered_questions(measured):
    told = measured[0].calibration
    assert told.num_questions == 3
    # three answers earn 1, 0 and 2/3, and all say that they are right with 0.5; their sigmoids are 0.9
    assert told.ece == pytest.approx(5 / 9 - 0.5, abs=1e-6)
    assert told.ece_before == pytest.approx(0.9 - 5 / 9, abs=1e-6)
    assert (told.abstain_threshold, told.abstained_fraction) == (0.4, 0)


def test_without_answers_there_is_nothing_to_calibrate():
    metrics, _ = compute(TRAIN, TEST, PREDICTIONS[:0])
    assert metrics.calibration is None


def test_relaxed_numbers_are_named_by_the_metric():
    questions = make_questions(("How many?", refer("100"), "number", "how"), split="test")
    predictions = answer({"test/0": "104"})
    strict = compute_metrics(TRAIN, questions, predictions, "c1", VOCABULARY, EvaluationSettings(), 0.4).metrics
    settings = EvaluationSettings(relaxed_numbers=True)
    relaxed = compute_metrics(TRAIN, questions, predictions, "c1", VOCABULARY, settings, 0.4).metrics
    assert (strict.metric, strict.vqa_accuracy) == ("normalized", 0.0)
    assert (relaxed.metric, relaxed.vqa_accuracy) == ("normalized_relaxed", 1.0)


def test_paraphrases_are_looked_for_among_the_scored_questions():
    assert compute(TRAIN, TEST, PREDICTIONS)[0].consistency is None
    named = TEST.assign(image="1.png", paraphrase_of=["g", "g", None, None, "g"])
    told = compute(TRAIN, named, PREDICTIONS)[0].consistency
    assert (told.num_groups, told.num_questions, told.agreement, told.consensus) == (1, 2, 1.0, {1: 0.5, 2: 0.0})
