"""The worker as others see it: a process with a job, a status, two streams and signals."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from modeling_world import World, predict_job, train_job, write_world
from worker_processes import is_running, wait_until

from vqa_pipeline.errors import EXIT_CANCELLED, EXIT_USER_ERROR, MissingPackage
from vqa_pipeline.modeling.jobs import EVENTS_VARIABLE
from vqa_pipeline.worker import explain

OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
LONG = {"epochs": 40, "checkpoint_every_steps": 3}
"""240 steps with a save every third: long enough to be caught at work."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def straight(world: World, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights that an uninterrupted run of the long job ends with."""
    folder = tmp_path_factory.mktemp("straight")
    assert run(write_job(folder, train_job(world, folder, **LONG))).returncode == 0
    return weights(folder)


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that must not outlive a test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def write_job(folder: Path, job) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{job.task}.json"
    path.write_text(job.model_dump_json())
    return path


def command(path: Path) -> list[str]:
    return [sys.executable, "-m", "vqa_pipeline.worker", str(path)]


def start(path: Path, children: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    children.append(subprocess.Popen(command(path), env=OFFLINE, text=True, **pipes))
    return children[-1]


def run(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(path), env=OFFLINE, text=True, capture_output=True, timeout=180, check=False)


def events(stdout: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in stdout.splitlines()]


def find_resumed_step(done: subprocess.CompletedProcess[str]) -> int:
    """The step from which a run went on."""
    (started,) = [event for event in events(done.stdout) if event["event"] == "started"]
    return int(str(started["resumed_from_step"]))


def newest_progress(folder: Path) -> str:
    return max((path.name for path in folder.glob("progress/*/step-*")), default="")


def weights(folder: Path) -> bytes:
    return (folder / "checkpoint" / "model.safetensors").read_bytes()


def test_a_missing_job_is_one_clear_line(tmp_path: Path) -> None:
    done = run(tmp_path / "nothing.json")
    assert done.returncode == EXIT_USER_ERROR
    assert done.stdout == ""
    assert done.stderr.startswith("`JOB`: ")
    assert "nothing.json is not a job" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_job_with_an_unknown_field_is_refused(world: World, tmp_path: Path) -> None:
    job = json.loads(train_job(world, tmp_path).model_dump_json())
    (tmp_path / "job.json").write_text(json.dumps(job | {"colour": "red"}))
    done = run(tmp_path / "job.json")
    assert done.returncode == EXIT_USER_ERROR
    assert "colour" in done.stderr


def test_loading_the_worker_loads_no_torch() -> None:
    code = "import sys, vqa_pipeline.worker; print({'torch', 'transformers', 'dagster'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "set()"


def test_events_go_to_the_file_that_the_starter_names(tmp_path: Path) -> None:
    code = (
        "from vqa_pipeline.worker import open_report\n"
        "with open_report() as report: report({'event': 'log', 'message': 'hello'})"
    )
    named = {**OFFLINE, EVENTS_VARIABLE: str(tmp_path / "events")}
    (tmp_path / "events").write_text('{"event": "before"}\n')
    done = subprocess.run([sys.executable, "-c", code], env=named, text=True, capture_output=True, check=True)
    assert done.stdout == ""
    assert events((tmp_path / "events").read_text()) == [{"event": "before"}, {"event": "log", "message": "hello"}]


MAIN = "import sys; from vqa_pipeline.worker import main; sys.exit(main(sys.argv[1:]))"


def run_after(preparation: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run a job in a process that was prepared by some code."""
    command = [sys.executable, "-c", f"{preparation}\n{MAIN}", str(path)]
    return subprocess.run(command, env=OFFLINE, text=True, capture_output=True, timeout=180, check=False)


@pytest.mark.parametrize("make_job", [train_job, predict_job])
def test_without_torch_a_line_says_what_to_install(world: World, tmp_path: Path, make_job) -> None:
    job = make_job(world, tmp_path)
    done = run_after("import sys; sys.modules['torch'] = None", write_job(tmp_path, job))
    assert done.returncode == EXIT_USER_ERROR
    assert done.stderr == (
        f"the {job.task} process needs torch: import of torch halted; None in sys.modules. "
        "Install what trains: pip install 'vqa-pipeline[training]'\n"
    )


def test_a_library_that_is_too_old_is_named_and_a_module_of_our_own_is_not_excused(world: World, tmp_path: Path):
    job = train_job(world, tmp_path)
    told = explain(ImportError("cannot import name 'ViltProcessor'", name="transformers.models"), job)
    assert isinstance(told, MissingPackage)
    assert (told.task, told.package, told.reason) == ("train", "transformers", "cannot import name 'ViltProcessor'")
    assert explain(ModuleNotFoundError("No module named", name="vqa_pipeline.nothing"), job) is None
    assert explain(ImportError("no name"), job) is None


def test_a_file_that_cannot_be_written_is_told_by_its_name_and_other_errors_are_not_the_disk_s(
    world: World, tmp_path: Path
) -> None:
    job = predict_job(world, tmp_path)
    told = explain(OSError(errno.EROFS, "Read-only file system", "scratch/x"), job)
    assert str(told) == "scratch/x: Read-only file system. Choose a folder that can be written."
    told = explain(OSError(errno.ENOSPC, "No space left on device"), job)
    assert str(told) == f"{job.output_file}: No space left on device. Free space on its disk, then run again."
    assert explain(FileNotFoundError(errno.ENOENT, "No such file", "x"), job) is None
    assert explain(RuntimeError("(os error 28)"), job) is None


@pytest.mark.slow
def test_a_disk_that_is_full_while_it_trains_is_the_last_line_and_the_next_run_goes_on(
    world: World, tmp_path: Path, straight: bytes
) -> None:
    job = train_job(world, tmp_path, **LONG)
    file = write_job(tmp_path, job)
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    done = run_after(full, file)
    assert done.returncode == EXIT_USER_ERROR
    assert done.stderr.splitlines()[-1].startswith(f"{job.progress_folder}/ffffffff/")
    assert ": File too large. " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not Path(job.output_folder).exists()
    assert run(file).returncode == 0
    assert weights(tmp_path) == straight


@pytest.mark.slow
def test_a_user_s_mistake_is_the_last_line_without_stack_trace(world: World, tmp_path: Path) -> None:
    done = run(write_job(tmp_path, train_job(world, tmp_path, backbone="nobody/never-fetched")))
    assert done.returncode == EXIT_USER_ERROR
    assert done.stderr.splitlines()[-1].startswith("`training.backbone`: nobody/never-fetched: ")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_compiling_that_is_asked_for_without_a_compiler_is_refused(world: World, tmp_path: Path) -> None:
    job = write_job(tmp_path, train_job(world, tmp_path, compile="always"))
    nowhere = OFFLINE | {"PATH": str(tmp_path)}
    done = subprocess.run(command(job), env=nowhere, text=True, capture_output=True, timeout=180, check=False)
    assert done.returncode == EXIT_USER_ERROR
    assert done.stderr.splitlines()[-1].startswith("`training.compile`: torch.compile needs a C compiler")


@pytest.mark.slow
def test_it_trains_and_predicts_with_nothing_on_stdout_but_events(world: World, tmp_path: Path) -> None:
    trained = run(write_job(tmp_path, train_job(world, tmp_path)))
    assert trained.returncode == 0, trained.stderr
    told = [event["event"] for event in events(trained.stdout)]
    assert set(told) == {"progress", "log", "started", "step", "epoch", "finished"}
    assert told[-1] == "finished"
    assert "warning" not in trained.stderr.lower()
    predicted = run(write_job(tmp_path, predict_job(world, tmp_path)))
    assert predicted.returncode == 0, predicted.stderr
    *told, last = [event["event"] for event in events(predicted.stdout)]
    assert (set(told), last) == ({"progress"}, "finished")
    assert "warning" not in predicted.stderr.lower()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_next_run_goes_on(
    world: World, tmp_path: Path, straight: bytes, children: list[subprocess.Popen[str]], number: signal.Signals
) -> None:
    job = write_job(tmp_path, train_job(world, tmp_path, **LONG))
    process = start(job, children)
    wait_until(lambda: newest_progress(tmp_path) > "step-00000030")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == EXIT_CANCELLED
    assert stderr.splitlines()[-1].startswith("stopped on request at step ")
    assert newest_progress(tmp_path) in stderr
    assert "finished" not in [event["event"] for event in events(stdout)]
    assert not (tmp_path / "checkpoint").exists()
    resumed = run(job)
    assert resumed.returncode == 0
    assert find_resumed_step(resumed) >= 30
    assert weights(tmp_path) == straight


@pytest.fixture(scope="module")
def backbone(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model with dropout, so that a resumed training needs its random numbers."""
    folder = tmp_path_factory.mktemp("backbone")
    assert run(write_job(folder, train_job(world, folder))).returncode == 0
    config = folder / "checkpoint" / "config.json"
    dropout = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    config.write_text(json.dumps(json.loads(config.read_bytes()) | dropout))
    return folder / "checkpoint"


KILLED = {
    "in one part": {"strategy": "full"},
    "in parts": {"strategy": "full", "micro_batch": 3},
    "head": {"strategy": "head", "micro_batch": 5},
    "last layer": {"strategy": "last_layers", "layers": 1, "micro_batch": 3},
    "lora": {"strategy": "lora", "lora_dropout": 0.1},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KILLED)
def test_killed_at_random_steps_it_ends_with_the_same_bits(
    world: World, backbone: Path, tmp_path: Path, children: list[subprocess.Popen[str]], name: str
) -> None:
    changes = LONG | {"backbone": str(backbone), "patience": 0} | KILLED[name]
    straight = write_job(tmp_path / "straight", train_job(world, tmp_path / "straight", **changes))
    assert run(straight).returncode == 0
    job = write_job(tmp_path, train_job(world, tmp_path, **changes))
    dice = random.Random(name)
    for _ in range(4):
        before = newest_progress(tmp_path)
        process = start(job, children)
        wait_until(lambda before=before: newest_progress(tmp_path) > before)
        time.sleep(dice.uniform(0, 0.2))  # about ten steps and three saves
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "checkpoint").exists()
    resumed = run(job)
    assert resumed.returncode == 0
    assert find_resumed_step(resumed) > 0
    assert weights(tmp_path) == weights(tmp_path / "straight")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the parent-death signal is Linux's")
def test_it_saves_and_ends_when_its_parent_is_killed(
    world: World, tmp_path: Path, children: list[subprocess.Popen[str]]
) -> None:
    job = write_job(tmp_path, train_job(world, tmp_path, **LONG, batch_size=1))
    code = "import subprocess, sys; child = subprocess.Popen(sys.argv[1:]); print(child.pid, flush=True); child.wait()"
    parent = subprocess.Popen(
        [sys.executable, "-c", code, *command(job)],
        env=OFFLINE,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    children.append(parent)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    wait_until(lambda: newest_progress(tmp_path))
    parent.kill()
    wait_until(lambda: not is_running(child), seconds=20)
    assert not (tmp_path / "checkpoint").exists()
    assert newest_progress(tmp_path)
