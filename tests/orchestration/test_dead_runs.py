"""Dead runs: found by real processes that are killed, settled once; whatever may still live is left alone."""

from __future__ import annotations

import json
import os
import platform
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from uuid import uuid4

import dagster as dg
import psutil
import pytest
from fake_stages import FakeStages, make_pipeline
from marks import is_held

from vqa_pipeline.orchestration.assets import build_definitions
from vqa_pipeline.orchestration.dead_runs import build_sensor, settle_dead_runs

ALL = ("raw/scans", "records/scans", "dataset", "vocabulary", "checkpoint", "predictions", "metrics", "champion")
STARTED, FAILURE = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE

PROGRAM = """
import multiprocessing, os, sys, time
from pathlib import Path
from vqa_pipeline.orchestration.dead_runs import hold_run

def work(mark):
    with hold_run(mark.parent, mark.stem):
        print(os.getpid(), flush=True)
        time.sleep(60)

if __name__ == "__main__":
    mark = Path(sys.argv[1])
    if sys.argv[2:]:
        step = multiprocessing.get_context("spawn").Process(target=work, args=[mark])
        step.start()
        step.join()
        print("the step is gone", flush=True)
        time.sleep(60)
    else:
        work(mark)
"""
"""The process of a run; told so, one that leads it and has its step done by a process of the step's own."""


LEADER = """
import multiprocessing, os, sys, time
from vqa_pipeline.orchestration.dead_runs import end_with_leader

def work(when):
    leader = os.getppid()
    try:
        if when == "before":
            end_with_leader()
        print("at work", flush=True)
        while when == "before" or os.getppid() == leader:
            time.sleep(0.05)
        end_with_leader()
        print("it works on", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)

if __name__ == "__main__":
    step = multiprocessing.get_context("spawn").Process(target=work, args=sys.argv[1:])
    step.start()
    step.join()
"""
"""Leads a run whose step asks, before its leader is gone or after it, to end with it."""


class Process:
    """A process at work for a run."""

    def __init__(self, folder: Path, mark: Path, *, leads: bool = False) -> None:
        program = folder / "program.py"
        program.write_text(PROGRAM)
        command = [sys.executable, str(program), str(mark), *(["leads"] if leads else [])]
        self.leader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.at_work = int(self.read())

    def read(self) -> str:
        """The next line; it is waited for."""
        line = self.leader.stdout.readline().strip()
        assert line, "it ended"
        return line

    def kill_leader(self) -> None:
        self.leader.kill()
        self.leader.wait()

    def kill_step(self) -> None:
        os.kill(self.at_work, signal.SIGKILL)

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.leader.pid, signal.SIGKILL)
        self.leader.wait()
        self.leader.stdout.close()


@dg.op
def work():
    pass


@dg.job
def nothing():
    work()


class World:
    """An instance, the folder of its runs' files, and a pool of one slot."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = root, instance
        self.marks = root / "scratch" / "runs"
        self.marks.mkdir(parents=True)
        self.storage = instance.event_log_storage
        self.storage.set_concurrency_slots("gpu", 1)

    def start(self, status: dg.DagsterRunStatus = STARTED) -> str:
        return self.instance.create_run_for_job(nothing, status=status).run_id

    def mark(self, run: str) -> Path:
        return self.marks / f"{run}.lock"

    def name(self, run: str, **changes) -> Path:
        """Let a run's file name a leader that is gone: what has its number now began later."""
        gone = {"host": platform.node(), "pid": os.getpid(), "began": 0}
        self.mark(run).write_text(json.dumps(gone | changes))
        return self.mark(run)

    def settle(self) -> list[str]:
        return settle_dead_runs(self.instance, self.marks)

    def status(self, run: str) -> dg.DagsterRunStatus:
        return self.instance.get_run_by_id(run).status

    def claim(self, run: str) -> bool:
        return self.storage.claim_concurrency_slot("gpu", run, "work").is_claimed

    def read_failures(self, run: str) -> list[str]:
        entries = self.instance.all_logs(run, of_type=dg.DagsterEventType.RUN_FAILURE)
        return [entry.dagster_event.message for entry in entries]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(tmp_path, instance)


