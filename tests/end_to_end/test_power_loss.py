"""The machine stops while a training runs: every process is gone at once, and nobody could tell the instance."""

from __future__ import annotations

import signal
from pathlib import Path

import dagster as dg
import psutil
import pytest
from live_project import STAGES, Project, Server, live_project, read_versions, serve, wait_until

pytestmark = pytest.mark.slow

LONG = {"epochs": 400}
"""Minutes of training: long enough to lose power at work."""


@pytest.fixture
def project(tmp_path: Path):
    with live_project(tmp_path / "project") as project:
        project.declare("clinic")
        project.declare("ward")
        prepare(project, "clinic")
        yield project


def prepare(project: Project, pipeline: str) -> None:
    """Make what a training needs."""
    status, told = project.run("run", "--pipeline", pipeline, "--until", "vocabulary")
    assert status == 0, told


def lose_power(project: Project) -> None:
    """End everything that works for the project, none of it with a word."""
    everything = project.find_processes()
    for stop in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that none sees another go
        for process in everything:
            process.send_signal(stop)
    psutil.wait_procs(everything, timeout=30)
    assert project.find_processes() == []


def train_until_saved(server: Server, pipeline: str) -> str:
    """Launch a training and let it save progress; returns its run's id."""
    run = server.launch(pipeline, ["checkpoint"], LONG)

    def has_saved() -> bool:
        log = server.read_log(run)
        assert server.status(run) not in {"SUCCESS", "FAILURE", "CANCELED"}, log
        return "epoch 1 done" in log

    wait_until(has_saved, 120, "the training has begun")
    assert len(server.project.find_workers()) == 1
    return run


def test_after_a_power_cut_the_server_settles_the_dead_run_and_the_next_training_goes_on(project):
    prepare(project, "ward")
    with serve(project) as server:
        dead = train_until_saved(server, "clinic")
        waiting = server.launch("ward", ["checkpoint"])
        lose_power(project)
    with serve(project) as server:
        server.wait_for(dead, "FAILURE", 120)
        assert "The processes of this run are gone, killed or by a power cut" in server.read_log(dead)
        server.wait_for(waiting, "SUCCESS", 150)
        again = server.launch("clinic", ["checkpoint"], LONG)
        wait_until(lambda: "going on from step" in server.read_log(again), 120, "the training goes on")
        server.terminate(again)
        server.wait_for(again, "CANCELED", 60)
    assert set(read_versions(project.store("clinic"))) == set(STAGES[:4])
    assert set(read_versions(project.store("ward"))) == set(STAGES[:5])


def test_after_a_power_cut_a_command_trains_without_waiting_for_the_dead(project, monkeypatch):
    with serve(project) as server:
        dead = train_until_saved(server, "clinic")
        lose_power(project)
    status, told = project.run("train", "--pipeline", "ward")
    assert status == 0, told
    assert "waits for the pool" not in told
    monkeypatch.chdir(project.root)
    with dg.DagsterInstance.from_config(str(project.root)) as instance:
        assert instance.get_run_by_id(dead).status == dg.DagsterRunStatus.FAILURE
        assert instance.event_log_storage.get_concurrency_info("gpu").claimed_slots == []
