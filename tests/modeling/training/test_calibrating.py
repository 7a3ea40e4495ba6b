"""A checkpoint's calibration is that of its own answers to the validation questions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from modeling_world import World, never, predict_job, train_job
from scipy.special import logit

from vqa_pipeline.answers.scoring import score_answer
from vqa_pipeline.errors import BackboneError, TrainingCancelled
from vqa_pipeline.evaluation.calibration import Calibration, fit_calibration
from vqa_pipeline.modeling.checkpoint import load_checkpoint
from vqa_pipeline.modeling.prediction import predict
from vqa_pipeline.modeling.training.train import train


def predict_split(world: World, folder: Path, checkpoint: Path, split: str) -> list[dict[str, object]]:
    job = predict_job(world, folder, checkpoint)
    predict(job.model_copy(update={"questions": ((split, str(world.questions(split))),)}), lambda event: None, never)
    return pq.read_table(folder / "predictions.parquet").to_pylist()


def read(folder: Path) -> Calibration:
    return Calibration.model_validate_json((folder / "calibration.json").read_bytes())


def test_it_is_fitted_on_what_the_checkpoint_answers_to_the_validation_questions(
    world: World, trained: Path, tmp_path: Path
) -> None:
    rows = {row["question_id"]: row for row in predict_split(world, tmp_path, trained / "checkpoint", "val")}
    questions = pq.read_table(world.questions("val")).to_pylist()
    annotated = [one for one in questions if one["answers"] and one["question_id"] in rows]
    earned = [score_answer(rows[one["question_id"]]["answer"], one["answers"], "normalized") for one in annotated]
    logits = [logit(float(rows[one["question_id"]]["score"])) for one in annotated]
    expected, found = fit_calibration(np.array(logits), np.array(earned)), read(trained / "checkpoint")
    assert found.num_questions == len(annotated) > 0
    assert found.temperature == pytest.approx(expected.temperature, abs=1e-3)
    assert found.offset == pytest.approx(expected.offset, abs=1e-3)
    assert found == load_checkpoint(trained / "checkpoint").calibration
    assert json.loads((trained / "checkpoint" / "training.json").read_bytes())["calibration"] == found.model_dump()


def test_probabilities_are_what_it_makes_of_scores(world: World, trained: Path, tmp_path: Path) -> None:
    calibration = read(trained / "checkpoint")
    for row in predict_split(world, tmp_path, trained / "checkpoint", "test"):
        best = row["top_answers"][0]
        assert (row["probability"], row["score"]) == (best["probability"], best["score"])
        told = np.array([each["score"] for each in row["top_answers"]])
        assert [each["probability"] for each in row["top_answers"]] == pytest.approx(
            calibration.apply(logit(told.astype(float))).tolist(), abs=1e-4
        )


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"temperature": -1}'])
def test_a_checkpoint_without_it_is_none(trained: Path, tmp_path: Path, content: bytes | None) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for path in (trained / "checkpoint").iterdir():
        if path.name != "calibration.json":
            (folder / path.name).symlink_to(path)
    if content is not None:
        (folder / "calibration.json").write_bytes(content)
    with pytest.raises(BackboneError, match="it is not a checkpoint"):
        load_checkpoint(folder)


def test_whoever_stops_it_goes_on_there(world: World, trained: Path, tmp_path: Path) -> None:
    class StopWhen:
        told = False

        def __call__(self) -> bool:
            return self.told

    stop = StopWhen()

    def report(event: dict[str, object]) -> None:
        stop.told = stop.told or (event["event"] == "epoch" and event["epoch"] == epochs)

    job = train_job(world, tmp_path)
    epochs = job.settings.epochs
    with pytest.raises(TrainingCancelled, match="the next run resumes from"):
        train(job, report, stop)
    assert not (tmp_path / "checkpoint").exists()
    train(job, lambda event: None, never)
    assert read(tmp_path / "checkpoint") == read(trained / "checkpoint")