def test_a_run_whose_process_was_killed_has_failed_and_lets_go_of_the_gpu(world):
    run, other = world.start(), world.start()
    with closing(Process(world.root, world.mark(run))) as process:
        assert world.claim(run)
        assert not world.claim(other)
        assert world.settle() == []
        assert world.status(run) == STARTED
        process.kill_leader()
        assert world.settle() == [run]
    assert world.status(run) == FAILURE
    assert world.read_failures(run) == [
        "The processes of this run are gone, killed or by a power cut; the next run goes on from what they saved."
    ]
    assert world.claim(other)
    assert world.status(other) == STARTED
    assert not world.mark(run).exists()
    assert world.settle() == []


def test_a_step_that_is_killed_is_left_to_its_run_until_that_is_gone_too(world):
    run = world.start()
    with closing(Process(world.root, world.mark(run), leads=True)) as process:
        process.kill_step()
        assert process.read() == "the step is gone"
        assert not is_held(world.mark(run))
        assert world.settle() == []
        assert world.status(run) == STARTED
        process.kill_leader()
        assert world.settle() == [run]
    assert len(world.read_failures(run)) == 1


def test_a_step_that_outlives_its_run_s_process_keeps_the_gpu_while_it_works(world):
    run = world.start()
    with closing(Process(world.root, world.mark(run), leads=True)) as process:
        assert world.claim(run)
        process.kill_leader()
        assert world.settle() == []
        assert world.status(run) == STARTED
        assert [slot.run_id for slot in world.storage.get_concurrency_info("gpu").claimed_slots] == [run]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the parent-death signal is Linux's")
@pytest.mark.parametrize("asked", ["before", "after"])
def test_a_step_is_interrupted_when_its_run_s_process_is_killed(tmp_path, asked):
    program = tmp_path / "leader.py"
    program.write_text(LEADER)
    command = [sys.executable, str(program), asked]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as leader:
        try:
            assert leader.stdout.readline() == "at work\n"
            leader.kill()
            readable, _, _ = select.select([leader.stdout], [], [], 20)
            assert readable, "it works on"
            assert leader.stdout.readline() == "interrupted\n"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(leader.pid, signal.SIGKILL)


def test_a_run_that_waits_in_line_and_is_dead_gets_no_turn(world):
    first, waiting, living = (world.start() for _ in range(3))
    assert [world.claim(run) for run in (first, waiting, living)] == [True, False, False]
    for run in (first, waiting):
        world.name(run)
    assert set(world.settle()) == {first, waiting}
    assert world.claim(living)


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING"])
def test_a_run_that_has_not_begun_is_not_touched(world, status):
    run = world.start(dg.DagsterRunStatus[status])
    world.name(run)
    assert world.settle() == []
    assert world.status(run).value == status
    assert world.mark(run).exists()


def test_a_run_that_died_while_it_was_cancelled_is_cancelled(world):
    run = world.start(dg.DagsterRunStatus.CANCELING)
    world.name(run)
    assert world.settle() == [run]
    assert world.status(run) == dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "CANCELED"])
def test_of_a_run_that_is_over_only_the_file_and_the_slot_are_left_to_clear(world, status):
    run = world.start()
    assert world.claim(run)
    report = {
        "SUCCESS": lambda ended: world.instance.report_dagster_event(
            dg.DagsterEvent("PIPELINE_SUCCESS", nothing.name), ended.run_id
        ),
        "FAILURE": world.instance.report_run_failed,
        "CANCELED": world.instance.report_run_canceled,
    }[status]
    report(world.instance.get_run_by_id(run))
    world.name(run)
    assert world.settle() == []
    assert world.status(run).value == status
    assert not world.mark(run).exists()
    assert world.claim(world.start())


class Ending:
    """An instance whose run ends, and its process with it, right after somebody asked how the run does."""

    def __init__(self, instance: dg.DagsterInstance, leader: subprocess.Popen[bytes]) -> None:
        self.instance, self.leader = instance, leader

    def get_run_by_id(self, run: str) -> dg.DagsterRun:
        told = self.instance.get_run_by_id(run)
        self.instance.report_run_canceled(told)
        self.leader.kill()
        self.leader.wait()
        return told

    def __getattr__(self, name: str):
        return getattr(self.instance, name)


