"""Scored answers out of the store and out of files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from colours_world import Runner, make_pipeline, write_source
from fake_worker import FakeWorker

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.lineage.answered import find_answered
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.schemas import PREDICTIONS


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Four test questions about red, green, blue and yellow; the model answers green, then always blue."""
    root = tmp_path_factory.mktemp("colours")
    write_source(root)
    pipeline = make_pipeline(root)
    Runner(pipeline, FakeWorker({"colours/16": "green"})).run()
    return pipeline


def write_answers(file: Path, *answers: tuple[str, str], **told: str) -> str:
    row = {"split": "test", "variant": "model", "checkpoint": "mine", **told}
    rows = [{**row, "question_id": name, "answer": answer, **make_numbers()} for name, answer in answers]
    pq.write_table(pa.Table.from_pylist(rows, PREDICTIONS), file)
    return str(file)


def make_numbers() -> dict[str, object]:
    """What else a row of predictions has, whatever it is."""
    kinds = {"float": 0.5, "double": 0.5, "string": "", "bool": False}
    numbers = {field.name: kinds.get(str(field.type)) for field in PREDICTIONS if not field.nullable}
    return {name: [] if value is None else value for name, value in numbers.items() if name not in
            {"question_id", "split", "variant", "checkpoint", "answer"}}  # fmt: skip


def test_published_answers_come_with_their_questions_references_and_scores(pipeline):
    side, answered, dataset = find_answered(pipeline, "latest")
    rows = answered.rows.set_index("question_id")
    assert rows["score"].to_dict() == {"colours/16": 0, "colours/17": 0, "colours/18": 1, "colours/19": 0}
    assert rows["answer"].to_dict()["colours/16"] == "green"
    assert rows["question"].unique().tolist() == ["what colour is it?"]
    assert [[one["answer"] for one in known] for known in rows["references"]] == [
        ["red"],
        ["green"],
        ["blue"],
        ["yellow"],
    ]
    assert (side.name, side.metric, answered.policy) == ("latest", "normalized", "normalized")
    assert side.dataset == dataset.manifest.version
    assert side.metrics


def test_what_metrics_hold_the_scores_of_is_not_scored_again(pipeline, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("vqa_pipeline.lineage.answered.score_answers", refuse)
    assert find_answered(pipeline, "latest").answered.rows["score"].sum() == 1


def test_a_file_of_predictions_is_scored_on_the_current_dataset(pipeline, tmp_path):
    file = write_answers(tmp_path / "mine.parquet", ("colours/16", "red"), ("colours/0", "red"))
    side, answered, _ = find_answered(pipeline, file)
    scores = answered.rows.set_index("question_id")["score"].to_dict()
    assert scores == {"colours/16": 1, "colours/17": 0, "colours/18": 0, "colours/19": 0}  # what is unanswered earns 0
    assert (side.checkpoint, side.predictions, side.metrics) == ("mine", file, None)


def test_answers_to_a_shuffled_image_are_never_the_model_s(pipeline, tmp_path):
    file = write_answers(tmp_path / "mine.parquet", ("colours/16", "red"), variant="shuffled_image")
    with pytest.raises(SettingsError, match="holds answers of nobody"):
        find_answered(pipeline, file)


def test_what_cannot_be_scored_is_told(pipeline, tmp_path):
    file = tmp_path / "mine.parquet"
    for answers, told in [
        ([("colours/0", "red")], "answers no annotated test question of the dataset"),
        ([("colours/16", "red"), ("colours/16", "blue")], "answers colours/16 and 0 others more than once"),
    ]:
        with pytest.raises(SettingsError, match=told):
            find_answered(pipeline, write_answers(file, *answers))
    for content in (b"no parquet", b""):
        file.write_bytes(content)
        with pytest.raises(SettingsError, match="is no file of predictions"):
            find_answered(pipeline, str(file))
    pq.write_table(pa.table({"a": [1]}), file)
    with pytest.raises(SettingsError, match="is no file of predictions"):
        find_answered(pipeline, str(file))


def test_answers_to_a_dataset_that_is_gone_are_told(tmp_path):
    write_source(tmp_path)
    pipeline = make_pipeline(tmp_path)
    outcomes = Runner(pipeline, FakeWorker()).run()
    (outcomes["dataset"].version.path / "manifest.json").unlink()
    with pytest.raises(SettingsError, match="the dataset with its questions is gone from the store"):
        find_answered(pipeline, "latest")
