"""Workers under the training client: real processes, real signals; scripts that do as the test says play the worker."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from fake_stages import FakeStages, make_pipeline

from vqa_pipeline.errors import EXIT_CANCELLED, EXIT_USER_ERROR, TrainingCancelled, TrainingError, WorkerFailed
from vqa_pipeline.modeling.jobs import JOB, PARENT_VARIABLE, PredictJob
from vqa_pipeline.orchestration.assets import build_definitions
from vqa_pipeline.orchestration.training_client import TrainingClient

JOB_ASKED = PredictJob(checkpoint="c", checkpoint_version="v", questions=(), image_packs=(), output_file="o")
WORKER = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
from dagster_pipes import open_dagster_pipes
folder = Path(sys.argv[1])
def wait_for(name, seconds=20):
    end = time.monotonic() + seconds
    while not (folder / name).exists():
        if time.monotonic() > end: sys.exit(f"nobody made {name}")
        time.sleep(0.005)
def say(text):
    sys.stderr.write(text + "\\n")
with open_dagster_pipes() as pipes:
    tell = pipes.report_custom_message
"""
STARTED = {"event": "started", "num_parameters": 100, "num_learnable": 25, "device": "cpu", "precision": "fp32"}
STEP = {"event": "step", "step": 3, "epoch": 1, "loss": 1.5, "learning_rate": 0.01}
EPOCH = {
    "event": "epoch",
    "step": 9,
    "epoch": 1,
    "loss": 1.25,
    "val_accuracy": 0.5,
    "best": True,
    "learning_rate": 0.01,
}


def make_client(folder: Path, body: str, **options) -> TrainingClient:
    """A client whose worker does `body`; `folder` is where the two of them meet."""
    script = folder / "worker.py"
    script.write_text(WORKER + textwrap.indent(textwrap.dedent(body), "    "))
    options = {"grace_seconds": 5.0, "poll_seconds": 0.01, **options}
    return TrainingClient(folder / "scratch", (sys.executable, str(script), str(folder)), **options)


class Asset:
    """Runs a client inside a run of Dagster, and keeps what it raised."""

    def __init__(self, client: TrainingClient, on_event: Callable | None = None) -> None:
        self.events: list[dict] = []
        self.error: BaseException | None = None
        self.client, self.on_event = client, on_event or (lambda event: None)

    def run(self) -> dg.ExecuteInProcessResult:
        @dg.asset
        def checkpoint(context: dg.AssetExecutionContext):
            try:
                self.client.run(context, JOB_ASKED, self._take)
            except BaseException as error:
                self.error = error
                raise
            return dg.MaterializeResult()

        checkpoint_annotated = checkpoint
        return dg.materialize([checkpoint_annotated], instance=dg.DagsterInstance.ephemeral(), raise_on_error=False)

    def _take(self, event) -> None:
        self.events.append(dict(event))
        self.on_event(event)


