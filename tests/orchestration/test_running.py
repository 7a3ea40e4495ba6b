"""Runs of the command line: what is stopped stays stopped, what was killed is settled by the next run."""

import fcntl

import dagster as dg
import pytest
from fake_stages import FakeStages, make_pipeline

from vqa_pipeline.orchestration.assets import build_definitions
from vqa_pipeline.orchestration.running import _explain_failure, _settle_dead_runs


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


def start_run(instance: dg.DagsterInstance, lock: str | None) -> str:
    """A run in which a step works on the GPU, as the instance sees it."""
    tags = {"vqa_pipeline/lock": lock} if lock else {}
    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED, tags=tags)
    instance.event_log_storage.claim_concurrency_slot("gpu", run.run_id, "work")
    return run.run_id


def test_a_run_whose_process_is_gone_has_failed_and_lets_go_of_the_gpu(tmp_path):
    (tmp_path / "dead.lock").touch()
    (tmp_path / "alive.lock").touch()
    with (
        dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
        (tmp_path / "alive.lock").open() as held,
    ):
        fcntl.flock(held, fcntl.LOCK_EX)
        instance.event_log_storage.set_concurrency_slots("gpu", 4)
        dead, lost, alive, not_ours = (
            start_run(instance, lock) for lock in ("dead.lock", "lost.lock", "alive.lock", None)
        )
        _settle_dead_runs(instance, tmp_path)
        failed = {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))}
        claimed = {slot.run_id for slot in instance.event_log_storage.get_concurrency_info("gpu").claimed_slots}
    assert failed == {dead, lost}
    assert claimed == {alive, not_ours}
    assert not (tmp_path / "dead.lock").exists()
    assert (tmp_path / "alive.lock").exists()
