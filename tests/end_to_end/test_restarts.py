"""Dagster's own processes end under a training: it goes on, somebody else may stop it, and nothing of it stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_project import Project, Server, live_project, serve, wait_until

pytestmark = pytest.mark.slow

LONG = {"epochs": 2000}
"""Longer than the test: it is stopped at work."""
DAEMON, WEBSERVER, DEV = "dagster._daemon", "dagster_webserver", "dagster dev"


def kill_only(project: Project, words: str) -> None:
    """Kill one of Dagster's processes; `dagster dev` then ends itself, as a supervisor would to start all anew."""
    [process] = project.find_processes(words)
    process.kill()
    wait_until(lambda: not project.find_processes(DEV), 60, f"without {words} the rest has ended")


def check_that_it_trains(server: Server, run: str, worker: int) -> None:
    assert server.status(run) == "STARTED"
    assert [process.pid for process in server.project.find_workers()] == [worker], "it was not disturbed"


def test_a_training_outlives_daemon_and_webserver_and_is_stopped_from_those_that_follow(tmp_path: Path):
    with live_project(tmp_path / "project") as project:
        project.declare("clinic")
        status, told = project.run("run", "--until", "vocabulary")
        assert status == 0, told
        with serve(project) as first:
            run = first.launch("clinic", ["checkpoint"], LONG)
            wait_until(lambda: "epoch 1 done" in first.read_log(run), 180, "the training has begun")
            [worker] = [process.pid for process in project.find_workers()]
            kill_only(project, DAEMON)
            with serve(project) as second:
                check_that_it_trains(second, run, worker)
                kill_only(project, WEBSERVER)
                with serve(project) as third:
                    check_that_it_trains(third, run, worker)
                    third.terminate(run)
                    third.wait_for(run, "CANCELED", 90)
                    assert project.find_workers() == []
                    again = third.launch("clinic", ["checkpoint"], LONG)
                    wait_until(lambda: "going on from step" in third.read_log(again), 180, "the next goes on")
                    third.terminate(again)
                    third.wait_for(again, "CANCELED", 90)
                    assert project.find_workers() == []
