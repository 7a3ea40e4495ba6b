"""Workers shown on a terminal: scripted ones, really started, really interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from worker_script import JOB_ASKED, SAVES_ON_SIGINT, is_running, make_client, read_pid

from vqa_pipeline.cli.terminal import start_on_terminal
from vqa_pipeline.errors import EXIT_USER_ERROR, TrainingError

STARTED = {
    "event": "started",
    "num_parameters": 100,
    "num_learnable": 25,
    "device": "cpu",
    "precision": "fp32",
    "num_steps": 90,
    "resumed_from_step": None,
}


def start(folder: Path, body: str) -> None:
    client = make_client(folder, body)
    start_on_terminal(client.scratch, client.command)(JOB_ASKED)


def test_what_the_worker_tells_is_shown_and_what_it_prints_is_in_its_log(tmp_path, capfd):
    start(tmp_path, f"say('for the log'); tell({STARTED!r}); tell({{'event': 'log', 'message': 'by the way'}})")
    out, err = capfd.readouterr()
    assert out == ""
    [log] = (tmp_path / "scratch" / "jobs").glob("*.log")
    assert err.splitlines() == [
        f"predict in a process of its own; its log is {log}",
        "25 of 100 parameters learn (25%) on cpu in fp32, 90 steps",
        "by the way",
    ]
    assert log.read_text() == "for the log\n"


def test_a_user_s_mistake_is_raised_with_its_words(tmp_path):
    with pytest.raises(TrainingError, match="no such thing"):
        start(tmp_path, f"say('no such thing'); sys.exit({EXIT_USER_ERROR})")


def test_sigterm_means_again_afterwards_what_it_meant_before(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    start(tmp_path, "pass")
    assert signal.getsignal(signal.SIGTERM) is before


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_cli_terminal import start
from vqa_pipeline.errors import TrainingCancelled
try:
    start(Path({folder!r}), {body!r})
except TrainingCancelled as cancelled:
    print(cancelled.step, cancelled.checkpoint)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_lets_the_worker_save_and_says_where_the_next_goes_on(tmp_path, number):
    last = "stopped on request at step 7; the next run resumes from scratch/step-7."
    body = SAVES_ON_SIGINT.replace("sys.exit(75)", f"say({last!r}); sys.exit(75)")
    body = body.replace("tell(", "(folder / 'pid').write_text(str(os.getpid())); tell(", 1)
    tests = Path(__file__).parents[1]
    program = PROGRAM.format(tests=str(tests), folder=str(tmp_path), body=body)
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(tests / 'cli')!r})\n{textwrap.dedent(program)}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    worker = read_pid(tmp_path / "pid")
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert out == "7 scratch/step-7\n"
    assert (tmp_path / "saved").exists()
    assert not is_running(worker)
