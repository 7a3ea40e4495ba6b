"""Runs a job in a child process of its own and brings its events into Dagster while it works.

The child leads a process group that is ended on every abnormal exit of this loop: it is asked with SIGINT, has a grace
period to save its progress, and is killed with all its children after it. When this process dies itself, the kernel
tells the child (`worker` asks for that).
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_pipes import PipesDefaultMessageWriter

from vqa_pipeline.errors import EXIT_CANCELLED, EXIT_USER_ERROR, TrainingCancelled, TrainingError, WorkerFailed
from vqa_pipeline.modeling.jobs import PARENT_VARIABLE, PredictJob, TrainJob

WORKER = (sys.executable, "-m", "vqa_pipeline.worker")
_LAST_LINES = 12
_SAME_INTERRUPT_SECONDS = 2.0
_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_OBSERVATIONS = 15.0

Event = Mapping[str, Any]


@dataclass(frozen=True)
class TrainingClient:
    """Starts workers.

    Args:
        scratch: Where job files and logs go.
        command: What to start; the job's file is appended.
        grace_seconds: How long a cancelled worker may take to save its progress.
        poll_seconds: How often events are fetched.
    """

    scratch: Path
    command: Sequence[str] = WORKER
    grace_seconds: float = 60.0
    poll_seconds: float = 0.2

    def run(
        self, context: dg.AssetExecutionContext, job: TrainJob | PredictJob, on_event: Callable[[Event], None]
    ) -> None:
        """Run a job to its end.

        Raises:
            WorkerFailed: the process ended abnormally.
            TrainingCancelled: somebody asked the process itself to stop; its progress is saved.
            TrainingError: a user's mistake that the process explains.
        """
        file = self._write_job(context.run_id, job)
        log = file.with_suffix(".log")
        context.log.info(f"{job.task} in a process of its own; its log is {log}")
        messages = _Messages(file.with_suffix(".messages"))
        with (
            log.open("ab") as output,
            dg.open_pipes_session(
                context=context, context_injector=dg.PipesTempFileContextInjector(), message_reader=messages
            ) as session,
        ):
            events = _Events(session, messages, on_event)
            started = {PARENT_VARIABLE: str(os.getpid()), **session.get_bootstrap_env_vars()}
            status = self._supervise([*self.command, str(file)], {**os.environ, **started}, output, events.fetch)
            events.fetch()
        _check_status(job, status, log)

    def _write_job(self, run_id: str, job: TrainJob | PredictJob) -> Path:
        file = self.scratch / "jobs" / f"{job.task}-{run_id}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(job.model_dump_json(indent=1), encoding="utf-8")
        return file

    def _supervise(
        self, command: Sequence[str], environment: Mapping[str, str], output: Any, fetch: Callable[[], None]
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

    def _ask_to_stop(self, process: "subprocess.Popen[bytes]") -> None:
        """Give the child time to save; an interrupt repeated at once is the same one, a later one is haste."""
        _signal_group(process.pid, signal.SIGINT)
        begin = time.monotonic()
        while process.poll() is None and time.monotonic() - begin < self.grace_seconds:
            try:
                time.sleep(min(0.05, self.poll_seconds))
            except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
                if time.monotonic() - begin > _SAME_INTERRUPT_SECONDS:
                    raise


class _Messages(dg.PipesMessageReader):
    """The file into which the child writes a message a line, read on request and in whole lines only.

    Dagster's own reader takes the part of a line that is there already for a broken message, and dies of it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def read_messages(self, handler: dg.PipesMessageHandler) -> Iterator[dict[str, Any]]:
        """Make the file for a session, and remove it at its end."""
        self._handler, self._rest = handler, b""
        self._path.write_bytes(b"")
        try:
            with self._path.open("rb") as self._file:
                yield {PipesDefaultMessageWriter.FILE_PATH_KEY: str(self._path)}
        finally:
            self._path.unlink(missing_ok=True)

    def read(self) -> None:
        """Hand the lines that have been finished since the last time to the session."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            self._handler.handle_message(json.loads(line))

    def no_messages_debug_text(self) -> str:
        """Where the messages should have come from."""
        return f"Attempted to read messages from {self._path}."


class _Events:
    """The messages of a session, each handed on once."""

    def __init__(self, session: dg.PipesSession, messages: _Messages, on_event: Callable[[Event], None]) -> None:
        self._session, self._messages, self._on_event = session, messages, on_event
        self._seen = 0

    def fetch(self) -> None:
        """Hand on what came since the last time."""
        self._messages.read()
        for message in self._session.get_custom_messages()[self._seen :]:
            self._seen += 1
            self._on_event(message)


def _signal_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return  # nothing of the group is left


def _check_status(job: TrainJob | PredictJob, status: int, log: Path) -> None:
    if status == 0:
        return
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if status == EXIT_USER_ERROR:
        raise TrainingError(lines[-1] if lines else f"the {job.task} process refused without a word; see {log}")
    if status == EXIT_CANCELLED:
        raise TrainingCancelled.from_message(lines[-1] if lines else "")
    raise WorkerFailed(job.task, status, "\n".join(lines[-_LAST_LINES:]), log)


class Narrator:
    """Tells a training's events: readable lines in the run's log, and observations that the UI plots while it runs."""

    def __init__(self, context: dg.AssetExecutionContext, curve: dg.AssetKey) -> None:
        self.context, self.curve = context, curve
        self.last_line = self.last_observation = float("-inf")

    def __call__(self, event: Event) -> None:
        """Take an event of the worker."""
        tell = {"started": self._tell_start, "step": self._tell_step, "epoch": self._tell_epoch}
        tell.get(str(event["event"]), self._tell_message)(event)

    def _tell_start(self, event: Event) -> None:
        learnable, total = event["num_learnable"], event["num_parameters"]
        self.context.log.info(
            f"{learnable:,} of {total:,} parameters learn ({learnable / total:.0%}) on {event['device']} in "
            f"{event['precision']}, {event['num_steps']} steps"
        )
        if event.get("resumed_from_step"):
            self.context.log.info(f"going on from step {event['resumed_from_step']}")

    def _tell_step(self, event: Event) -> None:
        now = time.monotonic()
        if now - self.last_line >= _SECONDS_BETWEEN_LINES:
            self.last_line = now
            self.context.log.info(
                f"epoch {event['epoch']}, step {event['step']}: loss {event['loss']:.3f}, "
                f"rate {event['learning_rate']:.2e}, {event['questions_per_second']:.0f} questions/s, "
                f"{event['eta_seconds']:.0f} s left"
            )
        if now - self.last_observation >= _SECONDS_BETWEEN_OBSERVATIONS:
            self.last_observation = now
            self._observe(event, ("step", "epoch", "loss", "learning_rate", "questions_per_second", "eta_seconds"))

    def _tell_epoch(self, event: Event) -> None:
        best = ", the best so far" if event.get("best") else ""
        self.context.log.info(
            f"epoch {event['epoch']} done: loss {event['loss']:.3f}, val accuracy {event['val_accuracy']:.3f}{best}"
        )
        self._observe(event, ("step", "epoch", "loss", "learning_rate", "val_accuracy"))

    def _tell_message(self, event: Event) -> None:
        if event["event"] == "log":
            self.context.log.info(str(event["message"]))

    def _observe(self, event: Event, names: Sequence[str]) -> None:
        numbers = {name: event[name] for name in names if event.get(name) is not None}
        metadata = {**numbers, "run_id": self.context.run_id}
        self.context.log_event(dg.AssetObservation(asset_key=self.curve, metadata=metadata))
