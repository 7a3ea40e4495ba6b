"""`history`: how it went so far, checkpoint by checkpoint. Reads manifests and metrics only."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqa_pipeline.cli.options import AsJson, DeclarationFile, PipelineName, find_pipeline
from vqa_pipeline.cli.tables import format_table
from vqa_pipeline.errors import NotPublished
from vqa_pipeline.store import Store

if TYPE_CHECKING:
    from vqa_pipeline.lineage.history import Score, Training

_ALWAYS_TOLD = ("strategy", "epochs")
_HEADER = ("checkpoint", "published (UTC)", "questions", "accuracy", "verdict", "trained with", "")


def history(
    pipeline: PipelineName = None,
    file: DeclarationFile = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many checkpoints.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Checkpoints, the newest first: when, trained on and with what, accuracy with its interval, verdict."""
    from vqa_pipeline.lineage.history import list_trainings

    chosen = find_pipeline(pipeline, file)
    store = Store(chosen.store_folder, chosen.scratch_folder)
    trainings = list_trainings(store)
    if not trainings:
        raise NotPublished("checkpoint", store.root)
    shown = trainings[:limit]
    if as_json:
        told = [one.model_dump(mode="json") | {"path": _locate(store, one)} for one in shown]
        print(json.dumps({"pipeline": chosen.name, "num_checkpoints": len(trainings), "checkpoints": told}, indent=1))
        return
    print(format_table([_format(one) for one in shown], _HEADER))
    if len(shown) < len(trainings):
        print(f"\n{len(trainings) - len(shown):,} older ones are not shown (--limit).")


def _locate(store: Store, training: Training) -> str:
    return os.path.relpath(store.root / "checkpoint" / "versions" / training.version)


def _format(training: Training) -> tuple[object, ...]:
    score = training.score
    return (
        training.version,
        f"{training.published_at:%Y-%m-%d %H:%M}",
        "" if training.num_train_questions is None else training.num_train_questions,
        tell_score(score),
        (score.verdict or "").replace("_", " ") if score else "",
        _tell_settings(training),
        _tell_use(training),
    )


def tell_score(score: Score | None) -> str:
    """An accuracy with its interval."""
    if score is None:
        return "not scored"
    return f"{score.vqa_accuracy:.3f} ({score.interval.low:.3f} to {score.interval.high:.3f})"


def _tell_use(training: Training) -> str:
    in_use = f"in use ({training.deployments[-1].how})" if training.in_use else ""
    return ", ".join(filter(None, (in_use, "current" if training.is_current else "")))


def _tell_settings(training: Training) -> str:
    """Strategy and epochs, then what else changed since the checkpoint before; `for this run`: by an override."""
    names = [*_ALWAYS_TOLD, *(name for name in training.changed if name not in _ALWAYS_TOLD)]
    return ", ".join(
        _tell(name, training.settings[name], is_overridden=name in training.overridden)
        for name in names
        if name in training.settings
    )


def _tell(name: str, value: Any, *, is_overridden: bool) -> str:
    return f"{name} {value}" + (" (for this run)" if is_overridden else "")
