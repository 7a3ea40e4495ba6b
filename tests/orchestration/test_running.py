"""Runs of the command line: what is stopped stays stopped, what was killed is settled by the next run."""

import json
import os
import platform

import dagster as dg
import pytest
from fake_stages import FakeStages, make_pipeline
from marks import is_held

from vqa_pipeline.orchestration.assets import build_definitions
from vqa_pipeline.orchestration.running import _explain_failure, _find_holders, run_assets


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, dg.DagsterExecutionInterruptedError])
@pytest.mark.parametrize("asset", ["dataset", "checkpoint"])
def test_what_somebody_stops_is_not_started_again(tmp_path, asset, interrupt):
    stages = FakeStages(tmp_path)
    stages.failures[asset] = interrupt()
    job = build_definitions(make_pipeline(tmp_path), stages).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    assert stages.calls.count(asset) == 1
    assert stages.calls[-1] == asset, "nothing runs after it"
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert _explain_failure(failure).startswith("stopped on request. What is published stays; run again to go on")


@dg.op
def work():
    pass


@dg.job
def nothing():
    work()


DEAD = json.dumps({"host": platform.node(), "pid": os.getpid(), "began": 0})
"""A process that is gone: what has its number began later."""


def test_a_run_settles_the_dead_before_it_and_is_taken_for_none_itself(tmp_path):
    pipeline = make_pipeline(tmp_path)
    marks = tmp_path / "data" / "scratch" / "runs"
    marks.mkdir(parents=True)
    seen = []

    class Curious(FakeStages):
        def build_dataset(self, pipeline, log, progress):
            seen.extend((file.stem, is_held(file)) for file in marks.iterdir())
            return super().build_dataset(pipeline, log, progress)

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        dead = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED).run_id
        (marks / f"{dead}.lock").write_text(DEAD)
        result = run_assets(pipeline, ["dataset"], {}, Curious(tmp_path), instance)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        statuses = {run.run_id: run.status.value for run in instance.get_runs()}
    assert statuses == {dead: "FAILURE", result.run_id: "SUCCESS"}
    assert seen == [(result.run_id, True)]


def test_the_runs_that_hold_the_gpu_are_named():
    with dg.DagsterInstance.ephemeral() as instance:
        instance.event_log_storage.set_concurrency_slots("gpu", 3)
        assert _find_holders(instance, "gpu") == []
        for run, step in (("second", "checkpoint"), ("first", "checkpoint"), ("first", "predictions")):
            instance.event_log_storage.claim_concurrency_slot("gpu", run, step)
        assert _find_holders(instance, "gpu") == ["first", "second"]
