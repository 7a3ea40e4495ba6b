"""Runs a job in a child process of its own and hands on its events while it works. Knows no Dagster.

The child leads a process group that is ended on every abnormal exit of this loop: it is asked with SIGINT, has a grace
period to save its progress, and is killed with all its children after it. When this process dies itself, the kernel
tells the child (`worker` asks for that).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vqa_pipeline.errors import EXIT_CANCELLED, EXIT_USER_ERROR, TrainingCancelled, TrainingError, WorkerFailed
from vqa_pipeline.files import make_folder
from vqa_pipeline.modeling.jobs import EVENTS_VARIABLE, PARENT_VARIABLE, PredictJob, TrainJob

WORKER = (sys.executable, "-m", "vqa_pipeline.worker")
_LAST_LINES = 12
_SAME_INTERRUPT_SECONDS = 2.0

Event = Mapping[str, Any]
"""What a worker tells; see `modeling.events`."""


@dataclass(frozen=True)
class TrainingClient:
    """Starts workers.

    Args:
        scratch: Where job files, events and logs go.
        command: What to start; the job's file is appended.
        grace_seconds: How long a cancelled worker may take to save its progress.
        poll_seconds: How often events are fetched.
        interrupts: What is raised in this process when somebody wants it to stop.
    """

    scratch: Path
    command: Sequence[str] = WORKER
    grace_seconds: float = 60.0
    poll_seconds: float = 0.2
    interrupts: tuple[type[BaseException], ...] = (KeyboardInterrupt,)

    def run(self, job: TrainJob | PredictJob, run_id: str, on_event: Callable[[Event], None]) -> None:
        """Run a job to its end. `run_id` tells its files from those of other runs.

        Raises:
            WorkerFailed: the process ended abnormally.
            TrainingCancelled: somebody asked the process itself to stop; its progress is saved.
            TrainingError: a user's mistake that the process explains.
        """
        file = self._name_file(job, run_id)
        make_folder(file.parent)
        file.write_text(job.model_dump_json(indent=1), encoding="utf-8")
        log, events = self.locate_log(job, run_id), file.with_suffix(".events")
        on_event({"event": "log", "message": f"{job.task} in a process of its own; its log is {log}"})
        events.write_bytes(b"")
        try:
            with log.open("ab") as output, events.open("rb") as lines:
                told = {PARENT_VARIABLE: str(os.getpid()), EVENTS_VARIABLE: str(events)}
                fetch = _EventReader(lines, on_event).fetch
                status = self._supervise([*self.command, str(file)], {**os.environ, **told}, output, fetch)
                fetch()
        finally:
            events.unlink(missing_ok=True)
        _check_status(job, status, log)

    def read_farewell(self, job: TrainJob | PredictJob, run_id: str) -> TrainingCancelled:
        """What the worker of an interrupted run said last: where the next run goes on."""
        return TrainingCancelled.from_message(_read_lines(self.locate_log(job, run_id))[-1])

    def locate_log(self, job: TrainJob | PredictJob, run_id: str) -> Path:
        """Where everything goes that a worker writes, warnings of libraries among it."""
        return self._name_file(job, run_id).with_suffix(".log")

    def _name_file(self, job: TrainJob | PredictJob, run_id: str) -> Path:
        return self.scratch / "jobs" / f"{job.task}-{run_id}.json"

    def _supervise(
        self, command: Sequence[str], environment: Mapping[str, str], output: BinaryIO, fetch: Callable[[], None]
    ) -> int:
        """Start the child, fetch its events until it ends, and see that nothing of its group is left."""
        process = subprocess.Popen(  # noqa: S603 - our own command line
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            while process.poll() is None:
                fetch()
                time.sleep(self.poll_seconds)
        except BaseException:  # a cancelled run, a lost database, Ctrl-C: whatever it is, the child must not outlive it
            self._ask_to_stop(process)
            raise
        finally:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()
        return process.returncode

    def _ask_to_stop(self, process: subprocess.Popen[bytes]) -> None:
        """Give the child time to save; an interrupt repeated at once is the same one, a later one is haste."""
        _signal_group(process.pid, signal.SIGINT)
        begin = time.monotonic()
        while process.poll() is None and time.monotonic() - begin < self.grace_seconds:
            try:
                time.sleep(min(0.05, self.poll_seconds))
            except self.interrupts:
                if time.monotonic() - begin > _SAME_INTERRUPT_SECONDS:
                    raise


class _EventReader:
    """Reads the file into which the child writes an event a line; a line is handed on when it is whole."""

    def __init__(self, lines: BinaryIO, on_event: Callable[[Event], None]) -> None:
        self._lines, self._on_event, self._rest = lines, on_event, b""

    def fetch(self) -> None:
        """Hand on what was finished since the last time."""
        *lines, self._rest = (self._rest + self._lines.read()).split(b"\n")
        for line in lines:
            self._on_event(json.loads(line))


def _signal_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return  # nothing of the group is left


def _check_status(job: TrainJob | PredictJob, status: int, log: Path) -> None:
    if status == 0:
        return
    lines = _read_lines(log)
    if status == EXIT_USER_ERROR:
        raise TrainingError(lines[-1] or f"the {job.task} process refused without a word; see {log}")
    if status == EXIT_CANCELLED:
        raise TrainingCancelled.from_message(lines[-1])
    raise WorkerFailed(job.task, status, "\n".join(lines[-_LAST_LINES:]), log)


def _read_lines(log: Path) -> list[str]:
    """The lines of a log; at least one."""
    return log.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
