"""Why an asset runs by itself or does not: the words of Dagster's conditions, told from what is published.

The store is the truth: what an asset was made from is in its manifest, what it would be made from now is published
beside it, and the settings are in the YAML. What only Dagster knows (runs that failed or go on) whoever asks adds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from vqa_pipeline.cron import CronSettings
from vqa_pipeline.errors import DamagedVersion
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.schemas import Frozen
from vqa_pipeline.stages.checkpoint import Recipe
from vqa_pipeline.stages.raw import look_at_source
from vqa_pipeline.stages.stage import CHECKS, STAGE_NUMBERS, list_assets, list_inputs, open_store, stage_settings
from vqa_pipeline.store import Store, Version

LOOK = "time to look at the files"
CHANGED_NOW = "content changed just now"
CHANGED = "content changed since the last request"
CHANGED_OR_MISSING = "content changed, or never made"
MISSING = "never made"
FAILED = "the last run failed"
RETRY = "the last run failed, and the night's retry is due"
NO_TRAINING_AHEAD = "no training is on its way"
READY = "inputs are there, settled and passed their checks"
TICK = "a tick of the cron"
TICK_FOUND_CHANGE = "a tick of the cron found a change that no run was requested for"
FOLLOW = "follows its inputs"
TRAIN_AT_TICK = "trains at a tick of the cron, if the content changed"
TRAIN_ON_CHANGE = "trains when the content changed"

NIGHTLY_RETRY = CronSettings(cron="0 2 * * *")
"""When what failed is tried again, but for a training that has a cron of its own."""

Outcome = Literal[
    "up to date", "runs at the next tick", "runs soon", "runs by hand", "runs at the night's retry", "waits"
]

_RECORDED_BESIDE = {
    "raw": {"content"},
    "checkpoint": {"backbone_digest", "warm_start_digest", "warm_start_parent"},
    "predictions": {"champion"},
    "champion": {"changed_by_hand"},
}
"""What stages write beside their settings: it follows from these and the store, and vanishes with them."""


class Difference(Frozen):
    """Something that an asset would be made from now, and was not."""

    kind: Literal["missing", "damaged", "stage number", "setting", "input", "files", "checks"]
    name: str = Field(description="Of the setting, input or file; empty where there is only one.")
    before: str | None
    now: str | None
    told: str = Field("", description="What that means, where it is known.")

    def describe(self) -> str:
        """One clause, such as `setting epochs: 5, now 6`."""
        name = f"{self.kind} {self.name}".rstrip()
        values = "" if self.before is None and self.now is None else f": {_show(self.before)}, now {_show(self.now)}"
        return name + values + (f" ({self.told})" if self.told else "")


class Decision(Frozen):
    """What becomes of an asset by itself, and why."""

    asset: str
    made_at: AwareDatetime | None = Field(description="When its current version was published; null: never.")
    outcome: Outcome
    differences: tuple[Difference, ...] = Field(description="What changed since; empty: nothing.")
    obstacles: tuple[str, ...] = Field(description="What it waits for.")
    reuses: str | None = Field(None, description="Version that was made of the same before: it is used again.")
    due_at: AwareDatetime | None = Field(None, description="The next tick, in the schedule's time zone.")

    @property
    def will_change(self) -> bool:
        """Whether what follows has something to wait for: a training that is only tried again changes nothing."""
        return bool(self.differences or self.obstacles)


def decide(pipeline: Pipeline, now: datetime, failed: Collection[str] = ()) -> list[Decision]:
    """The decision on every asset, in the order of the graph. Looks at the files of the sources; publishes nothing.

    Args:
        pipeline: The pipeline.
        now: An aware time; the next tick comes after it.
        failed: Assets whose last run failed, which only Dagster knows.

    Raises:
        SourceError: a file or folder that the settings name does not exist.
        DiskError: the store cannot be read.
    """
    store = open_store(pipeline)
    decisions: dict[str, Decision] = {}
    for asset in list_assets(pipeline):
        decisions[asset] = _decide(pipeline, store, asset, decisions, now, has_failed=asset in failed)
    return list(decisions.values())


def find_next_training(pipeline: Pipeline, now: datetime) -> datetime | None:
    """The next time at which a training may start by itself; None: there is no such time."""
    retrain = pipeline.settings.retrain
    return retrain.find_next(now) if isinstance(retrain, CronSettings) else None


def _decide(
    pipeline: Pipeline, store: Store, asset: str, known: Mapping[str, Decision], now: datetime, *, has_failed: bool
) -> Decision:
    version, differences = _compare(pipeline, store, asset)
    obstacles = _find_obstacles(pipeline, store, asset, known, has_changed=bool(differences))
    outcome: Outcome = "up to date"
    if obstacles:
        outcome = "waits"
    elif has_failed:
        outcome = _choose_retry(pipeline, asset, is_due=bool(differences))
    elif differences:
        outcome = _choose_outcome(pipeline, asset)
    due_at = find_next_training(pipeline, now) if asset == "checkpoint" else None
    made_at = version.manifest.created_at if version else None
    return Decision(
        asset=asset,
        made_at=made_at,
        outcome=outcome,
        differences=tuple(differences),
        obstacles=tuple(obstacles),
        reuses=_find_trained(pipeline, store) if asset == "checkpoint" and outcome.startswith("runs") else None,
        due_at=due_at,
    )


def _find_trained(pipeline: Pipeline, store: Store) -> str | None:
    """The checkpoint that was trained before on what is published now, with these settings."""
    recipe = _read_recipe(pipeline, store)
    trained = recipe and store.find("checkpoint", recipe.compute_fingerprint())
    return trained.manifest.version if trained else None


def _read_recipe(pipeline: Pipeline, store: Store) -> Recipe | None:
    dataset, vocabulary = _find_current(store, "dataset"), _find_current(store, "vocabulary")
    if dataset is None or vocabulary is None:
        return None
    return Recipe(store, dataset, vocabulary, pipeline.settings.training, pipeline.project_root)


def _choose_outcome(pipeline: Pipeline, asset: str) -> Outcome:
    if pipeline.settings.retrain == "manual":
        return "runs by hand"
    waits_for_tick = asset == "checkpoint" and isinstance(pipeline.settings.retrain, CronSettings)
    return "runs at the next tick" if waits_for_tick else "runs soon"


def _choose_retry(pipeline: Pipeline, asset: str, *, is_due: bool) -> Outcome:
    """What failed is tried again whether anything changed since or not; files are looked at again soon."""
    if pipeline.settings.retrain == "manual":
        return "runs by hand" if is_due else "up to date"
    if asset == "checkpoint" and isinstance(pipeline.settings.retrain, CronSettings):
        return "runs at the next tick"
    return "runs soon" if _is_observed(pipeline, asset) else "runs at the night's retry"


def _is_observed(pipeline: Pipeline, asset: str) -> bool:
    """Whether it is files that are looked at regularly; generated ones are made, as other assets are."""
    stage, _, source = asset.partition("/")
    return stage == "raw" and pipeline.source(source).format != "shapes"


def _find_obstacles(
    pipeline: Pipeline, store: Store, asset: str, known: Mapping[str, Decision], *, has_changed: bool
) -> list[str]:
    """A gate that its candidate did not pass, and inputs that are not what they will be."""
    failed = store.find_failed(asset)
    waiting = [name for name in list_inputs(pipeline, asset) if _is_awaited(known[name], has_changed=has_changed)]
    gate = [f"its newest candidate did not pass a blocking check; see {_locate(pipeline, failed)}"] if failed else []
    return gate + [f"{name} {known[name].outcome}" for name in waiting]


def _is_awaited(decision: Decision, *, has_changed: bool) -> bool:
    """Whether an input will be another, and soon: nobody whose turn has come waits for the tick of a training."""
    return decision.will_change and not (has_changed and decision.outcome == "runs at the next tick")


def _locate(pipeline: Pipeline, path: Path) -> str:
    page = path / "page.html"
    found = page if page.is_file() else path
    return str(found.relative_to(pipeline.project_root)) if found.is_relative_to(pipeline.project_root) else str(found)


# -------------------------------------------------------------------------------------------------------- differences


def _compare(pipeline: Pipeline, store: Store, asset: str) -> tuple[Version | None, list[Difference]]:
    """The current version, and what it would be made from now and was not."""
    try:
        version = store.current_whole(asset)
    except DamagedVersion as damage:
        told = f"{Path(damage.path).name} {damage.reason}"
        return None, [Difference(kind="damaged", name="", before=None, now=None, told=told)]
    if version is None:
        return None, [Difference(kind="missing", name="", before=None, now=None, told=MISSING)]
    differences = [
        *_compare_stage(version, asset),
        *_compare_settings(version, asset, _read_settings(pipeline, store, asset)),
        *_compare_inputs(pipeline, store, version, asset),
    ]
    if asset.startswith("raw/"):
        differences += _compare_files(pipeline, version, asset.partition("/")[2])
    return version, differences


def _compare_stage(version: Version, asset: str) -> list[Difference]:
    stage, manifest = asset.partition("/")[0], version.manifest
    found: list[Difference] = []
    if manifest.stage_number != STAGE_NUMBERS[stage]:
        numbers = str(manifest.stage_number), str(STAGE_NUMBERS[stage])
        found.append(Difference(kind="stage number", name="", before=numbers[0], now=numbers[1]))
    now, before = {check.name for check in CHECKS.get(stage, ())}, {check.name for check in manifest.checks}
    told = [(sorted(now - before), "new"), (sorted(before - now), "gone")]
    parts = [f"{word}: {', '.join(names)}" for names, word in told if names]
    if parts:
        found.append(Difference(kind="checks", name="", before=None, now=None, told="; ".join(parts)))
    return found


def _read_settings(pipeline: Pipeline, store: Store, asset: str) -> Mapping[str, Any]:
    """The settings that decide a result now; those of a training know the files of its backbone, too."""
    recipe = _read_recipe(pipeline, store) if asset == "checkpoint" else None
    return recipe.collect_settings() if recipe else stage_settings(pipeline, asset)


def _compare_settings(version: Version, asset: str, settings: Mapping[str, Any]) -> list[Difference]:
    """Those that the stage has or had; what it recorded beside them is no setting of anybody's."""
    before, overridden = version.manifest.settings, version.manifest.details.get("overridden", {})
    changed = [name for name, value in settings.items() if name not in before or before[name] != value]
    gone = sorted(before.keys() - settings.keys() - _RECORDED_BESIDE.get(asset.partition("/")[0], set()))
    new = [name for name in changed if name not in before]
    told = {
        **dict.fromkeys(new, "new"),
        **dict.fromkeys(overridden, "it was set for one run"),
        **dict.fromkeys(gone, "no setting any more"),
    }
    return [
        Difference(
            kind="setting",
            name=name,
            before=_write(before.get(name)),
            now=_write(settings.get(name)),
            told=told.get(name, ""),
        )
        for name in changed + gone
    ]


