"""The child process that trains and predicts: `python -m vqa_pipeline.worker JOB.json`.

It is started, never imported. It reports events as JSON lines, to the file that whoever started it names, else on
stdout; shows progress on stderr; saves and leaves with status 75 on SIGINT or SIGTERM; and ends when its
parent does. A user's mistake is the last line on stderr, with status 65 and without stack trace.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from pydantic import ValidationError

from vqa_pipeline.errors import (
    EXIT_CANCELLED,
    EXIT_USER_ERROR,
    DiskError,
    MissingPackage,
    SettingsError,
    TrainingCancelled,
    VqaPipelineError,
)
from vqa_pipeline.launcher import MAIN_RANK, RANK_VARIABLE, run_ranks
from vqa_pipeline.modeling.cpu_allowance import share_cpus
from vqa_pipeline.modeling.jobs import EVENTS_VARIABLE, JOB, PARENT_VARIABLE, PredictJob, TrainJob
from vqa_pipeline.parent_death import ask_for_signal

if TYPE_CHECKING:
    from vqa_pipeline.modeling.events import Report

_PACKAGES = {"accelerate", "peft", "safetensors", "tensorboard", "tokenizers", "torch", "transformers"}
"""What the extra `training` installs."""


class StopRequest:
    """Whether somebody asked this process to stop. Signals only set it; the loop ends at a place of its own choice."""

    def __init__(self) -> None:
        self.requested = False

    def listen(self) -> None:
        """Take SIGINT and SIGTERM as requests."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._request)

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True

    def __call__(self) -> bool:
        """Whether somebody did."""
        return self.requested


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent ends (Linux only), and leave at once if it did already."""
    parent = int(os.environ.pop(PARENT_VARIABLE, os.getppid()))
    if ask_for_signal(signal.SIGTERM) and os.getppid() != parent:
        raise SystemExit(EXIT_CANCELLED)


@contextmanager
def open_report() -> Iterator[Report]:
    """Where events go, a line each."""
    path = os.environ.get(EVENTS_VARIABLE)
    with Path(path).open("a", encoding="utf-8") if path else nullcontext(sys.stdout) as file:
        yield partial(_write_event, file)


def _write_event(file: TextIO, event: dict[str, Any]) -> None:
    file.write(json.dumps(event, ensure_ascii=False) + "\n")
    file.flush()


def _tell_nobody(_event: dict[str, Any]) -> None:
    return


def read_job(path: Path) -> TrainJob | PredictJob:
    """The job in a file.

    Raises:
        SettingsError: there is none.
    """
    try:
        return JOB.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise SettingsError("JOB", f"{path} is not a job: {error}", "See vqa_pipeline/modeling/jobs.py.") from error


def do_job(job: TrainJob | PredictJob, report: Report, stop: StopRequest) -> None:
    """Import what this kind of job needs, and do it.

    Raises:
        VqaPipelineError: it did not end well.
    """
    try:
        if isinstance(job, TrainJob):
            from vqa_pipeline.modeling.training.train import train

            train(job, report, stop)
        else:
            from vqa_pipeline.modeling.prediction import predict

            predict(job, report, stop)
    except Exception as error:
        told = explain(error, job)
        if told is None:
            raise
        raise told from error


def explain(error: Exception, job: TrainJob | PredictJob) -> VqaPipelineError | None:
    """What a user can do about an error of the libraries; None when nothing tells that it is a user's to mend."""
    if isinstance(error, ImportError):
        package = (error.name or "").partition(".")[0]
        return MissingPackage(job.task, package, str(error)) if package in _PACKAGES else None
    output = Path(job.output_folder if isinstance(job, TrainJob) else job.output_file)
    if isinstance(error, OSError):
        return DiskError.from_number(error.errno, error.filename or output)
    return None


def main(arguments: Sequence[str]) -> int:
    """Do the job in the file named, as one process or as the ranks that it asks for; returns the exit status."""
    stop = StopRequest()
    stop.listen()
    end_with_parent()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # torch's threads must sleep while they wait: spinning beside a busy neighbour, two were five times slower than one
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        job = read_job(Path(arguments[0]))
        count = job.settings.processes if isinstance(job, TrainJob) else 1
        rank = os.environ.get(RANK_VARIABLE) if count > 1 else MAIN_RANK
        if rank is None:
            command = [sys.executable, "-m", "vqa_pipeline.worker", *arguments]
            return run_ranks(command, count, share_cpus(count), stop)
        with open_report() if rank == MAIN_RANK else nullcontext(_tell_nobody) as report:
            do_job(job, report, stop)
    except TrainingCancelled as cancelled:
        sys.stderr.write(f"{cancelled}\n")
        return EXIT_CANCELLED
    except VqaPipelineError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
