"""The champion among the predictions, in the metrics, and its promotion; with a worker that has no torch."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from colours_world import COLOURS, Runner, make_pipeline, write_source
from fake_worker import FakeWorker
from full_disk import files_of_at_most

from vqa_pipeline import stages
from vqa_pipeline.deployment import Deployment
from vqa_pipeline.errors import ChampionDamaged, DiskError, StaleInput
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


# ------------------------------------------------------------------------------------------------------------ promotion

NUM_ROWS = 200
"""40 of them are test questions, each about an image of its own; guessing reaches 0.25."""
RIGHT = {f"colours/{number}": COLOURS[number % 4] for number in range(NUM_ROWS)}
HALF = {name: answer if int(name.partition("/")[2]) % 8 < 4 else "red" for name, answer in RIGHT.items()}


@pytest.fixture
def many(tmp_path: Path) -> Path:
    write_source(tmp_path, NUM_ROWS)
    return tmp_path


def run(folder, answers, seed=0, **settings):
    pipeline = make_pipeline(folder, training={"backbone": "tiny", "seed": seed}, **settings)
    runner = Runner(pipeline, FakeWorker(answers))
    return runner, runner.run("champion")


def find_deployment(folder):
    return Deployment(open_store(make_pipeline(folder)))


def tell(outcomes):
    return outcomes["champion"].version.manifest.details["verdict"]


def test_the_first_that_sees_the_images_is_promoted_and_deployed_with_its_card(many):
    runner, outcomes = run(many, RIGHT)
    checkpoint = outcomes["checkpoint"].version
    assert tell(outcomes)["outcome"] == "promoted"
    assert "above the best that does not see the image: better beyond chance" in tell(outcomes)["reasons"][0]
    champion = find_deployment(many).require_champion()
    assert champion.version == checkpoint.manifest.version
    assert champion.change.reason == tell(outcomes)["reasons"][0]
    current = many / "data" / "store" / "clinic" / "champion" / "current"
    assert (current / "model.safetensors").read_bytes() == (checkpoint.path / "model.safetensors").read_bytes()
    assert "| Model | 1.000 |" in (current / "README.md").read_text()
    assert any(line.startswith(f"champion: checkpoint {champion.version} is in use") for line in runner.said)
    assert "**Promoted**: it is the first champion." in outcomes["champion"].markdown


def test_the_first_that_guesses_is_not_promoted(many):
    _, outcomes = run(many, {})  # the first answer of the vocabulary, always, which is the most frequent one
    assert tell(outcomes)["outcome"] == "held"
    assert "a gain of 0.01 can be ruled out" in tell(outcomes)["reasons"][0]
    assert find_deployment(many).find_champion() is None


def test_run_again_nothing_is_decided_again(many):
    runner, _ = run(many, RIGHT)
    assert runner.run("champion")["champion"].reused
    assert len(find_deployment(many).read_history()) == 1


def test_a_better_one_replaces_the_champion(many):
    run(many, HALF)
    _, outcomes = run(many, RIGHT, seed=1)
    assert tell(outcomes)["outcome"] == "promoted"
    assert tell(outcomes)["reasons"][0].startswith("+0.375 (")
    history = find_deployment(many).read_history()
    assert [change.how for change in history] == ["promoted", "promoted"]
    assert history[-1].data_version == outcomes["checkpoint"].version.manifest.data_version
    assert outcomes["champion"].version.manifest.numbers["difference"] == pytest.approx(0.375)


def test_a_worse_one_is_held_and_a_warning(many):
    _, first = run(many, RIGHT)
    _, outcomes = run(many, HALF, seed=1)
    assert tell(outcomes)["outcome"] == "held"
    assert "it is worse" in tell(outcomes)["reasons"][0]
    champion = find_deployment(many).require_champion()
    assert champion.data_version == first["checkpoint"].version.manifest.data_version
    [check] = outcomes["champion"].checks
    assert (check.name, check.passed) == ("no_regression", False)
    assert check.message.startswith("the checkpoint is worse than the champion: -0.375")


def test_the_champion_itself_is_in_use_whatever_is_decided_anew(many):
    run(many, RIGHT)
    _, outcomes = run(many, RIGHT, champion={"minimum_effect": 0.02})
    assert tell(outcomes) == {"outcome": "in_use", "reasons": ["this checkpoint is the champion already"]}
    assert len(find_deployment(many).read_history()) == 1


def test_other_settings_than_the_declared_ones_are_promoted_only_where_that_is_allowed(many):
    pipeline = make_pipeline(many)
    runner = Runner(pipeline, FakeWorker(RIGHT))
    runner.training = pipeline.settings.training.model_copy(update={"epochs": 3})
    assert "`champion.allow_overridden`" in tell(runner.run("champion"))["reasons"][0]
    assert find_deployment(many).find_champion() is None
    runner.pipeline = make_pipeline(many, champion={"allow_overridden": True})
    assert tell(runner.run("champion"))["outcome"] == "promoted"


def test_a_pinned_champion_keeps_a_better_one_waiting(many):
    _, first = run(many, HALF)
    find_deployment(many).deploy(first["checkpoint"].version, "", "pinned", "the audit")
    _, outcomes = run(many, RIGHT, seed=1)
    assert tell(outcomes)["outcome"] == "held"
    assert tell(outcomes)["reasons"][0] == "the champion is pinned (the audit)"


def test_a_checkpoint_that_somebody_went_back_from_is_not_promoted_again(many):
    _, first = run(many, HALF)
    run(many, RIGHT, seed=1)
    find_deployment(many).deploy(first["checkpoint"].version, "", "rolled back", "complaints")
    _, outcomes = run(many, RIGHT, seed=1, champion={"minimum_effect": 0.02})
    assert tell(outcomes)["outcome"] == "held"
    assert tell(outcomes)["reasons"][0] == "it was in use before and somebody went back from it"
    assert len(find_deployment(many).read_history()) == 3


def test_another_champion_since_the_predictions_is_refused(many):
    _, first = run(many, HALF)
    runner, _ = run(many, RIGHT, seed=1)
    _, third = run(many, HALF, seed=2)
    find_deployment(many).deploy(third["checkpoint"].version, "", "pinned", "")
    write_source(many, NUM_ROWS, change={199: {"answer": "red"}})
    runner.run("metrics")
    find_deployment(many).deploy(first["checkpoint"].version, "", "pinned", "")
    with pytest.raises(StaleInput, match="champion would mix states: predictions was made from another champion"):
        stages.decide_champion(runner.pipeline, print)


def test_a_test_split_without_answers_promotes_nothing(project):
    [source] = make_pipeline(project).settings.model_dump(mode="json")["sources"]
    table = (project / "raw" / "questions.csv").read_text().splitlines()
    (project / "raw" / "questions.csv").write_text("\n".join(table[:17]) + "\n")
    (project / "raw" / "asked.csv").write_text("\n".join([table[0], *table[17:]]) + "\n")
    asked = {**source, "name": "asked", "files": "raw/asked.csv", "columns": {**source["columns"], "answers": None}}
    pipeline = make_pipeline(project, sources=[source, asked])
    stages.build_records(pipeline, "asked", [].append)
    outcomes = Runner(pipeline).run("champion")
    assert tell(outcomes) == {"outcome": "held", "reasons": ["nothing was scored: the test split has no answers"]}
    assert find_deployment(project).find_champion() is None


def test_a_promotion_that_a_full_disk_prevented_is_carried_out_by_the_next_run(many):
    run(many, HALF)
    before = find_deployment(many).require_champion()
    better = Runner(make_pipeline(many, training={"backbone": "tiny", "seed": 1}), FakeWorker(RIGHT))
    better.run("metrics")
    with files_of_at_most(3_000), pytest.raises(DiskError):
        stages.decide_champion(better.pipeline, print)
    assert find_deployment(many).require_champion() == before
    stages.decide_champion(better.pipeline, print)
    assert find_deployment(many).require_champion() != before
    stages.decide_champion(better.pipeline, print)
    assert len(find_deployment(many).read_history()) == 2


def test_vocabularies_may_differ(many):
    two = {name: answer if answer in {"blue", "green"} else "blue" for name, answer in RIGHT.items()}
    _, first = run(many, two, vocabulary={"max_answers": 2})
    assert tell(first)["outcome"] == "promoted"
    _, outcomes = run(many, RIGHT, seed=1)
    assert tell(outcomes)["outcome"] == "promoted"
    vocabularies = [
        json.loads((one["checkpoint"].version.path / "vocabulary.json").read_text()) for one in (first, outcomes)
    ]
    assert [len(told["answers"]) for told in vocabularies] == [2, 4]


# ----------------------------------------------------------------------------------------------------------- warm starts

WARM = {"backbone": "tiny", "warm_start": "champion"}


def test_without_a_champion_a_warm_start_starts_from_the_backbone_and_says_so(many):
    runner = Runner(make_pipeline(many, training=WARM), FakeWorker(RIGHT))
    checkpoint = runner.run("checkpoint")["checkpoint"].version.manifest
    assert runner.worker.jobs[0].settings.warm_start == "none"
    assert checkpoint.settings["warm_start_parent"] is None
    assert "There is no champion yet: the training starts from the backbone." in runner.said


def test_a_warm_start_goes_on_from_the_champion_and_its_fingerprint_tells(many):
    _, first = run(many, RIGHT)
    champion = find_deployment(many).require_champion()
    runner = Runner(make_pipeline(many, training=WARM), FakeWorker(RIGHT))
    checkpoint = runner.run("checkpoint")["checkpoint"].version.manifest
    assert runner.worker.jobs[0].settings.warm_start == str(champion.folder)
    assert checkpoint.settings["warm_start_parent"] == first["checkpoint"].version.manifest.data_version
    assert checkpoint.data_version != first["checkpoint"].version.manifest.data_version


def test_another_champion_trains_nothing_again_and_new_data_goes_on_from_it(many):
    _, first = run(many, HALF)
    runner = Runner(make_pipeline(many, training=WARM), FakeWorker(RIGHT))
    second = runner.run("champion")
    assert tell(second)["outcome"] == "promoted"
    assert runner.run("champion")["checkpoint"].reused
    assert runner.worker.num_trainings == 1
    write_source(many, NUM_ROWS, change={0: {"answer": "green"}})
    third = runner.run("checkpoint")["checkpoint"].version.manifest
    assert third.settings["warm_start_parent"] == second["checkpoint"].version.manifest.data_version
    assert runner.worker.num_trainings == 2


DECIDING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from colours_world import make_pipeline
from vqa_pipeline import stages

print("ready", flush=True)
stages.decide_champion(make_pipeline(Path(sys.argv[1]), training={"backbone": "tiny", "seed": 1}), print)
"""


@pytest.mark.slow
def test_killed_while_it_decides_the_champion_is_one_or_the_other_and_the_next_run_ends_it(many):
    _, first = run(many, HALF)
    old = first["checkpoint"].version.manifest.data_version
    better = Runner(make_pipeline(many, training={"backbone": "tiny", "seed": 1}), FakeWorker(RIGHT))
    new = better.run("metrics")["checkpoint"].version.manifest.data_version
    saved = many / "saved"
    shutil.copytree(many / "data", saved, symlinks=True)
    seen = set()
    for number in range(15):
        process = subprocess.Popen(
            [sys.executable, "-c", DECIDING, str(many), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.04 * number)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        seen.add(find_deployment(many).require_champion().data_version)
        stages.decide_champion(better.pipeline, print)
        assert find_deployment(many).require_champion().data_version == new
        assert (find_deployment(many).current / "model.safetensors").exists()
        shutil.rmtree(many / "data")
        shutil.copytree(saved, many / "data", symlinks=True)
    assert seen <= {old, new}
    assert old in seen
