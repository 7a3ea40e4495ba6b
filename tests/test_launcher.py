"""The launcher as others see it: what becomes of its ranks, its status and its last words. The ranks need no torch."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from worker_processes import is_running, wait_until

from vqa_pipeline.errors import EXIT_CANCELLED, EXIT_USER_ERROR
from vqa_pipeline.launcher import run_ranks

RANK = """
import os, signal, sys, time
from pathlib import Path
rank, folder = int(os.environ["RANK"]), Path(sys.argv[1])
(folder / f"pid-{rank}").write_text(str(os.getpid()))
def wait_for_others():
    while len(list(folder.glob("pid-*"))) < int(os.environ["WORLD_SIZE"]):
        time.sleep(0.01)
wait_for_others()
"""
SLEEP = "time.sleep(60)"
SAVE_WHEN_ASKED = f"""
def leave(number, frame):
    print(f"rank {{rank}} saved", file=sys.stderr)
    sys.exit({EXIT_CANCELLED})
signal.signal(signal.SIGTERM, leave)
(folder / f"ready-{{rank}}").touch()
"""


def run(
    code: str, folder: Path, count: int = 2, should_stop: Callable[[], bool] = lambda: False, grace_seconds: float = 30
) -> int:
    return run_ranks([sys.executable, "-c", RANK + code, str(folder)], count, 1, should_stop, grace_seconds)


def are_gone(folder: Path) -> bool:
    return not any(is_running(int(file.read_text())) for file in folder.glob("pid-*"))


def test_ranks_that_end_well_are_a_success_and_know_which_of_how_many_they_are(tmp_path: Path, capfd) -> None:
    names = "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "OMP_NUM_THREADS"
    code = f"(folder / f'told-{{rank}}').write_text(' '.join(os.environ[name] for name in {names}))"
    assert run(code, tmp_path, count=3) == 0
    assert [(tmp_path / f"told-{rank}").read_text() for rank in range(3)] == [
        f"{rank} {rank} 3 3 127.0.0.1 1" for rank in range(3)
    ]
    assert capfd.readouterr() == ("", "")


def test_only_the_main_rank_speaks_when_all_goes_well(tmp_path: Path, capfd) -> None:
    assert run("print('event', rank); print('bar', rank, file=sys.stderr)", tmp_path) == 0
    assert capfd.readouterr() == ("event 0\n", "bar 0\n")


def test_ranks_meet_at_a_port_that_is_free(tmp_path: Path) -> None:
    assert run("(folder / 'port').write_text(os.environ['MASTER_PORT'])", tmp_path, count=1) == 0
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", int((tmp_path / "port").read_text())))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_s_mistake_is_the_last_line_and_ends_the_others(tmp_path: Path, capfd, rank: int) -> None:
    code = f"""
if rank == {rank}:
    print("`training.x`: wrong", file=sys.stderr)
    sys.exit({EXIT_USER_ERROR})
time.sleep(60)
"""
    assert run(code, tmp_path) == EXIT_USER_ERROR
    assert capfd.readouterr().err == "`training.x`: wrong\n"
    assert are_gone(tmp_path)


def test_a_killed_rank_is_named_though_another_fails_of_it(tmp_path: Path, capfd) -> None:
    code = """
if rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
(folder / "pid-1").read_text()
while "State:\\tZ" not in Path(f"/proc/{(folder / 'pid-1').read_text()}/status").read_text():
    pass
sys.exit("connection closed by peer")
"""
    assert run(code, tmp_path) == 128 + signal.SIGKILL
    told = capfd.readouterr().err.splitlines()
    assert told[-1] == "process 2 of 2 was killed by SIGKILL; the others were ended with it."


def test_a_rank_that_does_not_end_is_killed_after_the_grace_period(tmp_path: Path, capfd) -> None:
    code = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
(folder / f"ready-{rank}").touch()
if rank == 0:
    while not (folder / "ready-1").exists():
        time.sleep(0.01)
    sys.exit(1)
time.sleep(60)
"""
    started = time.monotonic()
    assert run(code, tmp_path, grace_seconds=0.3) == 1
    assert time.monotonic() - started < 20
    assert are_gone(tmp_path)


def test_asked_to_stop_every_rank_is_asked_and_may_take_its_time(tmp_path: Path, capfd) -> None:
    code = SAVE_WHEN_ASKED + SLEEP

    def both_ready() -> bool:
        return len(list(tmp_path.glob("ready-*"))) == 2

    assert run(code, tmp_path, should_stop=both_ready, grace_seconds=0) == EXIT_CANCELLED
    assert capfd.readouterr().err == "rank 0 saved\n"


def test_asked_to_stop_before_the_ranks_listen_it_was_a_stop_all_the_same(tmp_path: Path, capfd) -> None:
    assert run(SLEEP, tmp_path, should_stop=(tmp_path / "pid-1").exists) == EXIT_CANCELLED
    assert capfd.readouterr().err.startswith("stopped on request at step 0; the next run starts over")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the parent-death signal is Linux's")
def test_when_the_launcher_is_killed_its_ranks_are_asked_to_stop(tmp_path: Path) -> None:
    listen = "from vqa_pipeline.worker import end_with_parent\nend_with_parent()\n"
    command = [sys.executable, "-c", RANK + listen + SAVE_WHEN_ASKED + SLEEP, str(tmp_path)]
    code = f"from vqa_pipeline.launcher import run_ranks\nrun_ranks({command!r}, 2, 1, lambda: False)"
    launcher = subprocess.Popen([sys.executable, "-c", code], env=os.environ)
    try:
        wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == 2)
    finally:
        launcher.kill()
        launcher.wait()
    wait_until(lambda: are_gone(tmp_path), seconds=10)


def test_loading_the_launcher_loads_no_torch() -> None:
    code = "import sys, vqa_pipeline.launcher; print({'torch', 'accelerate', 'dagster'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "set()"
