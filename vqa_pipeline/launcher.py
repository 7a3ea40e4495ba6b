"""Runs a worker as several ranks: starts them, watches them, ends them together, and tells how it went as one process.

torchrun would start them too, and a worker runs under it. But torchrun ends with status 1 and a stack trace of its own
whatever the ranks said, and it gives each a session of its own, out of reach of whoever ends this process's group. Here
the status is that of the rank that failed first, its last words are the last lines, and ranks stay in the group.

Loads without torch, so the process that waits is small. Linux asks a rank to stop when this process dies.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from vqa_pipeline.errors import EXIT_CANCELLED, TrainingCancelled
from vqa_pipeline.modeling.jobs import PARENT_VARIABLE

RANK_VARIABLE = "RANK"
"""Environment variable with a rank's number. Its name, and the others' below, are torchrun's."""
MAIN_RANK = "0"
"""The number of the rank that tells and writes."""

_HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)
"""Below those that systems hand out by themselves, so that none is taken between choosing it and using it."""
_GRACE_SECONDS = 30.0
_POLL_SECONDS = 0.05
_STOPPED_BY_SIGNAL = {-signal.SIGINT, -signal.SIGTERM}


class Rank(NamedTuple):
    """One of the processes."""

    number: int
    process: subprocess.Popen[bytes]
    words: Path | None
    """Where its stdout and stderr go; None: where this process's do."""

    @property
    def failed(self) -> bool:
        """Whether it ended, and not well."""
        return self.process.poll() not in (None, 0)


def run_ranks(
    command: Sequence[str],
    count: int,
    threads: int,
    should_stop: Callable[[], bool],
    grace_seconds: float = _GRACE_SECONDS,
) -> int:
    """Run a command as `count` ranks to their end; returns the exit status, a signal's number and 128 if one killed it.

    Args:
        command: Starts a rank.
        count: How many.
        threads: CPU threads of each, for libraries that ask the environment.
        should_stop: Whether the ranks are to be asked to stop, with SIGTERM.
        grace_seconds: How long the others may take to end after one has failed.
    """
    with TemporaryDirectory(prefix="vqa-ranks-") as folder:
        environment = {**os.environ, **_describe_group(count, threads)}
        ranks: list[Rank] = []
        try:
            ranks.extend(_start(command, number, environment, Path(folder)) for number in range(count))
            culprit = _watch(ranks, should_stop, grace_seconds)
        finally:
            for rank in ranks:
                rank.process.kill()
                rank.process.wait()
        return _tell(culprit, count, stopped=should_stop()) if culprit else 0


def _describe_group(count: int, threads: int) -> dict[str, str]:
    described = {
        PARENT_VARIABLE: str(os.getpid()),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": _HOST,
        "MASTER_PORT": str(_find_free_port()),
        "OMP_NUM_THREADS": str(threads),
    }
    if sys.platform.startswith("linux"):
        described["GLOO_SOCKET_IFNAME"] = "lo"  # all are on this machine, which may be offline or not know its name
    return described


def _find_free_port() -> int:
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as tried:
            try:
                tried.bind((_HOST, port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


def _start(command: Sequence[str], number: int, environment: dict[str, str], folder: Path) -> Rank:
    """Start a rank; the main one speaks where this process does, the others into a file until they are asked."""
    own = environment | {RANK_VARIABLE: str(number), "LOCAL_RANK": str(number)}
    if number == 0:
        return Rank(number, subprocess.Popen(command, env=own, stdin=subprocess.DEVNULL), None)  # noqa: S603 - our own command line
    words = folder / f"rank-{number}"
    with words.open("wb") as output:
        process = subprocess.Popen(command, env=own, stdin=subprocess.DEVNULL, stdout=output, stderr=output)  # noqa: S603
    return Rank(number, process, words)


def _watch(ranks: Sequence[Rank], should_stop: Callable[[], bool], grace_seconds: float) -> Rank | None:
    """Wait for all to end; returns the one that failed first."""
    culprit, deadline, asked = None, float("inf"), False
    while any(rank.process.poll() is None for rank in ranks):
        failed = [rank for rank in ranks if rank.failed]
        if failed and culprit is None:
            culprit, deadline = _find_culprit(failed), time.monotonic() + grace_seconds
        if not asked and (culprit or should_stop()):
            asked = True
            _signal(ranks, signal.SIGTERM)
        if time.monotonic() > deadline:
            _signal(ranks, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    failed = [rank for rank in ranks if rank.failed]
    return culprit or (_find_culprit(failed) if failed else None)


def _find_culprit(failed: Sequence[Rank]) -> Rank:
    """Of several that failed at once: one that was killed, because the others only miss it; else the first."""
    return min(failed, key=lambda rank: (rank.process.returncode > 0, rank.number))


def _signal(ranks: Sequence[Rank], number: signal.Signals) -> None:
    for rank in ranks:
        rank.process.send_signal(number)


def _tell(culprit: Rank, count: int, *, stopped: bool) -> int:
    """Repeat a failed rank's last words, if they were not heard yet; returns the status to end with."""
    status = culprit.process.returncode
    if culprit.words is not None:
        sys.stderr.write(culprit.words.read_text(encoding="utf-8", errors="replace"))
    if status >= 0:
        return status
    name = signal.Signals(-status).name
    if stopped and status in _STOPPED_BY_SIGNAL:
        sys.stderr.write(f"{TrainingCancelled(0, None)}\n")
        return EXIT_CANCELLED
    sys.stderr.write(f"process {culprit.number + 1} of {count} was killed by {name}; the others were ended with it.\n")
    return 128 - status
