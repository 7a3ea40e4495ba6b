"""Where the plan's tasks run: in this process or in several. The one place where tasks meet processes.

Knows nothing of what tasks do, and imports nothing that they use: a new process is set up before its first task brings
its libraries in.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self, TypeVar

from vqa_pipeline.errors import TaskProcessDied

Item = TypeVar("Item")
Result = TypeVar("Result")
MapTasks = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Applies a function to each item; the results come in the items' order, each as soon as it is there."""

_FEWEST_TASKS = 4
"""Fewer are done sooner than processes have started: each imports the libraries anew, for a second or two."""


def run_in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
    """`map_tasks` as a plain loop."""
    return map(function, items)


class TaskProcesses:
    """`map_tasks` over processes of this machine, which start when there are first enough tasks for them.

    They end with the block, and at once when it is left by an exception or when this process is killed: each watches
    its end of a pipe that this process holds, the leash.

    Raises:
        TaskProcessDied: one of them was killed, as a full machine does.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._leash: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Apply a function to each item, as `MapTasks`."""
        tasks = list(items)
        if self._workers == 1 or len(tasks) < _FEWEST_TASKS:
            yield from run_in_order(function, tasks)
            return
        try:
            yield from self._start().map(function, tasks)
        except BrokenProcessPool as error:
            raise TaskProcessDied(self._workers) from error

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = get_context("spawn")  # a fork would copy the locks of threads that it does not copy
            watched, self._leash = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(self._workers, context, _set_up, (watched,))
        return self._pool

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is None or self._leash is None:
            return
        if kind is not None:
            self._leash.close()
        self._pool.shutdown(cancel_futures=kind is not None)
        self._leash.close()


def _set_up(watched: Connection) -> None:
    """In a new process: one thread per process, no word on Ctrl-C, and an end with the process that started it."""
    os.environ["POLARS_MAX_THREADS"] = "1"  # polars reads it when it is imported, with the first task
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(watched,), daemon=True).start()


def _end_with(watched: Connection) -> None:
    with suppress(EOFError, OSError):
        watched.recv()
    os._exit(1)
