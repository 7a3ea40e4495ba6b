"""A worker for somebody at a terminal: its progress is shown, Ctrl-C lets it save. No Dagster."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vqa_pipeline.modeling.events import Shown
from vqa_pipeline.modeling.jobs import PredictJob, TrainJob
from vqa_pipeline.progress import show_on
from vqa_pipeline.stages import RunWorker
from vqa_pipeline.training_client import WORKER, TrainingClient


def start_on_terminal(scratch: Path, command: Sequence[str] = WORKER) -> RunWorker:
    """What runs a job and shows it on stderr; files of the worker go to `scratch`.

    Ctrl-C and SIGTERM are handed on: the worker saves, and `TrainingCancelled` says how to go on.
    """
    client = TrainingClient(scratch, command)

    def run_worker(job: TrainJob | PredictJob) -> None:
        shown, run_id = Shown(show_on(sys.stderr)), time.strftime("%Y%m%d-%H%M%S")
        try:
            with _sigterm_as_interrupt():
                client.run(job, run_id, shown)
        except KeyboardInterrupt:
            raise client.read_farewell(job, run_id) from None
        finally:
            shown.close()

    return run_worker


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
