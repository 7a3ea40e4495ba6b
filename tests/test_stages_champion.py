"""The champion among the predictions, in the metrics, and its promotion; with a worker that has no torch."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from colours_world import Runner, make_pipeline, write_source
from fake_worker import FakeWorker

from vqa_pipeline.deployment import Deployment
from vqa_pipeline.errors import ChampionDamaged
from vqa_pipeline.modeling.jobs import PredictJob
from vqa_pipeline.stages import open_store


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_source(tmp_path)
    return tmp_path


def promote(project, outcomes):
    return Deployment(open_store(make_pipeline(project))).deploy(outcomes["checkpoint"].version, "", "promoted", "")


def retrain(project, answers=None, **settings):
    """A checkpoint of another seed, from a runner of its own."""
    runner = Runner(make_pipeline(project, training={"backbone": "tiny", "seed": 1}, **settings), FakeWorker(answers))
    return runner, runner.run()


def read(outcome):
    return pq.read_table(outcome.version.path / "predictions.parquet").to_pylist()


def read_metrics(outcome):
    return json.loads((outcome.version.path / "metrics.json").read_text())


def count_predictions(runner):
    return sum(isinstance(job, PredictJob) for job in runner.worker.jobs)


def test_without_a_champion_the_checkpoint_alone_answers(project):
    outcomes = Runner(make_pipeline(project)).run()
    rows, version = read(outcomes["predictions"]), outcomes["checkpoint"].version.manifest.data_version
    assert [(row["variant"], row["checkpoint"]) for row in rows] == [
        *[("model", version)] * 4,
        *[("shuffled_image", version)] * 4,
    ]
    assert outcomes["predictions"].version.manifest.details == {"champion": None}
    assert outcomes["predictions"].version.manifest.numbers == {"num_predictions": 4}


def test_shuffled_images_can_be_left_out(project):
    outcomes = Runner(make_pipeline(project, evaluation={"shuffled_image": False})).run()
    assert {row["variant"] for row in read(outcomes["predictions"])} == {"model"}
    assert "baseline_shuffled_image" not in outcomes["metrics"].version.manifest.numbers


def test_the_champions_earlier_answers_to_the_same_questions_are_taken_over(project):
    champion = promote(project, Runner(make_pipeline(project)).run())
    runner, outcomes = retrain(project)
    rows = read(outcomes["predictions"])
    assert count_predictions(runner) == 1
    assert [row["variant"] for row in rows if row["checkpoint"] == champion.data_version] == ["model"] * 4
    assert outcomes["predictions"].version.manifest.details == {"champion": champion.data_version}


def test_what_the_champion_has_not_seen_it_is_asked(project):
    champion = promote(project, Runner(make_pipeline(project)).run())
    write_source(project, change={19: {"question": "what colour is that?"}})
    runner, outcomes = retrain(project)
    asked = [job for job in runner.worker.jobs if isinstance(job, PredictJob)]
    assert [(job.checkpoint_version, job.shuffled_splits) for job in asked] == [
        (outcomes["checkpoint"].version.manifest.data_version, ("test",)),
        (champion.data_version, ()),
    ]
    assert asked[1].checkpoint == str(champion.folder)
    assert sum(row["checkpoint"] == champion.data_version for row in read(outcomes["predictions"])) == 4


def test_nothing_is_predicted_again_because_the_challenger_became_the_champion(project):
    promote(project, Runner(make_pipeline(project)).run())
    runner, outcomes = retrain(project)
    promote(project, outcomes)
    assert all(outcome.reused for outcome in runner.run().values())


def test_a_champion_that_was_chosen_since_is_asked(project):
    first = Runner(make_pipeline(project)).run()
    runner, outcomes = retrain(project)
    assert outcomes["predictions"].version.manifest.details == {"champion": None}
    champion = promote(project, first)
    again = runner.run()
    assert not again["predictions"].reused
    assert again["predictions"].version.manifest.details == {"champion": champion.data_version}


def test_a_damaged_champion_is_told_and_nothing_is_published(project):
    champion = promote(project, Runner(make_pipeline(project)).run())
    (champion.folder / "vocabulary.json").unlink()
    with pytest.raises(ChampionDamaged, match="vocabulary.json: is missing"):
        retrain(project)


def test_official_results_are_the_challengers(project):
    promote(project, Runner(make_pipeline(project)).run())
    _, outcomes = retrain(project, dict.fromkeys([f"colours/{number}" for number in range(20)], "red"))
    text = (outcomes["predictions"].version.path / "official_results" / "test.json").read_text()
    assert text.count('"red"') == 4
    assert "blue" not in text


def test_metrics_compare_with_the_champion_and_tell_a_verdict(project):
    champion = promote(project, Runner(make_pipeline(project)).run())
    _, outcomes = retrain(project, dict.fromkeys([f"colours/{number}" for number in range(20)], "red"))
    told = read_metrics(outcomes["metrics"])
    assert told["comparison"]["champion"] == champion.data_version
    # four test questions, one of each colour: blue is right once, red is right once
    assert told["comparison"]["champion_accuracy"] == 0.25
    assert told["comparison"]["total"]["difference"] == 0
    assert told["verdict"]["outcome"] == "needs_more_data"


def test_the_first_checkpoint_is_judged_by_what_does_not_see_the_image(project):
    told = read_metrics(Runner(make_pipeline(project)).run()["metrics"])
    assert told["comparison"] is None
    assert "above the best that does not see the image" in told["verdict"]["reasons"][0]
