"""Runs of the command line that are killed, stopped, or started twice at once: real processes, real signals.

A killed run must leave nothing half-written and nothing running, and the runs after it must end with what an
uninterrupted run ends with.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from live_project import (
    PIPELINE,
    STAGES,
    Project,
    check_one_state,
    kill,
    kill_process,
    live_project,
    read_versions,
    wait_until,
)

pytestmark = pytest.mark.slow

TRAINING = {**PIPELINE["training"], "epochs": 12}

MOMENTS = (
    r"raw/shapes: published",
    r"records/shapes(: published| is up to date)",
    r"dataset(: published| is up to date)",
    r"train in a process of its own",
    r"parameters learn",
    r"epoch 8 done",
    r"predict in a process of its own",
    r"predictions(: published| is up to date)",
)
"""Lines of a run, in this order; one is killed some moments after each, so that it may have done the next step too."""

LONGEST_MOMENT = 0.4
"""Seconds; the last steps of a run take longer."""


@pytest.fixture
def project(tmp_path: Path):
    with live_project(tmp_path / "project") as project:
        project.declare("clinic", training=TRAINING)
        yield project


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory):
    """The manifests of a run that nothing disturbed, and its store."""
    with live_project(tmp_path_factory.mktemp("uninterrupted") / "project") as project:
        project.declare("clinic", training=TRAINING)
        status, told = project.run("run")
        assert status == 0, told
        yield project


def run_until(project: Project, words: str, seconds: float = 90) -> tuple[subprocess.Popen[str], list[str]]:
    """Start a run and wait until it says such words; one that never does is ended and fails the test."""
    process = project.start("vqa_pipeline.cli", "run")
    watchdog = threading.Timer(seconds, kill, [process])
    watchdog.start()
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if re.search(words, line):
            break
    watchdog.cancel()
    assert re.search(words, lines[-1]), "".join(lines)
    return process, lines


def digest_free_of_clocks(project: Project) -> dict[str, Any]:
    """What the current versions are, without what tells how long they took and how much memory."""
    manifests = read_versions(project.store("clinic"))
    told = {name: (one["data_version"], one["numbers"]) for name, one in manifests.items()}
    of_machine = dict.fromkeys(("seconds", "questions_per_second", "host_memory_bytes"))
    told["checkpoint"] = (told["checkpoint"][0], {**told["checkpoint"][1], **of_machine})
    ids = {name: manifest["version"] for name, manifest in manifests.items() if name not in {"checkpoint", "metrics"}}
    weights = (project.store("clinic") / "checkpoint" / "versions" / manifests["checkpoint"]["version"]).glob(
        "*.safetensors"
    )
    return {"told": told, "ids": ids, "weights": {path.name: path.read_bytes() for path in weights}}


def test_runs_killed_at_any_moment_end_as_one_that_was_not(project, uninterrupted):
    rng = random.Random(7)
    resumed = False
    for number, moment in enumerate(MOMENTS):
        process, lines = run_until(project, moment)
        resumed = resumed or any("going on from step" in line for line in lines)
        time.sleep(rng.uniform(0, LONGEST_MOMENT))
        assert process.poll() is None, "it was to be killed at work"
        workers = project.find_workers()
        kill(process)
        if number % 2:  # the whole machine; else the worker has to see for itself that it is alone
            for worker in workers:
                kill_process(worker.pid)
        wait_until(lambda: not project.find_processes(), 30, f"everything is gone after {moment}")
        read_versions(project.store("clinic"))
    status, told = project.run("run")
    assert status == 0, told
    assert resumed, "a killed training goes on"
    assert digest_free_of_clocks(project) == digest_free_of_clocks(uninterrupted)
    check_one_state(project.store("clinic"))
    assert project.find_processes() == []


def test_a_stopped_run_says_so_and_the_next_one_goes_on(project):
    process, _ = run_until(project, "epoch 1 done")
    os.kill(process.pid, signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "clinic/checkpoint: stopped on request." in told
    assert "Traceback" not in told
    assert project.find_processes() == []
    status, told = project.run("train")
    assert status == 0, told
    assert "going on from step" in told


def test_of_two_runs_at_once_one_ends_well_and_nothing_is_mixed(project):
    first = project.start("vqa_pipeline.cli", "train")
    second = project.start("vqa_pipeline.cli", "train")
    told = [process.communicate(timeout=150)[0] for process in (first, second)]
    statuses = [first.returncode, second.returncode]
    assert 0 in statuses, "\n".join(told)
    for status, text in zip(statuses, told, strict=True):
        assert "Traceback" not in text
        if status:
            assert "another run is working on" in text
            assert "Wait for it to end, then run again." in text
    assert set(read_versions(project.store("clinic"))) == set(STAGES[: STAGES.index("checkpoint") + 1])
    check_one_state(project.store("clinic"))
    assert project.find_processes() == []