def is_running(pid: int) -> bool:
    """Whether a process is there and not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def read_pid(file: Path) -> int:
    wait_until(lambda: file.exists() and file.read_text())
    return int(file.read_text())


def test_events_arrive_while_the_worker_works(tmp_path):
    client = make_client(tmp_path, "tell({'event': 'log', 'message': 'waiting'}); wait_for('go')")
    asset = Asset(client, lambda event: (tmp_path / "go").touch())
    assert asset.run().success
    assert asset.events == [{"event": "log", "message": "waiting"}]


def test_nothing_told_right_before_the_end_is_lost(tmp_path):
    asset = Asset(make_client(tmp_path, "for number in range(2000): tell({'event': 'log', 'message': number})"))
    assert asset.run().success
    assert [event["message"] for event in asset.events] == list(range(2000))


def test_a_message_that_is_half_written_is_waited_for(tmp_path):
    body = """
    tell({"event": "log", "message": "before"})
    file = open(pipes._message_channel._path, "ab", buffering=0)
    line = Path(file.name).read_bytes().splitlines(keepends=True)[-1].replace(b"before", b"torn")
    file.write(line[:40])
    wait_for("go")
    time.sleep(0.1)
    file.write(line[40:])
    tell({"event": "log", "message": "after"})
    """
    asset = Asset(make_client(tmp_path, body), lambda event: (tmp_path / "go").touch())
    assert asset.run().success
    assert [event["message"] for event in asset.events] == ["before", "torn", "after"]


def test_the_worker_reads_its_job_from_a_file(tmp_path):
    client = make_client(tmp_path, "tell({'event': 'job', 'job': Path(sys.argv[2]).read_text()})")
    asset = Asset(client)
    asset.run()
    assert JOB.validate_json(asset.events[0]["job"]) == JOB_ASKED


def test_what_the_worker_prints_is_in_its_log(tmp_path):
    asset = Asset(make_client(tmp_path, "print('to stdout', flush=True); say('to stderr')"))
    asset.run()
    [log] = (tmp_path / "scratch" / "jobs").glob("predict-*.log")
    assert log.read_text() == "to stdout\nto stderr\n"


def test_the_worker_leads_a_group_of_its_own(tmp_path):
    asset = Asset(make_client(tmp_path, "tell({'event': 'group', 'leads': os.getpgid(0) == os.getpid()})"))
    asset.run()
    assert asset.events == [{"event": "group", "leads": True}]
    assert os.getpgid(0) != 0


def test_a_user_s_mistake_is_the_worker_s_last_line(tmp_path):
    asset = Asset(
        make_client(tmp_path, f"say('noise'); say('`training.backbone`: no such'); sys.exit({EXIT_USER_ERROR})")
    )
    assert not asset.run().success
    assert type(asset.error) is TrainingError
    assert str(asset.error) == "`training.backbone`: no such"


@pytest.mark.parametrize("said", [TrainingCancelled(7, "/scratch/training/step-7"), TrainingCancelled(0, None)])
def test_a_worker_that_was_asked_to_stop_says_where_the_next_run_goes_on(tmp_path, said):
    asset = Asset(make_client(tmp_path, f"say({str(said)!r}); sys.exit({EXIT_CANCELLED})"))
    asset.run()
    assert isinstance(asset.error, TrainingCancelled)
    assert str(asset.error) == str(said)
    assert (asset.error.step, asset.error.checkpoint) == (said.step, said.checkpoint)


def test_a_crash_tells_status_log_and_last_lines(tmp_path):
    asset = Asset(make_client(tmp_path, "for number in range(20): say(f'line {number}')\nos._exit(3)"))
    asset.run()
    assert isinstance(asset.error, WorkerFailed)
    assert asset.error.exit_status == 3
    assert asset.error.last_lines.splitlines() == [f"line {number}" for number in range(8, 20)]
    assert str(asset.error.log) in str(asset.error)


def test_a_killed_worker_is_told_apart(tmp_path):
    asset = Asset(make_client(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)"))
    asset.run()
    assert str(asset.error).startswith("the predict process was killed by signal 9.")


def test_a_worker_that_cannot_start_is_a_failure(tmp_path):
    asset = Asset(TrainingClient(tmp_path, (str(tmp_path / "no-such-program"),)))
    assert not asset.run().success
    assert isinstance(asset.error, FileNotFoundError)


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


class Interrupted(BaseException):
    """Whatever may end the loop."""


def interrupt(event) -> None:
    raise Interrupted


def test_whatever_ends_the_loop_the_worker_may_save_first(tmp_path):
    asset = Asset(make_client(tmp_path, SAVES_ON_SIGINT), interrupt)
    assert not asset.run().success
    assert isinstance(asset.error, Interrupted), "it goes its way when the worker is gone"
    assert (tmp_path / "saved").exists()
    assert not is_running(asset.events[0]["pid"])


def test_a_worker_that_does_not_listen_is_killed_with_its_children(tmp_path):
    asset = Asset(make_client(tmp_path, IGNORES_SIGINT, grace_seconds=0.3), interrupt)
    begin = time.monotonic()
    asset.run()
    assert time.monotonic() - begin >= 0.3
    [told] = asset.events
    wait_until(lambda: not is_running(told["pid"]) and not is_running(told["child"]), seconds=5)


def test_children_that_a_worker_leaves_behind_are_killed(tmp_path):
    body = "child = subprocess.Popen(['sleep', '60']); tell({'event': 'left', 'pid': child.pid})"
    asset = Asset(make_client(tmp_path, body))
    assert asset.run().success
    wait_until(lambda: not is_running(asset.events[0]["pid"]), seconds=5)


def test_an_interrupt_that_comes_twice_at_once_does_not_cost_the_progress(tmp_path):
    body = SAVES_ON_SIGINT.replace("def save(*_):", "def save(*_): (folder / 'asked').touch(); time.sleep(0.3);")

    def interrupt_twice(event) -> None:
        again = 'while [ ! -e "$0/asked" ]; do sleep 0.01; done; kill -INT "$1"; touch "$0/again"'
        subprocess.Popen(["sh", "-c", again, str(tmp_path), str(os.getpid())])
        raise KeyboardInterrupt

    asset = Asset(make_client(tmp_path, body), interrupt_twice)
    asset.run()
    assert isinstance(asset.error, KeyboardInterrupt)
    assert (tmp_path / "again").exists()
    assert (tmp_path / "saved").exists()


# ------------------------------------------------------------------------------------------------- in the pipeline


def run_checkpoint(folder: Path, events: list[dict]) -> tuple[dg.ExecuteInProcessResult, dg.DagsterInstance]:
    """The pipeline's own checkpoint asset, with a worker that tells `events`."""
    client = make_client(folder, f"for event in json.loads({json.dumps(events)!r}): tell(event)")
    stages, instance = FakeStages(folder), dg.DagsterInstance.ephemeral()
    stages.job = JOB_ASKED
    job = build_definitions(make_pipeline(folder), stages, client).resolve_implicit_global_asset_job_def()
    keys = [dg.AssetKey(["clinic", name]) for name in ("dataset", "vocabulary", "checkpoint")]
    return job.execute_in_process(instance=instance, asset_selection=keys), instance


