"""Workers under the training client: real processes, real signals; scripts that do as the test says play the worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from worker_script import IGNORES_SIGINT, JOB_ASKED, SAVES_ON_SIGINT, is_running, make_client, wait_until

from vqa_pipeline.errors import EXIT_CANCELLED, EXIT_USER_ERROR, TrainingCancelled, TrainingError, WorkerFailed
from vqa_pipeline.modeling.jobs import JOB, PARENT_VARIABLE
from vqa_pipeline.training_client import Event, TrainingClient


class Run:
    """A run of a client: what it told, after the line that says where the log is, and what it raised."""

    def __init__(self, client: TrainingClient, on_event: Callable[[Event], None] = lambda _: None) -> None:
        self.events: list[Event] = []
        self.error: BaseException | None = None
        self._on_event = on_event
        try:
            client.run(JOB_ASKED, "run", self._take)
        except BaseException as error:  # noqa: BLE001 - whatever it is, a test asks for it
            self.error = error

    def _take(self, event: Event) -> None:
        if "its log is" in str(event.get("message")):
            return
        self.events.append(dict(event))
        self._on_event(event)


def test_events_arrive_while_the_worker_works(tmp_path):
    client = make_client(tmp_path, "tell({'event': 'log', 'message': 'waiting'}); wait_for('go')")
    run = Run(client, lambda event: (tmp_path / "go").touch())
    assert run.error is None
    assert run.events == [{"event": "log", "message": "waiting"}]


def test_nothing_told_right_before_the_end_is_lost(tmp_path):
    run = Run(make_client(tmp_path, "for number in range(2000): tell({'event': 'log', 'message': number})"))
    assert run.error is None
    assert [event["message"] for event in run.events] == list(range(2000))


def test_a_message_that_is_half_written_is_waited_for(tmp_path):
    body = """
    tell({"event": "log", "message": "before"})
    line = json.dumps({"event": "log", "message": "torn"}).encode() + b"\\n"
    with open(os.environ["VQA_PIPELINE_EVENTS"], "ab", buffering=0) as file:
        file.write(line[:20])
        wait_for("go")
        time.sleep(0.1)
        file.write(line[20:])
    tell({"event": "log", "message": "after"})
    """
    run = Run(make_client(tmp_path, body), lambda event: (tmp_path / "go").touch())
    assert run.error is None
    assert [event["message"] for event in run.events] == ["before", "torn", "after"]


def test_the_worker_reads_its_job_from_a_file(tmp_path):
    client = make_client(tmp_path, "tell({'event': 'job', 'job': Path(sys.argv[2]).read_text()})")
    run = Run(client)
    assert JOB.validate_json(run.events[0]["job"]) == JOB_ASKED


def test_what_the_worker_prints_is_in_its_log(tmp_path):
    Run(make_client(tmp_path, "print('to stdout', flush=True); say('to stderr')"))
    [log] = (tmp_path / "scratch" / "jobs").glob("predict-*.log")
    assert log.read_text() == "to stdout\nto stderr\n"


def test_the_worker_leads_a_group_of_its_own(tmp_path):
    run = Run(make_client(tmp_path, "tell({'event': 'group', 'leads': os.getpgid(0) == os.getpid()})"))
    assert run.events == [{"event": "group", "leads": True}]
    assert os.getpgid(0) != 0


def test_a_user_s_mistake_is_the_worker_s_last_line(tmp_path):
    run = Run(make_client(tmp_path, f"say('noise'); say('`training.backbone`: no such'); sys.exit({EXIT_USER_ERROR})"))
    assert type(run.error) is TrainingError
    assert str(run.error) == "`training.backbone`: no such"


@pytest.mark.parametrize("said", [TrainingCancelled(7, "/scratch/training/step-7"), TrainingCancelled(0, None)])
def test_a_worker_that_was_asked_to_stop_says_where_the_next_run_goes_on(tmp_path, said):
    run = Run(make_client(tmp_path, f"say({str(said)!r}); sys.exit({EXIT_CANCELLED})"))
    assert isinstance(run.error, TrainingCancelled)
    assert str(run.error) == str(said)
    assert (run.error.step, run.error.checkpoint) == (said.step, said.checkpoint)


def test_a_crash_tells_status_log_and_last_lines(tmp_path):
    run = Run(make_client(tmp_path, "for number in range(20): say(f'line {number}')\nos._exit(3)"))
    assert isinstance(run.error, WorkerFailed)
    assert run.error.exit_status == 3
    assert run.error.last_lines.splitlines() == [f"line {number}" for number in range(8, 20)]
    assert str(run.error.log) in str(run.error)


def test_a_killed_worker_is_told_apart(tmp_path):
    run = Run(make_client(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)"))
    assert str(run.error).startswith("the predict process was killed by signal 9.")


def test_a_worker_that_cannot_start_is_a_failure(tmp_path):
    run = Run(TrainingClient(tmp_path, (str(tmp_path / "no-such-program"),)))
    assert isinstance(run.error, FileNotFoundError)


class Interrupted(BaseException):
    """Whatever may end the loop."""


def interrupt(event) -> None:
    raise Interrupted


def test_whatever_ends_the_loop_the_worker_may_save_first(tmp_path):
    run = Run(make_client(tmp_path, SAVES_ON_SIGINT), interrupt)
    assert isinstance(run.error, Interrupted), "it goes its way when the worker is gone"
    assert (tmp_path / "saved").exists()
    assert not is_running(run.events[0]["pid"])


def test_a_worker_that_does_not_listen_is_killed_with_its_children(tmp_path):
    begin = time.monotonic()
    run = Run(make_client(tmp_path, IGNORES_SIGINT, grace_seconds=0.3), interrupt)
    assert time.monotonic() - begin >= 0.3
    [told] = run.events
    wait_until(lambda: not is_running(told["pid"]) and not is_running(told["child"]), seconds=5)


def test_children_that_a_worker_leaves_behind_are_killed(tmp_path):
    body = "child = subprocess.Popen(['sleep', '60']); tell({'event': 'left', 'pid': child.pid})"
    run = Run(make_client(tmp_path, body))
    assert run.error is None
    wait_until(lambda: not is_running(run.events[0]["pid"]), seconds=5)


def test_an_interrupt_that_comes_twice_at_once_does_not_cost_the_progress(tmp_path):
    body = SAVES_ON_SIGINT.replace("def save(*_):", "def save(*_): (folder / 'asked').touch(); time.sleep(0.3);")

    def interrupt_twice(event) -> None:
        again = 'while [ ! -e "$0/asked" ]; do sleep 0.01; done; kill -INT "$1"; touch "$0/again"'
        subprocess.Popen(["sh", "-c", again, str(tmp_path), str(os.getpid())])
        raise KeyboardInterrupt

    run = Run(make_client(tmp_path, body), interrupt_twice)
    assert isinstance(run.error, KeyboardInterrupt)
    assert (tmp_path / "again").exists()
    assert (tmp_path / "saved").exists()


# -------------------------------------------------------------------------------------------- the death of the parent


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the parent-death signal is Linux's")
def test_a_worker_whose_parent_died_before_it_looked_leaves_at_once(tmp_path):
    job = tmp_path / "job.json"
    job.write_text(JOB_ASKED.model_dump_json())
    gone = {**os.environ, PARENT_VARIABLE: "1"}
    command = [sys.executable, "-m", "vqa_pipeline.worker", str(job)]
    done = subprocess.run(command, env=gone, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == EXIT_CANCELLED
    assert done.stdout == ""
