"""A person's choice of champion and what the next run makes of it; with a worker that has no torch."""

from __future__ import annotations

import pytest
from colours_world import COLOURS, Runner, make_pipeline, write_source
from fake_worker import FakeWorker

from vqa_pipeline.deployment import Deployment
from vqa_pipeline.stages import open_store
from vqa_pipeline.stages.champion_changes import pin_champion, release_champion, roll_back_champion

NUM_ROWS = 200
RIGHT = {f"colours/{number}": COLOURS[number % 4] for number in range(NUM_ROWS)}
HALF = {name: answer if int(name.partition("/")[2]) % 8 < 4 else "red" for name, answer in RIGHT.items()}


class House:
    """Checkpoints by seed, and who is in use."""

    def __init__(self, folder):
        self.folder = folder
        self.pipeline = make_pipeline(folder)

    def train(self, answers, seed=0):
        runner = Runner(make_pipeline(self.folder, training={"backbone": "tiny", "seed": seed}), FakeWorker(answers))
        return runner, runner.run("champion")["checkpoint"].version.manifest.version

    def find(self):
        return Deployment(open_store(self.pipeline)).require_champion().version


@pytest.fixture
def house(tmp_path):
    write_source(tmp_path, NUM_ROWS)
    return House(tmp_path)


def judge_again(runner):
    return runner.run("champion")["champion"].version.manifest.details["verdict"]


def test_whoever_had_to_wait_for_a_pinned_champion_is_promoted_once_it_is_released(house):
    _, old = house.train(HALF)
    pin_champion(house.pipeline, old, "the audit")
    runner, new = house.train(RIGHT, seed=1)
    assert judge_again(runner)["reasons"][0] == "the champion is pinned (the audit)"
    release_champion(house.pipeline, "")
    assert judge_again(runner)["outcome"] == "promoted"
    assert house.find() == new
    assert runner.run("champion")["champion"].reused


def test_the_verdict_on_who_was_gone_back_from_is_told_anew(house):
    _, old = house.train(HALF)
    runner, new = house.train(RIGHT, seed=1)
    assert house.find() == new
    roll_back_champion(house.pipeline, "complaints")
    assert judge_again(runner)["reasons"][0] == "it was in use before and somebody went back from it"
    assert house.find() == old


def test_going_back_twice_goes_back_further(house):
    versions = [house.train(HALF, seed)[1] for seed in range(3)]
    for version in versions[1:]:
        pin_champion(house.pipeline, version, "")
    assert roll_back_champion(house.pipeline, "").version == versions[1]
    assert roll_back_champion(house.pipeline, "").version == versions[0]
    pin_champion(house.pipeline, versions[2], "")
    assert roll_back_champion(house.pipeline, "").version == versions[0]
