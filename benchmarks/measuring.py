"""What the benchmarks share: contenders, each run in a process of its own, and a table of medians and ratios.

A benchmark file names its contenders, generates their data and calls `run_benchmark`. A contender is a function from
the data's folder and an empty output folder to a count, such as the rows it kept: what differs there differs in work.
Peak memory is that of the whole process tree: pages that processes share count once.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

Contender = Callable[[Path, Path], int]

_SECONDS_BETWEEN_LOOKS = 0.05


class Measured(NamedTuple):
    """One run of a contender."""

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float
    count: int
    """What it returned."""


class Benchmark(NamedTuple):
    """What is measured."""

    title: str
    """What the data is; `{rows}` stands for their number."""
    prepare: Callable[[Path, int], None]
    """Generates so many rows of data in a folder."""
    contenders: Mapping[str, Contender]
    baseline: str
    rows: int
    """How many, unless the command line says otherwise."""


def run_benchmark(benchmark: Benchmark, description: str | None) -> None:
    """Generate, measure the contenders in turn, report; the command line may say how many rows and repeats, and who."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=benchmark.rows)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=benchmark.contenders, default=list(benchmark.contenders))
    parser.add_argument("--contender", choices=benchmark.contenders, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        count = benchmark.contenders[options.contender](options.folder, options.output)
        (options.output.with_name("count")).write_text(str(count))
        return
    if options.prepare:
        benchmark.prepare(options.folder, options.rows)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "data"
        folder.mkdir()
        # apart: a process starts with the peak memory of the one that started it
        command = [sys.executable, sys.argv[0], "--prepare", "--folder", str(folder), "--rows", str(options.rows)]
        subprocess.run(command, check=True)
        runs: dict[str, list[Measured]] = {name: [] for name in options.only}
        for _ in range(options.repeats):
            for name, measured in runs.items():
                measured.append(measure(name, folder, Path(scratch)))
        print(report(benchmark, options.rows, runs))


def measure(contender: str, folder: Path, scratch: Path) -> Measured:
    """Run a contender of the script at hand in a process of its own."""
    output = scratch / "output"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    command = [sys.executable, sys.argv[0], "--contender", contender, "--folder", str(folder), "--output", str(output)]
    begin = time.monotonic()
    process = subprocess.Popen(command)
    peak = _TreePeak(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    wall_seconds = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{contender} ended with status {process.returncode}")
    peak_mb = max(usage.ru_maxrss / 1024, peak.end())
    return Measured(wall_seconds, usage.ru_utime + usage.ru_stime, peak_mb, int((scratch / "count").read_text()))


class _TreePeak:
    """Looks at the memory of a process and its children while it has any; alone, the kernel keeps its peak itself."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak_mb, self._ended = pid, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN_LOOKS):
            tree = _list_tree(self._pid)
            if len(tree) > 1:
                self._peak_mb = max(self._peak_mb, sum(map(_read_memory_mb, tree)))

    def end(self) -> float:
        self._ended.set()
        self._thread.join()
        return self._peak_mb


def _list_tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue  # it has just ended
    return found


def _read_memory_mb(pid: int) -> float:
    """Proportional set size: a page that n processes share counts 1/n."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def report(benchmark: Benchmark, num_rows: int, runs: Mapping[str, list[Measured]]) -> str:
    """A table of medians, and what they are to the baseline's."""
    width = max(map(len, runs))
    baseline_name = benchmark.baseline if benchmark.baseline in runs else next(iter(runs))
    lines = [
        benchmark.title.format(rows=f"{num_rows:,}"),
        f"medians of {len(runs[baseline_name])}; {describe_machine()}",
        f"{'':<{width}} {'rows/s':>9} {'seconds':>8} {'CPU s':>7} {'peak MB':>8} {'count':>10}   to {baseline_name}",
    ]
    baseline = _take_median(runs[baseline_name])
    for name, measured in runs.items():
        median = _take_median(measured)
        ratios = [one / other for one, other in zip(median[:3], baseline[:3], strict=True)]
        lines.append(
            f"{name:<{width}} {num_rows / median.wall_seconds:>9,.0f} {median.wall_seconds:>8.1f} "
            f"{median.cpu_seconds:>7.1f} {median.peak_mb:>8,.0f} {median.count:>10,}   "
            "{:.2f} x time, {:.2f} x CPU, {:.2f} x memory".format(*ratios)
        )
    return "\n".join(lines)


def _take_median(runs: list[Measured]) -> Measured:
    middle = [statistics.median(column) for column in zip(*runs, strict=True)]
    return Measured(*middle[:3], int(middle[3]))


def describe_machine() -> str:
    """Processor, cores and interpreter."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"
