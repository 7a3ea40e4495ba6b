"""What people see of a training in Dagster: readable lines in the run's log, and a curve that is observed while it runs."""

import json
from pathlib import Path

import dagster as dg
from fake_stages import FakeStages, make_pipeline
from worker_script import JOB_ASKED, make_client

from vqa_pipeline.modeling.jobs import PredictJob, TrainJob
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.orchestration.assets import build_definitions

STARTED = {
    "event": "started",
    "num_parameters": 100,
    "num_learnable": 25,
    "device": "cpu",
    "precision": "fp32",
    "num_steps": 90,
    "resumed_from_step": None,
}
STEP = {
    "event": "step",
    "step": 3,
    "epoch": 1,
    "loss": 1.5,
    "learning_rate": 0.01,
    "gradient_norm": 2.0,
    "questions_per_second": 50.0,
    "eta_seconds": 12.0,
}
EPOCH = {
    "event": "epoch",
    "step": 9,
    "epoch": 1,
    "loss": 1.25,
    "val_accuracy": 0.5,
    "val_by_answer_type": {"number": 0.25, "yes/no": 0.75},
    "best": True,
    "learning_rate": 0.01,
}


class Bar:
    """A terminal's bar that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, task: str, done: int, total: int, unit: str, note: str = "") -> None:
        self.told.append(f"{task} {done}/{total} {unit}")

    def write(self, line: str) -> None:
        self.told.append(line)

    def close(self) -> None:
        self.told.append("closed")


def run_checkpoint(
    folder: Path, events: list[dict], bar: Bar | None = None, job: TrainJob | PredictJob = JOB_ASKED
) -> tuple[dg.ExecuteInProcessResult, dg.DagsterInstance]:
    """The pipeline's own checkpoint asset, with a worker that tells `events`."""
    client = make_client(folder, f"for event in json.loads({json.dumps(events)!r}): tell(event)")
    stages, instance = FakeStages(folder), dg.DagsterInstance.ephemeral()
    stages.job = job
    whole = build_definitions(make_pipeline(folder), stages, client, bar).resolve_implicit_global_asset_job_def()
    keys = [dg.AssetKey(["clinic", name]) for name in ("dataset", "vocabulary", "checkpoint")]
    return whole.execute_in_process(instance=instance, asset_selection=keys), instance


def read_curve(instance: dg.DagsterInstance) -> list[dict]:
    records = instance.fetch_observations(dg.AssetKey(["clinic", "training_curve"]), limit=100).records
    observations = [record.asset_observation for record in reversed(records)]
    return [{name: value.value for name, value in one.metadata.items()} for one in observations]


def test_the_curve_is_observed_on_an_asset_of_its_own(tmp_path):
    memory = {"host_memory_bytes": 2**30, "gpu_memory_bytes": None}
    result, instance = run_checkpoint(tmp_path, [STARTED, STEP | memory, STEP | memory, EPOCH])
    told = {"run_id": result.run_id, "log": str(tmp_path / "scratch" / "jobs" / f"predict-{result.run_id}.log")}
    of_step = {name: value for name, value in STEP.items() if name != "event"}
    assert read_curve(instance) == [
        {**of_step, "host_memory_bytes": 2**30, **told},
        {
            "step": 9,
            "epoch": 1,
            "loss": 1.25,
            "val_accuracy": 0.5,
            "val_accuracy (number)": 0.25,
            "val_accuracy (yes/no)": 0.75,
            "learning_rate": 0.01,
            **told,
        },
    ], "steps are thinned out, every epoch is there"


def test_beside_a_training_s_curve_stands_where_tensorboard_finds_it(tmp_path):
    train = TrainJob(
        fingerprint="f" * 16,
        settings=TrainingSettings(backbone="tiny"),
        metric="normalized",
        train_questions=(),
        val_questions=(),
        image_packs=(),
        vocabulary="v",
        cache_folder="c",
        progress_folder="scratch/training",
        output_folder="o",
    )
    result, instance = run_checkpoint(tmp_path, [STARTED, STEP], job=train)
    [point] = read_curve(instance)
    assert point["tensorboard"] == f"scratch/training/{'f' * 16}/tensorboard"
    assert point["log"].endswith(f"train-{result.run_id}.log")


def test_the_run_s_log_is_readable(tmp_path, capfd):
    started = STARTED | {"resumed_from_step": 2}
    run_checkpoint(tmp_path, [started, STEP, EPOCH, {"event": "log", "message": "by the way"}])
    lines = [line.rpartition(" - ")[2] for line in capfd.readouterr().err.splitlines()]
    for expected in (
        "25 of 100 parameters learn (25%) on cpu in fp32, 90 steps, going on from step 2",
        "epoch 1 done: loss 1.250, val accuracy 0.500 (number 0.250, yes/no 0.750), the best so far",
        "by the way",
    ):
        assert expected in lines
    assert any(line.startswith("predict in a process of its own; its log is ") for line in lines)


def test_a_terminal_has_a_bar_that_makes_room_for_every_line_of_the_log(tmp_path, capfd):
    bar = Bar()
    progress = {"event": "progress", "task": "validating", "done": 0, "total": 4, "unit": "questions", "note": ""}
    run_checkpoint(tmp_path, [STARTED, STEP, progress, EPOCH], bar)
    assert bar.told == [
        "closed",  # for the line that says where the worker's log is
        "closed",
        "training 0/90 steps",
        "training 3/90 steps",
        "training 3/90 steps",
        "closed",
    ]
    assert "epoch 1 done" in capfd.readouterr().err


def test_events_of_other_kinds_pass_in_silence(tmp_path):
    result, instance = run_checkpoint(tmp_path, [{"event": "finished", "num_predictions": 2}, {"event": "new kind"}])
    assert result.success
    assert read_curve(instance) == []
