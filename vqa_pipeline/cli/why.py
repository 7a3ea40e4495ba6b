"""`why`: why something runs by itself, or does not, in the words of Dagster's conditions. Publishes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from vqa_pipeline.cli.options import AsJson, DeclarationFile, PipelineName, find_pipeline
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.lineage import decisions as words
from vqa_pipeline.lineage.decisions import Decision, decide
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.reporting.escaping import escape_control

if TYPE_CHECKING:
    from vqa_pipeline.orchestration.instance_state import Daemon, InstanceState

_TRAINING = "checkpoint"
_RETRAIN = {"manual": "nothing runs by itself (`retrain: manual`)", "on_change": words.TRAIN_ON_CHANGE}


def why(
    asset: Annotated[str, typer.Argument(help="Such as dataset; default: checkpoint and what is out of date.")] = "",
    pipeline: PipelineName = None,
    file: DeclarationFile = None,
    as_json: AsJson = False,
) -> None:
    """Why the model will be trained again or not, and when: what changed, what it waits for, the next tick."""
    from vqa_pipeline.orchestration.instance_state import read_state

    chosen, now = find_pipeline(pipeline, file), datetime.now(UTC)
    state = read_state(chosen, now)
    told = _choose(decide(chosen, now, state.failures), asset, state)
    if as_json:
        print(json.dumps(_dump(chosen, told, state), indent=1, ensure_ascii=False))
        return
    print("\n".join(escape_control(line) for line in _tell(chosen, told, state)))


def tell_daemon(daemon: Daemon) -> str:
    """Whether Dagster's daemon runs, and what to do where it does not."""
    if daemon.is_running:
        return "runs"
    seen = f", last seen {daemon.seen_at:%Y-%m-%d %H:%M} UTC" if daemon.seen_at else ""
    return f"does not run{seen}: `make ui`, or `dagster dev`, starts it"


def tell_schedule(pipeline: Pipeline, due_at: datetime | None) -> str:
    """When a training may start by itself."""
    retrain = pipeline.settings.retrain
    if isinstance(retrain, str):
        return _RETRAIN[retrain]
    return f"{words.TRAIN_AT_TICK}; the next is {due_at:%Y-%m-%d %H:%M} ({retrain.timezone})"


def _choose(decisions: list[Decision], asset: str, state: InstanceState) -> list[Decision]:
    """The one that was asked for; or that on the training, and those on all that failed or is not up to date."""
    if not asset:
        always = {_TRAINING, *state.failures}
        return [one for one in decisions if one.asset in always or one.outcome != "up to date"]
    chosen = [one for one in decisions if one.asset == asset]
    if not chosen:
        known = ", ".join(one.asset for one in decisions)
        raise SettingsError("ASSET", f"there is no asset {asset!r}", f"Name one of {known}.")
    return chosen


def _tell(pipeline: Pipeline, decisions: list[Decision], state: InstanceState) -> list[str]:
    due_at = next((one.due_at for one in decisions if one.due_at), None)
    lines: list[str] = []
    for one in decisions:
        lines += _tell_one(pipeline, one, state)
    if due_at is not None or pipeline.settings.retrain != "manual":
        lines.append(f"Dagster's daemon {tell_daemon(state.daemon)}.")
    return lines


def _tell_one(pipeline: Pipeline, decision: Decision, state: InstanceState) -> list[str]:
    made = f"made {decision.made_at:%Y-%m-%d %H:%M} UTC" if decision.made_at else words.MISSING
    lines = [f"{pipeline.name}/{decision.asset}: {_tell_outcome(decision, state)} ({made})"]
    if decision.asset == _TRAINING:
        lines.append(f"  {tell_schedule(pipeline, decision.due_at)}")
    changes = [one.describe() for one in decision.differences if one.kind != "missing"]
    if changes:
        lines += [f"  {words.CHANGED}:", *(f"    {change}" for change in changes)]
    elif decision.made_at is not None:
        lines.append(f"  no {words.CHANGED}")
    if decision.obstacles:
        lines.append(f"  not yet: {words.READY}: {'; '.join(decision.obstacles)}")
    if decision.reuses:
        lines.append(f"  trained before on the same: version {decision.reuses} is used again, nothing is trained")
    failure = state.failures.get(decision.asset)
    if failure is not None:
        lines.append(f"  {words.FAILED} (run {failure.run_id[:8]}): {failure.message}")
        lines.append(f"  {_tell_retry(pipeline, decision)}")
    return lines


def _tell_retry(pipeline: Pipeline, decision: Decision) -> str:
    if pipeline.settings.retrain == "manual":
        return "it is not tried again by itself"
    when = {
        "runs at the next tick": "at the next tick",
        "runs soon": "at the next look at the files",
        "runs at the night's retry": f"at {_tell_night()}, or once the content changes",
        "waits": "when it no longer has to wait",
    }
    return f"it is tried again {when[decision.outcome]}"


def _tell_night() -> str:
    retry = words.NIGHTLY_RETRY
    return f"{retry.find_next(datetime.now(UTC)):%H:%M} {retry.timezone}"


def _tell_outcome(decision: Decision, state: InstanceState) -> str:
    run = state.running.get(decision.asset)
    return f"{decision.outcome}, run {run[:8]} is at it" if run else decision.outcome


def _dump(pipeline: Pipeline, decisions: list[Decision], state: InstanceState) -> dict[str, object]:
    return {
        "pipeline": pipeline.name,
        "decisions": [one.model_dump(mode="json") for one in decisions],
        "daemon": {
            "is_running": state.daemon.is_running,
            "seen_at": state.daemon.seen_at.isoformat() if state.daemon.seen_at else None,
        },
        "running": state.running,
        "failures": {asset: failure._asdict() for asset, failure in state.failures.items()},
    }