def read_curve(instance: dg.DagsterInstance) -> list[dict]:
    records = instance.fetch_observations(dg.AssetKey(["clinic", "training_curve"]), limit=100).records
    observations = [record.asset_observation for record in reversed(records)]
    return [{name: value.value for name, value in one.metadata.items()} for one in observations]


def test_the_curve_is_observed_on_an_asset_of_its_own(tmp_path):
    speed = {"questions_per_second": 50.0, "eta_seconds": 12.0}
    result, instance = run_checkpoint(tmp_path, [STARTED | {"num_steps": 90}, STEP | speed, STEP | speed, EPOCH])
    run_id = {"run_id": result.run_id}
    assert read_curve(instance) == [
        {"step": 3, "epoch": 1, "loss": 1.5, "learning_rate": 0.01, **speed, **run_id},
        {"step": 9, "epoch": 1, "loss": 1.25, "val_accuracy": 0.5, "learning_rate": 0.01, **run_id},
    ], "steps are thinned out, every epoch is there"


def test_the_run_s_log_is_readable(tmp_path, capfd):
    speed = {"questions_per_second": 50.0, "eta_seconds": 12.0}
    started = STARTED | {"num_steps": 90, "resumed_from_step": 2}
    run_checkpoint(tmp_path, [started, STEP | speed, EPOCH, {"event": "log", "message": "by the way"}])
    lines = [line.rpartition(" - ")[2] for line in capfd.readouterr().err.splitlines()]
    for expected in (
        "25 of 100 parameters learn (25%) on cpu in fp32, 90 steps",
        "going on from step 2",
        "epoch 1, step 3: loss 1.500, rate 1.00e-02, 50 questions/s, 12 s left",
        "epoch 1 done: loss 1.250, val accuracy 0.500, the best so far",
        "by the way",
    ):
        assert expected in lines


def test_events_of_other_kinds_pass_in_silence(tmp_path):
    result, instance = run_checkpoint(tmp_path, [{"event": "finished", "num_predictions": 2}, {"event": "new kind"}])
    assert result.success
    assert read_curve(instance) == []


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


RUN = """
import sys, warnings
sys.path[:0] = [{tests!r}, {room!r}]
warnings.simplefilter("ignore")
from pathlib import Path
import dagster as dg
from test_training_client import JOB_ASKED, make_client
client = make_client(Path({folder!r}), {body!r}, grace_seconds={grace})

@dg.asset
def checkpoint(context: dg.AssetExecutionContext):
    client.run(context, JOB_ASKED, lambda event: None)
    return dg.MaterializeResult()

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        dg.materialize([checkpoint], instance=instance)
"""


def start_run(folder: Path, body: str, grace: float = 10.0) -> subprocess.Popen[bytes]:
    """A run of Dagster in a process of its own, recorded in `folder`."""
    room = Path(__file__).parent
    program = folder / "run.py"
    program.write_text(RUN.format(tests=str(room.parent), room=str(room), folder=str(folder), body=body, grace=grace))
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
