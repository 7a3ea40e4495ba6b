"""Where tasks run: the same results in the same order, and no process that outlives its work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from vqa_pipeline.curation.tasks import TaskProcesses, run_in_order
from vqa_pipeline.errors import SourceChanged, TaskProcessDied


def square(number: int) -> int:
    return number * number


def tell_process(_: int) -> int:
    time.sleep(0.05)  # or one process does all
    return os.getpid()


def tell_threads(_: int) -> tuple[str, int]:
    import polars as pl

    return os.environ["POLARS_MAX_THREADS"], pl.thread_pool_size()


def fail(number: int) -> int:
    if number == 3:
        raise SourceChanged("clinic", Path("images") / "3.png")
    return number


def be_killed(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def sleep_long(_: int) -> None:
    time.sleep(600)


def list_children() -> list[psutil.Process]:
    """Child processes but the tracker of shared resources, of which a process has one as long as it lives."""
    return [
        one for one in psutil.Process().children(recursive=True) if "resource_tracker" not in " ".join(one.cmdline())
    ]


def wait_until_gone(processes: list[psutil.Process]) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=60)[1]


def test_a_loop_gives_the_results_in_order():
    assert list(run_in_order(square, iter([3, 1, 2]))) == [9, 1, 4]


def test_one_worker_and_a_few_tasks_start_no_process():
    with TaskProcesses(1) as one, TaskProcesses(8) as many:
        assert set(one(tell_process, range(9))) == {os.getpid()}
        assert set(many(tell_process, range(3))) == {os.getpid()}
        assert list(many(square, [])) == []


@pytest.mark.slow
def test_processes_give_the_results_in_order_and_end_with_the_block():
    with TaskProcesses(2) as map_tasks:
        processes = set(map_tasks(tell_process, range(20)))
        assert list(map_tasks(square, iter(range(50)))) == [number * number for number in range(50)]
        assert processes >= set(map_tasks(tell_process, range(20))), "they are started once"
        assert list(map_tasks(tell_threads, range(4))) == [("1", 1)] * 4
        children = list_children()
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert wait_until_gone(children) == []
    assert "POLARS_MAX_THREADS" not in os.environ


@pytest.mark.slow
def test_an_error_of_a_task_comes_through_as_it_is_and_ends_the_processes():
    with pytest.raises(SourceChanged, match=r"images/3\.png: changed") as caught, TaskProcesses(2) as map_tasks:
        try:
            list(map_tasks(fail, range(50)))
        finally:
            children = list_children()
    assert (caught.value.source, caught.value.path) == ("clinic", Path("images/3.png"))
    assert children
    assert wait_until_gone(children) == []


@pytest.mark.slow
def test_a_process_that_is_killed_is_told_with_the_setting_to_lower():
    with pytest.raises(TaskProcessDied, match=r"one of 2 processes .*`compute.workers`"), TaskProcesses(2) as map_tasks:
        list(map_tasks(be_killed, range(50)))
    assert wait_until_gone(list_children()) == []


def sleep_in_processes(told: str) -> None:
    with TaskProcesses(2) as map_tasks:
        list(map_tasks(square, range(4)))
        Path(told).touch()
        list(map_tasks(sleep_long, range(4)))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_when_the_process_that_started_them_is_ended_they_are_gone_too(tmp_path, how):
    told = tmp_path / "started"
    parent = multiprocessing.get_context("spawn").Process(target=sleep_in_processes, args=(str(told),))
    parent.start()
    while not told.exists():
        time.sleep(0.05)
    family = psutil.Process(parent.pid).children(recursive=True)
    assert len([one for one in family if "resource_tracker" not in " ".join(one.cmdline())]) == 2
    os.kill(parent.pid, how)
    parent.join(60)
    assert wait_until_gone(family) == []
