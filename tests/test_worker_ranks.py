"""A worker that trains as two processes on this CPU: as one it would be the same training, and none is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from modeling_world import World, train_job, write_world
from safetensors.numpy import load_file
from worker_processes import is_running, wait_until

from vqa_pipeline.errors import EXIT_CANCELLED, EXIT_USER_ERROR, WorkerFailed
from vqa_pipeline.training_client import TrainingClient

pytestmark = pytest.mark.slow

ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
LONG = {"epochs": 20, "checkpoint_every_steps": 2}
"""120 steps with a save every second: long enough to be caught at work."""
CAUGHT_AT = 10
Process = subprocess.Popen[str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def straight(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the long job, done by two processes without interruption."""
    folder = tmp_path_factory.mktemp("straight")
    run(write_job(world, folder, processes=2, **LONG))
    return folder


@pytest.fixture
def children() -> Iterator[list[Process]]:
    """Processes that must not outlive a test."""
    started: list[Process] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def write_job(world: World, folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train.json"
    path.write_text(train_job(world, folder, **changes).model_dump_json())
    return path


def command(job: Path) -> list[str]:
    return [sys.executable, "-m", "vqa_pipeline.worker", str(job)]


def run(job: Path) -> list[dict[str, object]]:
    """Do a job to its end; returns its events."""
    done = subprocess.run(command(job), env=ENVIRONMENT, text=True, capture_output=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def start(job: Path, children: list[Process]) -> Process:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    children.append(subprocess.Popen(command(job), env=ENVIRONMENT, text=True, **pipes))
    return children[-1]


def count_saved_steps(folder: Path) -> int:
    return max((int(path.name.split("-")[1]) for path in folder.glob("progress/*/step-*")), default=0)


def find_launcher() -> int:
    """The worker that this process started, whatever else it has started in other tests."""
    (worker,) = (child for child in psutil.Process().children() if "vqa_pipeline.worker" in child.cmdline())
    return worker.pid


def find_ranks(launcher: int) -> list[int]:
    return [child.pid for child in psutil.Process(launcher).children()]


def find_resumed_step(events: list[dict[str, object]]) -> int:
    (started,) = (event for event in events if event["event"] == "started")
    return int(started["resumed_from_step"])


def read_record(folder: Path) -> dict[str, object]:
    return json.loads((folder / "checkpoint" / "training.json").read_text())


def read_weights(folder: Path) -> bytes:
    return (folder / "checkpoint" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("strategy", ["full", "head"])
def test_two_processes_train_as_one_does(world: World, tmp_path: Path, straight: Path, strategy: str) -> None:
    """Sums of floats have another order, so losses may differ by a ten-thousandth; each event is told once."""
    backbone = {"full": "tiny", "head": str(straight / "checkpoint")}[strategy]
    # odd shares, and last batches of a single question
    changes = {"strategy": strategy, "backbone": backbone, "epochs": 6, "batch_size": 5, "patience": 0}
    alone = run(write_job(world, tmp_path / "1", processes=1, **changes))
    together = run(write_job(world, tmp_path / "2", processes=2, **changes))
    milestones = ["started", *["epoch"] * 6, "finished"]
    for events in (alone, together):
        assert [event["event"] for event in events if event["event"] in milestones] == milestones
    curves = [read_record(tmp_path / number)["curve"] for number in "12"]
    assert len(curves[0]) == len(curves[1]) == 6
    for one, two in zip(*curves, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert two["val_accuracy"] == pytest.approx(one["val_accuracy"], abs=1e-6)
    weights = [load_file(tmp_path / number / "checkpoint" / "model.safetensors") for number in "12"]
    for name, weight in weights[0].items():
        np.testing.assert_allclose(weights[1][name], weight, rtol=1e-3, atol=1e-4, err_msg=name)


def test_torchrun_may_start_the_processes_too(world: World, tmp_path: Path, straight: Path) -> None:
    job = write_job(world, tmp_path, processes=2, **LONG)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    module = ["-m", "vqa_pipeline.worker", str(job)]
    done = subprocess.run([*launch, *module], env=ENVIRONMENT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    assert read_weights(tmp_path) == read_weights(straight)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_they_save_once_and_the_next_run_ends_with_the_same_bits(
    world: World, tmp_path: Path, straight: Path, children: list[Process], number: signal.Signals
) -> None:
    job = write_job(world, tmp_path, processes=2, **LONG)
    launcher = start(job, children)
    wait_until(lambda: count_saved_steps(tmp_path) >= CAUGHT_AT)
    ranks = find_ranks(launcher.pid)
    launcher.send_signal(number)
    _, stderr = launcher.communicate(timeout=60)
    assert launcher.returncode == EXIT_CANCELLED, stderr
    told = stderr.splitlines()[-1]
    assert told.startswith("stopped on request at step ")
    assert f"step-{count_saved_steps(tmp_path):08d}" in told
    assert len(ranks) == 2
    assert not any(map(is_running, ranks))
    assert find_resumed_step(run(job)) >= CAUGHT_AT
    assert read_weights(tmp_path) == read_weights(straight)


@pytest.mark.parametrize("rank", [0, 1])
def test_when_one_is_killed_all_end_and_the_next_run_ends_with_the_same_bits(
    world: World, tmp_path: Path, straight: Path, children: list[Process], rank: int
) -> None:
    job = write_job(world, tmp_path, processes=2, **LONG)
    launcher = start(job, children)
    wait_until(lambda: count_saved_steps(tmp_path) >= CAUGHT_AT)
    ranks = find_ranks(launcher.pid)
    os.kill(ranks[rank], signal.SIGKILL)
    _, stderr = launcher.communicate(timeout=60)
    assert launcher.returncode == 128 + signal.SIGKILL
    assert stderr.splitlines()[-1].startswith(f"process {rank + 1} of 2 was killed by SIGKILL; ")
    assert not any(map(is_running, ranks))
    assert not (tmp_path / "checkpoint").exists()
    assert find_resumed_step(run(job)) >= CAUGHT_AT
    assert read_weights(tmp_path) == read_weights(straight)


def test_killed_themselves_the_launcher_leaves_no_process_and_the_next_run_goes_on(
    world: World, tmp_path: Path, straight: Path, children: list[Process]
) -> None:
    job = write_job(world, tmp_path, processes=2, **LONG)
    launcher = start(job, children)
    wait_until(lambda: count_saved_steps(tmp_path) >= CAUGHT_AT)
    ranks = find_ranks(launcher.pid)
    launcher.kill()
    launcher.communicate()
    wait_until(lambda: not any(map(is_running, ranks)))
    run(job)
    assert read_weights(tmp_path) == read_weights(straight)


def test_a_mistake_that_all_make_is_the_last_line_without_stack_trace(world: World, tmp_path: Path) -> None:
    job = write_job(world, tmp_path, processes=2, backbone="nobody/never-fetched")
    done = subprocess.run(command(job), env=ENVIRONMENT, text=True, capture_output=True, timeout=180, check=False)
    assert done.returncode == EXIT_USER_ERROR
    assert done.stderr.splitlines()[-1].startswith("`training.backbone`: nobody/never-fetched: ")
    assert "Traceback" not in done.stderr


def test_whoever_started_them_hears_of_a_death_and_a_cancelled_run_leaves_none(world: World, tmp_path: Path) -> None:
    client = TrainingClient(tmp_path / "scratch")
    ranks: list[int] = []

    class Cancelled(Exception):
        pass

    def kill_one(event: dict[str, object]) -> None:
        if event["event"] == "step" and not ranks:
            ranks.extend(find_ranks(find_launcher()))
            os.kill(ranks[1], signal.SIGKILL)

    def cancel(event: dict[str, object]) -> None:
        if event["event"] == "step":
            ranks.extend(find_ranks(find_launcher()))
            raise Cancelled

    job = train_job(world, tmp_path, processes=2, **LONG)
    with pytest.raises(WorkerFailed, match="process 2 of 2 was killed by SIGKILL"):
        client.run(job, "first", kill_one)
    with pytest.raises(Cancelled):
        client.run(job, "second", cancel)
    assert len(ranks) == 4
    assert not any(map(is_running, ranks))