def _compare_inputs(pipeline: Pipeline, store: Store, version: Version, asset: str) -> list[Difference]:
    before = version.manifest.inputs
    found: list[Difference] = []
    for name in list_inputs(pipeline, asset):
        now, read = _find_current(store, name), before.get(name)
        if now is not None and (read is None or read.data_version != now.manifest.data_version):
            told = _tell_rows(now, read.version if read else None) if name == "dataset" else ""
            versions = read.data_version[:12] if read else None, now.manifest.data_version[:12]
            found.append(Difference(kind="input", name=name, before=versions[0], now=versions[1], told=told))
    gone = [name for name in before if name not in list_inputs(pipeline, asset)]
    found += [
        Difference(kind="input", name=name, before=before[name].data_version[:12], now=None, told="no source any more")
        for name in gone
    ]
    return found


def _find_current(store: Store, asset: str) -> Version | None:
    try:
        return store.current(asset)
    except DamagedVersion:
        return None


_ROWS = {
    "num_added": "added",
    "num_removed": "removed",
    "num_reanswered": "with other answers",
    "num_reworded": "with another text",
    "num_images_replaced": "with another image",
    "num_moved": "in another split",
}


def _tell_rows(dataset: Version, before: str | None) -> str:
    """What changed in its rows, where it is told against the version that was read."""
    changes = dataset.manifest.details.get("changes")
    if changes is None or changes["since"] != before:
        return ""
    counts = {name: sum(source[name] for source in changes["sources"].values()) for name in _ROWS}
    return ", ".join(f"{count:,} questions {_ROWS[name]}" for name, count in counts.items() if count)


def _compare_files(pipeline: Pipeline, version: Version, source: str) -> list[Difference]:
    """Files that are not as at the last look; a generated source has none but those that are published."""
    before, now = look_at_source(pipeline, source, version)
    added, removed = sorted(now.keys() - before.keys()), sorted(before.keys() - now.keys())
    changed = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
    told = [(added, "added"), (removed, "removed"), (changed, "changed")]
    parts = [f"{len(names):,} {word}, such as {names[0]}" for names, word in told if names]
    return [Difference(kind="files", name="", before=None, now=None, told="; ".join(parts))] if parts else []


def _write(value: Any) -> str | None:
    return None if value is None else str(value)


def _show(value: str | None) -> str:
    return "none" if value is None else value
