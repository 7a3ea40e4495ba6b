"""Runs whose processes are gone, killed or by a power cut: found, recorded as failed, and their slots freed.

Nobody else does: Dagster looks after a run only as long as the server that started it lives, and not at all after one
of the command line. Such a run would seem to go on for ever, and with the GPU's slot in its hands every later training
would wait for it.

While a process works for a run it holds `<scratch>/runs/<run id>.lock`, which the operating system lets go of however
the process ends. Between steps nobody holds it, and one step's process may be killed while its run goes on; so the file
names the process that leads the run too, and a run is dead when nobody holds its file and its leader is gone.
"""

import fcntl
import json
import multiprocessing
import os
import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil

from vqa_pipeline.files import make_folder
from vqa_pipeline.parent_death import ask_for_signal
from vqa_pipeline.pipeline import Pipeline

MESSAGE = "The processes of this run are gone, killed or by a power cut; the next run goes on from what they saved."
_GOING_ON = {dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING}
_SECONDS_BETWEEN_LOOKS = 30
_CLOCK_SECONDS = 2.0
"""How far two readings of when a process began may differ."""


def find_marks(pipeline: Pipeline) -> Path:
    """The folder of the files that show which runs live; pipelines with one scratch folder share it."""
    return pipeline.scratch_folder.parent / "runs"


@contextmanager
def hold_run(marks: Path, run_id: str) -> Iterator[None]:
    """Show that this process works for a run; others may do so at once.

    Raises:
        DiskError: the folder cannot be made.
    """
    make_folder(marks)
    with (marks / f"{run_id}.lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        file.write(_name_leader())
        file.flush()
        os.fsync(file.fileno())  # it is read after a power cut
        yield


def end_with_leader() -> None:
    """Have a step's process interrupted when the one that leads its run dies, as if somebody stopped the run.

    A server tells such a run as failed and gives its slot to the next one after a while, whatever its steps still do;
    and nobody can stop a run that has failed.
    """
    leader = multiprocessing.parent_process()
    if leader is not None and ask_for_signal(signal.SIGINT) and not leader.is_alive():
        signal.raise_signal(signal.SIGINT)


def settle_dead_runs(instance: dg.DagsterInstance, marks: Path) -> list[str]:
    """Record that dead runs have failed and free what they held; returns their ids.

    Only runs that the instance takes for running are judged, and only those that worked on this machine: one that is
    queued or just starting has no file yet. Files of runs that are over are removed.
    """
    return [file.stem for file in sorted(marks.glob("*.lock")) if _settle(instance, file)]


def build_sensor(pipeline: Pipeline) -> dg.SensorDefinition:
    """Settles dead runs while a Dagster server runs. It asks for no run, so each look is told as skipped and why."""
    marks = find_marks(pipeline)

    @dg.sensor(
        name=f"{pipeline.name}_dead_runs",
        description="Records runs as failed whose processes are gone, killed or by a power cut, and frees their slots.",
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        settled = settle_dead_runs(context.instance, marks)
        if not settled:
            return dg.SkipReason("No run is dead.")
        return dg.SkipReason(f"Recorded as failed, as their processes are gone: {', '.join(settled)}.")

    return look


def _settle(instance: dg.DagsterInstance, file: Path) -> bool:
    """Whether the run of this file was dead. Whoever looks holds the file, so of two looks at once one settles it."""
    try:
        with file.open(encoding="utf-8") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            gone = _is_leader_gone(mark.read())
            run = instance.get_run_by_id(file.stem)  # only now: what a leader that is gone had to tell is told
            if run is None or not (run.is_finished or (gone and run.status in _GOING_ON)):
                return False
            if run.status == dg.DagsterRunStatus.STARTED:
                instance.report_run_failed(run, MESSAGE)
            elif run.status == dg.DagsterRunStatus.CANCELING:
                instance.report_run_canceled(run, MESSAGE)
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            file.unlink(missing_ok=True)
            return not run.is_finished
    except (FileNotFoundError, BlockingIOError):
        return False  # another look has just removed it; somebody holds it


def _name_leader() -> str:
    """The process that leads the run: the one that started this one for a step, or this one."""
    parent = multiprocessing.parent_process()
    leader = psutil.Process(os.getpid() if parent is None else parent.pid)
    return json.dumps({"host": platform.node(), "pid": leader.pid, "began": leader.create_time()})


def _is_leader_gone(name: str) -> bool:
    """Whether this machine is the leader's and it is not there; a later process with its number is another one."""
    try:
        leader = json.loads(name)
    except ValueError:
        return False  # nothing can be told: its process has only just opened the file, or its disk lost it
    if leader["host"] != platform.node():
        return False
    try:
        process = psutil.Process(leader["pid"])
        another = abs(process.create_time() - leader["began"]) > _CLOCK_SECONDS
        return bool(another or process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
