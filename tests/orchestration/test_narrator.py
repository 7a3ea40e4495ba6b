"""What people see of a training in Dagster: readable lines in the run's log, and a curve that is observed while it runs."""

import json
from pathlib import Path

import dagster as dg
from fake_stages import FakeStages, make_pipeline
from worker_script import JOB_ASKED, make_client

from vqa_pipeline.orchestration.assets import build_definitions

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
