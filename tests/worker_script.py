"""Workers that do as a test says: scripts under the real training client, so real processes and real signals."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from vqa_pipeline.modeling.jobs import PredictJob
from vqa_pipeline.training_client import TrainingClient

JOB_ASKED = PredictJob(
    checkpoint="c", checkpoint_version="v", questions=(), image_packs=(), cache_folder="p", output_file="o"
)
_WORKER = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
def wait_for(name, seconds=20):
    end = time.monotonic() + seconds
    while not (folder / name).exists():
        if time.monotonic() > end: sys.exit(f"nobody made {name}")
        time.sleep(0.005)
def say(text):
    sys.stderr.write(text + "\\n")
def tell(event):
    with open(os.environ["VQA_PIPELINE_EVENTS"], "a") as events:
        events.write(json.dumps(event) + "\\n")
"""
SAVES_ON_SIGINT = """
def save(*_): (folder / "saved").touch(); sys.exit(75)
signal.signal(signal.SIGINT, save)
tell({"event": "ready", "pid": os.getpid()})
time.sleep(60)
"""
IGNORES_SIGINT = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
tell({"event": "ready", "pid": os.getpid(), "child": child.pid})
time.sleep(60)
"""


def make_client(folder: Path, body: str, **options) -> TrainingClient:
    """A client whose worker does `body`; `folder` is where the two of them meet."""
    script = folder / "worker.py"
    script.write_text(_WORKER + textwrap.dedent(body))
    options = {"grace_seconds": 5.0, "poll_seconds": 0.01, **options}
    return TrainingClient(folder / "scratch", (sys.executable, str(script), str(folder)), **options)


def is_running(pid: int) -> bool:
    """Whether a process is there and not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for a condition, and fail when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def read_pid(file: Path) -> int:
    """The process id that a worker writes into a file."""
    wait_until(lambda: file.exists() and file.read_text())
    return int(file.read_text())
