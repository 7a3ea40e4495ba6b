"""Runs of Dagster that are interrupted or killed while a worker works for them: each a process of its own."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import dagster as dg
import pytest
from worker_script import IGNORES_SIGINT, SAVES_ON_SIGINT, is_running, read_pid, wait_until

RUN = """
import sys, warnings
sys.path.insert(0, {tests!r})
warnings.simplefilter("ignore")
from pathlib import Path
import dagster as dg
from worker_script import JOB_ASKED, make_client
interrupts = (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)
client = make_client(Path({folder!r}), {body!r}, grace_seconds={grace}, interrupts=interrupts)

@dg.asset
def checkpoint(context: dg.AssetExecutionContext):
    client.run(JOB_ASKED, context.run_id, lambda event: None)
    return dg.MaterializeResult()

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        dg.materialize([checkpoint], instance=instance)
"""


def start_run(folder: Path, body: str, grace: float = 10.0) -> subprocess.Popen[bytes]:
    """A run of Dagster in a process of its own, recorded in `folder`."""
    tests = Path(__file__).parents[1]
    program = folder / "run.py"
    program.write_text(RUN.format(tests=str(tests), folder=str(folder), body=body, grace=grace))
    (folder / "home").mkdir()
    (folder / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environment = {**os.environ, "DAGSTER_HOME": str(folder / "home")}
    log = (folder / "run.log").open("wb")
    return subprocess.Popen([sys.executable, str(program)], env=environment, stdout=log, stderr=log)


TELLS_ITS_PID = "(folder / 'pid').write_text(str(os.getpid()))\n"


def read_runs(folder: Path) -> list[dg.DagsterRun]:
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        return list(instance.get_runs())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_lets_the_worker_save(tmp_path, number):
    run = start_run(tmp_path, SAVES_ON_SIGINT.replace("tell(", TELLS_ITS_PID + "tell(", 1))
    worker = read_pid(tmp_path / "pid")
    run.send_signal(number)
    assert run.wait(timeout=60) != 0
    assert (tmp_path / "saved").exists()
    assert not is_running(worker)
    assert [one.status.value for one in read_runs(tmp_path)] == ["FAILURE"]


@pytest.mark.slow
def test_a_run_terminated_in_the_ui_is_recorded_as_cancelled(tmp_path):
    run = start_run(tmp_path, SAVES_ON_SIGINT.replace("tell(", TELLS_ITS_PID + "tell(", 1))
    worker = read_pid(tmp_path / "pid")
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:  # what Dagster's launcher does for the UI
        instance.report_run_canceling(instance.get_runs()[0])
    run.terminate()
    run.wait(timeout=60)
    assert (tmp_path / "saved").exists()
    assert not is_running(worker)
    assert [one.status.value for one in read_runs(tmp_path)] == ["CANCELED"]


@pytest.mark.slow
def test_an_interrupted_run_does_not_wait_for_a_deaf_worker_forever(tmp_path):
    run = start_run(tmp_path, IGNORES_SIGINT.replace("tell(", TELLS_ITS_PID + "tell(", 1), grace=1.0)
    worker = read_pid(tmp_path / "pid")
    run.send_signal(signal.SIGTERM)
    run.wait(timeout=60)
    assert not is_running(worker)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the parent-death signal is Linux's")
def test_when_the_run_s_process_is_killed_the_worker_saves_and_ends(tmp_path):
    body = """
    from vqa_pipeline.worker import end_with_parent
    def save(*_): (folder / "saved").touch(); sys.exit(75)
    signal.signal(signal.SIGTERM, save)
    end_with_parent()
    """
    run = start_run(tmp_path, textwrap.dedent(body) + TELLS_ITS_PID + "time.sleep(60)")
    worker = read_pid(tmp_path / "pid")
    run.kill()
    run.wait()
    wait_until(lambda: not is_running(worker), seconds=10)
    assert (tmp_path / "saved").exists()
