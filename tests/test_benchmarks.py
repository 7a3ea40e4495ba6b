"""Benchmarks use the project's own parts, and must go on running when these change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize("row", ["inference", "last_layers", "pixels"])
def test_the_benchmark_of_training_runs(row: str) -> None:
    smallest = ["--device", "cpu", "--batch", "1", "--batches", "1", "--repeats", "1", "--only", row]
    command = [sys.executable, BENCHMARKS / "training.py", *smallest]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(row)


@pytest.mark.slow
def test_the_benchmark_of_a_training_job_runs() -> None:
    smallest = ["--device", "cpu", "--questions", "8", "--epochs", "1", "--strategy", "head"]
    command = [sys.executable, BENCHMARKS / "training_job.py", *smallest]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "8 questions, 1 epochs, 1 steps" in done.stdout


@pytest.mark.slow
def test_the_benchmark_of_evaluation_runs_and_both_ways_give_the_same_scores() -> None:
    command = [sys.executable, BENCHMARKS / "evaluation.py", "--questions", "500", "--report", "60", "--repeats", "1"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["scoring", "intervals", "report"]


@pytest.mark.slow
def test_the_benchmark_of_keeping_up_runs() -> None:
    """All of it but the clicks, which take a minute each."""
    few = ["--files", "1500", "--repeats", "1", "--only", "observing", "evaluating", "loading"]
    command = [sys.executable, BENCHMARKS / "keeping_up.py", *few]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, *lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        *("observing", "observing", "observing", "evaluating", "evaluating"),
        *("stages", "stages", "loading", "loading"),
    ]
