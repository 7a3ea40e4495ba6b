"""What only a machine with a GPU can show: checkpoints that reload in bf16, and a GPU that is free after every end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from modeling_world import World, train_job, write_world
from worker_processes import is_running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

ON_GPU = {"device": "cuda", "tiny_width": 256, "threads": 2}
"""Wide enough for bf16 to be chosen."""
LONG = {"epochs": 400, "checkpoint_every_steps": 5}
_STARTER = "import subprocess, sys; child = subprocess.Popen(sys.argv[1:]); print(child.pid, flush=True); child.wait()"
_ROUNDING_BYTES = 64 * 2**20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def backbone(world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("backbone")
    assert run(folder, train_job(world, folder, **ON_GPU)).returncode == 0
    return str(folder / "checkpoint")


def write_job(folder: Path, job) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(job.model_dump_json())
    return [sys.executable, "-m", "vqa_pipeline.worker", str(folder / "job.json")]


def run(folder: Path, job) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        write_job(folder, job), env=environment, text=True, capture_output=True, timeout=300, check=False
    )


def measure_used() -> int:
    """Bytes of the GPU that somebody has."""
    free, total = torch.cuda.mem_get_info()
    return total - free


@pytest.mark.parametrize("strategy", ["head", "last_layers", "lora", "full"])
def test_a_checkpoint_trained_in_bf16_answers_from_its_files_as_it_did(
    world: World, backbone: str, tmp_path: Path, strategy: str
) -> None:
    job = train_job(world, tmp_path, **ON_GPU, backbone=backbone, strategy=strategy, epochs=3)
    done = run(tmp_path, job)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "checkpoint" / "training.json").read_bytes())
    print(strategy, told["precision"], told["reloaded"])
    assert told["precision"] == "bf16"
    assert told["hardware"].startswith("NVIDIA")
    assert told["reloaded"]["problem"] is None
    assert told["reloaded"]["largest_difference"] < 0.02, "well below what is refused"


@pytest.mark.parametrize("how", ["asked", "killed", "starter killed"])
def test_however_a_training_ends_the_gpu_is_free_and_the_next_run_goes_on(
    world: World, tmp_path: Path, how: str
) -> None:
    measure_used()  # this process's own context
    before = measure_used()
    job = train_job(world, tmp_path, **ON_GPU, **LONG, batch_size=4)
    starter = subprocess.Popen([sys.executable, "-c", _STARTER, *write_job(tmp_path, job)], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    worker = int(starter.stdout.readline())
    try:
        wait_until(lambda: any(tmp_path.glob("progress/*/step-*[1-9]-epoch-*")), seconds=120)
        assert measure_used() > before + _ROUNDING_BYTES, "it is at work on the GPU"
        if how == "starter killed":
            starter.kill()
        else:
            os.kill(worker, signal.SIGKILL if how == "killed" else signal.SIGINT)
        wait_until(lambda: not is_running(worker), seconds=30)
        wait_until(lambda: measure_used() < before + _ROUNDING_BYTES, seconds=30)
    finally:
        starter.kill()
        starter.wait()
    assert not (tmp_path / "checkpoint").exists()
    process = subprocess.Popen(write_job(tmp_path, job), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        started = next(event for line in process.stdout if (event := json.loads(line))["event"] == "started")
        assert started["resumed_from_step"] > 0
    finally:
        process.kill()
        process.wait()