def test_a_run_that_ends_while_it_is_looked_at_stays_as_it_ended(world):
    run = world.start()
    with subprocess.Popen(["sleep", "60"]) as leader:
        world.name(run, pid=leader.pid, began=psutil.Process(leader.pid).create_time())
        assert settle_dead_runs(Ending(world.instance, leader), world.marks) == []
    assert world.status(run) == dg.DagsterRunStatus.CANCELED
    assert world.read_failures(run) == []


@pytest.mark.parametrize(
    ("name", "dead"),
    [
        ({}, True),
        ({"pid": 2**22 + 1}, True),
        ({"host": "elsewhere"}, False),
        ({"host": "elsewhere", "pid": 2**22 + 1}, False),
    ],
)
def test_only_this_machine_s_runs_are_judged(world, name, dead):
    run = world.start()
    world.name(run, **name)
    assert world.settle() == ([run] if dead else [])
    assert world.status(run) == (FAILURE if dead else STARTED)
    assert world.mark(run).exists() != dead


@pytest.mark.parametrize("content", ["", "\0\0\0", '{"host": "'])
def test_a_file_that_tells_nothing_proves_nothing(world, content):
    run = world.start()
    world.mark(run).write_text(content)
    assert world.settle() == []
    assert world.status(run) == STARTED


def test_runs_of_other_instances_and_other_folders_are_not_touched(world):
    run, unknown = world.start(), str(uuid4())
    world.name(unknown)
    elsewhere = world.root / "elsewhere"
    elsewhere.mkdir()
    world.name(run).rename(elsewhere / f"{run}.lock")
    assert world.settle() == []
    assert settle_dead_runs(world.instance, world.root / "not" / "there") == []
    assert world.status(run) == STARTED
    assert world.mark(unknown).exists()
    assert settle_dead_runs(world.instance, elsewhere) == [run]


# ------------------------------------------------------------------------------------------------------------ pipelines


class Watched(FakeStages):
    """Stages that see while they work which runs are held."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.held: dict[str, list[tuple[str, bool]]] = {}

    def _make(self, asset, *args, **kwargs):
        marks = self.root / "data" / "scratch" / "runs"
        self.held[asset] = [(mark.stem, is_held(mark)) for mark in marks.iterdir()]
        return super()._make(asset, *args, **kwargs)


def test_every_stage_holds_its_run_while_it_works_and_lets_go_after_it(world):
    stages = Watched(world.root)
    job = build_definitions(make_pipeline(world.root), stages).resolve_implicit_global_asset_job_def()
    run = job.execute_in_process(instance=world.instance).run_id
    assert stages.held == {asset: [(run, True)] for asset in ALL}
    [mark] = (world.root / "data" / "scratch" / "runs").iterdir()
    assert not is_held(mark)
    assert settle_dead_runs(world.instance, mark.parent) == []
    assert not mark.exists()


@pytest.mark.parametrize("failure", [ZeroDivisionError("a bug"), KeyboardInterrupt()])
def test_a_stage_that_fails_lets_go_too(world, failure):
    stages = FakeStages(world.root)
    stages.failures["dataset"] = failure
    job = build_definitions(make_pipeline(world.root), stages).resolve_implicit_global_asset_job_def()
    assert not job.execute_in_process(instance=world.instance, raise_on_error=False).success
    [mark] = (world.root / "data" / "scratch" / "runs").iterdir()
    assert not is_held(mark)


def look(world: World, name: str = "clinic") -> str:
    """A look of a pipeline's sensor; what it says."""
    sensor = build_sensor(make_pipeline(world.root, name, scratch="scratch"))
    with dg.build_sensor_context(world.instance) as context:
        told = sensor(context)
    assert isinstance(told, dg.SkipReason)
    return told.skip_message


def test_a_server_looks_for_dead_runs_and_says_what_it_found(world):
    run = world.start()
    assert look(world) == "No run is dead."
    world.name(run)
    assert look(world) == f"Recorded as failed, as their processes are gone: {run}."
    assert world.status(run) == FAILURE
    assert look(world) == "No run is dead."


def test_pipelines_with_one_scratch_folder_settle_each_other_s_runs(world):
    """They share a GPU: one must not wait for another's dead training until somebody looks at that."""
    run = world.start()
    world.name(run)
    assert run in look(world, "ward")
