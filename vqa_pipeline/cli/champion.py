"""`champion`: which checkpoint is in use; and a person's choice of another. Reads manifests and copies files only."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vqa_pipeline.cli.history import tell_score
from vqa_pipeline.cli.options import AsJson, DeclarationFile, PipelineName, find_pipeline
from vqa_pipeline.cli.tables import format_table
from vqa_pipeline.deployment import Champion, Change, Deployment
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.stages.champion_changes import pin_champion, release_champion, roll_back_champion
from vqa_pipeline.stages.stage import open_store

if TYPE_CHECKING:
    from vqa_pipeline.lineage.history import Score

Action = Annotated[
    Literal["show", "list", "pin", "release", "rollback"],
    typer.Argument(
        help="show: who is in use; list: the history; pin VERSION: use this checkpoint, whatever comes; release: let "
        "challengers replace a pinned one; rollback: use the one before, and never promote this one again."
    ),
]
_HEADER = ("since (UTC)", "checkpoint", "accuracy", "how", "why")


def champion(
    action: Action = "show",
    version: Annotated[str, typer.Argument(help="For pin: the beginning of a checkpoint's id.")] = "",
    pipeline: PipelineName = None,
    file: DeclarationFile = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the history.")] = "",
    as_json: AsJson = False,
) -> None:
    """The checkpoint in use, its history, or another by your choice."""
    chosen = find_pipeline(pipeline, file)
    if (action == "pin") != bool(version):
        problem = "a version is needed" if action == "pin" else f"{action} takes no version"
        raise SettingsError("VERSION", problem, "`vqa-pipeline champion pin VERSION`; `vqa-pipeline history` has them.")
    if action == "list":
        _list(chosen, as_json=as_json)
        return
    found = _act(chosen, action, version, reason)
    print(json.dumps(_describe(chosen, found), indent=1) if as_json else _tell(chosen, found))


def _act(chosen: Pipeline, action: str, version: str, reason: str) -> Champion:
    if action == "pin":
        return pin_champion(chosen, version, reason)
    if action == "release":
        return release_champion(chosen, reason)
    if action == "rollback":
        return roll_back_champion(chosen, reason)
    return Deployment(open_store(chosen)).require_champion()


def _list(chosen: Pipeline, *, as_json: bool) -> None:
    from vqa_pipeline.lineage.history import list_trainings

    store = open_store(chosen)
    history = Deployment(store).read_history()
    scores = {one.version: one.score for one in list_trainings(store)}
    if as_json:
        told = [one.model_dump(mode="json") | {"score": _dump(scores.get(one.version))} for one in history]
        print(json.dumps({"pipeline": chosen.name, "changes": told}, indent=1))
        return
    print(format_table([_format(one, scores.get(one.version)) for one in reversed(history)], _HEADER))


def _dump(score: Score | None) -> dict[str, Any] | None:
    return score.model_dump(mode="json") if score else None


def _format(change: Change, score: Score | None) -> tuple[object, ...]:
    return f"{change.at:%Y-%m-%d %H:%M}", change.version, tell_score(score), change.how, change.reason


def _describe(chosen: Pipeline, found: Champion) -> dict[str, Any]:
    return {"pipeline": chosen.name, **found.change.model_dump(mode="json"), "path": _locate(chosen)}


def _tell(chosen: Pipeline, found: Champion) -> str:
    change = found.change
    why = f": {change.reason}" if change.reason else ""
    return (
        f"{chosen.name}: checkpoint {found.version}, {change.how} on {change.at:%Y-%m-%d %H:%M} UTC{why}\n"
        f"  {_locate(chosen)}"
    )


def _locate(chosen: Pipeline) -> str:
    return os.path.relpath(Deployment(open_store(chosen)).current)
