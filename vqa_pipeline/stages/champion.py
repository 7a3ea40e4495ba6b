"""`champion`: which checkpoint is in use, and why it was promoted or held.

The verdict was told with the metrics, where both are scored on the same questions; here it is acted on. First the
version is published, then the champion is replaced, so that a run that fails or is killed has moved nothing; the next
one sees a promotion that is still owed and carries it out.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vqa_pipeline.deployment import Champion, Deployment
from vqa_pipeline.errors import StaleInput
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.publishing import PAGE, Log, Outcome, Work, compute_fingerprint, run_stage
from vqa_pipeline.stages.provenance import find_metrics, write_provenance, write_section
from vqa_pipeline.stages.stage import check_made_from, make_stage, open_store
from vqa_pipeline.store import Store, Version

if TYPE_CHECKING:
    from vqa_pipeline.evaluation.promotion import Verdict

PROMOTED = "promoted"


def decide_champion(pipeline: Pipeline, log: Log) -> Outcome:
    """`champion`: promote the checkpoint, or hold it, and say why.

    A champion that somebody pinned stays until it is released, and a checkpoint that somebody went back from is not
    promoted again. So the last change by hand is part of what decides whether a verdict is up to date.

    Raises:
        StaleInput: the inputs are of different states, or another champion came into use since they were made.
        ChampionDamaged: the champion's folder lacks something.
        DiskError: the checkpoint cannot be deployed; the champion before stays.
    """
    store = open_store(pipeline)
    inputs = {name: store.require(name) for name in ("dataset", "checkpoint", "predictions", "metrics")}
    check_made_from(inputs["predictions"], inputs["dataset"], "champion")
    check_made_from(inputs["predictions"], inputs["checkpoint"], "champion")
    check_made_from(inputs["metrics"], inputs["predictions"], "champion")
    deployment = Deployment(store)
    deployment.mend()
    champion = deployment.find_champion()

    def build(work: Work) -> None:
        from vqa_pipeline.reporting.verdicts import champion_markdown

        _check_compared(inputs, champion)
        told = _read_metrics(inputs["metrics"])
        verdict = _judge(deployment, inputs["checkpoint"], champion, told)
        promoted = verdict.outcome == PROMOTED
        in_use = inputs["checkpoint"].manifest.data_version if promoted else champion and champion.data_version
        work.data_version = compute_fingerprint(in_use)
        work.details = {"verdict": verdict.model_dump(mode="json"), "champion": in_use}
        work.numbers = {"promoted": int(promoted), **_pick_numbers(told)}
        work.write("verdict.json", verdict.model_dump_json(indent=1))
        work.check("no_regression", _find_regressions(pipeline, told), **_pick_numbers(told))
        before = None if champion is None else champion.version
        work.write(PAGE, champion_markdown(work.details["verdict"], told and told["comparison"], before))

    stage = make_stage(pipeline, "champion", inputs)
    stage = stage._replace(settings=stage.settings | {"changed_by_hand": _find_change_by_hand(deployment)})
    outcome = run_stage(store, stage, build, log)
    _carry_out(pipeline, deployment, outcome, inputs, log)
    return replace(outcome, provenance=_tell_provenance(store, outcome))


def _tell_provenance(store: Store, outcome: Outcome) -> str:
    """Where the checkpoint in use comes from, be it the new one or not; empty where none is in use."""
    in_use = outcome.version.manifest.details["champion"]
    checkpoint = store.find("checkpoint", in_use) if in_use else None
    return write_provenance(store, checkpoint, find_metrics(store, checkpoint)) if checkpoint else ""


def _find_change_by_hand(deployment: Deployment) -> str | None:
    """When a person last had a say; promotions do not count, or a verdict would outdate itself."""
    times = [change.at.isoformat() for change in deployment.read_history() if change.how != PROMOTED]
    return times[-1] if times else None


def _check_compared(inputs: dict[str, Version], champion: Champion | None) -> None:
    """Refuse a verdict on another champion than the one in use."""
    in_use = None if champion is None else champion.data_version
    compared_with = inputs["predictions"].manifest.details["champion"]
    if in_use not in {compared_with, inputs["checkpoint"].manifest.data_version}:
        raise StaleInput("champion", "predictions", "champion")


def _read_metrics(metrics: Version) -> dict[str, Any] | None:
    """None: nothing was scored."""
    told: dict[str, Any] = json.loads((metrics.path / "metrics.json").read_bytes())
    return told if told["num_scored"] else None


def _judge(
    deployment: Deployment, checkpoint: Version, champion: Champion | None, told: dict[str, Any] | None
) -> Verdict:
    """The verdict of the metrics, unless people decided otherwise."""
    from vqa_pipeline.evaluation.promotion import IN_USE, Verdict

    version = checkpoint.manifest.data_version
    if champion is not None and champion.data_version == version:
        return IN_USE
    if told is None:
        return Verdict(outcome="held", reasons=("nothing was scored: the test split has no answers",))
    verdict = Verdict.model_validate(told["verdict"])
    if verdict.outcome != PROMOTED:
        return verdict
    if champion is not None and champion.is_pinned:
        return _hold(verdict, f"the champion is pinned ({champion.change.reason or 'no reason was given'})")
    if version in {change.data_version for change in deployment.read_history()[:-1]} and _was_left(deployment, version):
        return _hold(verdict, "it was in use before and somebody went back from it")
    return verdict


def _hold(verdict: Verdict, reason: str) -> Verdict:
    return verdict.model_copy(update={"outcome": "held", "reasons": (reason, *verdict.reasons)})


def _was_left(deployment: Deployment, version: str) -> bool:
    """Whether a person went back from a checkpoint and nobody chose it since."""
    left = False
    before = None
    for change in deployment.read_history():
        if change.how == "rolled back" and before == version:
            left = True
        elif change.data_version == version:
            left = False
        before = change.data_version
    return left


def _carry_out(
    pipeline: Pipeline, deployment: Deployment, outcome: Outcome, inputs: dict[str, Version], log: Log
) -> None:
    """Deploy what was promoted, unless that was done since it was decided."""
    from vqa_pipeline.reporting.model_card import render_model_card

    manifest, checkpoint = outcome.version.manifest, inputs["checkpoint"]
    verdict, history = manifest.details["verdict"], deployment.read_history()
    if verdict["outcome"] != PROMOTED or (history and history[-1].at >= manifest.created_at):
        return
    reason = verdict["reasons"][0]
    card = render_model_card(
        pipeline.name, checkpoint.manifest, inputs["dataset"].manifest, _read_metrics(inputs["metrics"]), reason
    )
    card += write_section(open_store(pipeline), checkpoint, inputs["metrics"])
    deployed = deployment.deploy(checkpoint, card, "promoted", reason)
    log(f"champion: checkpoint {deployed.version} is in use: {reason}")


def _find_regressions(pipeline: Pipeline, told: dict[str, Any] | None) -> list[str]:
    """What the challenger is worse at than the champion, beyond chance."""
    from vqa_pipeline.evaluation.comparison import Comparison
    from vqa_pipeline.evaluation.promotion import find_fallen

    if told is None or told["comparison"] is None:
        return []
    comparison = Comparison.model_validate(told["comparison"])
    problems = [
        f"{one.column} {one.value}: {one.difference:+.3f} against the champion"
        for one in find_fallen(comparison, pipeline.settings.champion.max_slice_drop)
    ]
    if comparison.total.interval.high < 0:
        problems.insert(0, f"the checkpoint is worse than the champion: {comparison.total.difference:+.3f}")
    return [*problems, "the champion stays; `vqa-pipeline compare` tells what was lost"] if problems else []


def _pick_numbers(told: dict[str, Any] | None) -> dict[str, float | int | None]:
    if told is None:
        return {}
    numbers: dict[str, float | int | None] = {"vqa_accuracy": told["vqa_accuracy"]}
    if told["comparison"] is None:
        return numbers
    total = told["comparison"]["total"]
    return numbers | {
        "champion_accuracy": told["comparison"]["champion_accuracy"],
        "difference": total["difference"],
        "difference_low": total["interval"]["low"],
        "difference_high": total["interval"]["high"],
    }
