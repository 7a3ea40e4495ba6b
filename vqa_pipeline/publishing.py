"""The life of one version: reuse what is up to date, build a candidate, gate it, publish it. No Dagster, no torch.

A stage whose inputs, settings and stage number are those of its current version does nothing: the version is reused.
A candidate that fails a blocking check is kept to look at, and `GateFailed` is raised; nothing is published. It goes
when the asset is published or found up to date again. A current version that is damaged counts as none, and is made
again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from vqa_pipeline.errors import DamagedVersion, DiskError, GateFailed
from vqa_pipeline.schemas import Check
from vqa_pipeline.store import Draft, Store, Version

Log = Callable[[str], None]
PAGE = "page.md"


class CheckDeclaration(NamedTuple):
    """A check that a stage makes, known before it runs."""

    name: str
    blocking: bool
    description: str


class Stage(NamedTuple):
    """What decides whether a version is up to date, and which checks gate it."""

    asset: str
    number: int
    settings: dict[str, Any]
    inputs: Mapping[str, Version]
    checks: tuple[CheckDeclaration, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a stage did."""

    version: Version
    reused: bool
    """True: nothing had changed, the current version stays."""
    provenance: str = ""
    """Where a checkpoint comes from, as Markdown; empty for what is none."""

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every check of the version."""
        return self.version.manifest.checks

    @property
    def markdown(self) -> str:
        """The asset's page for Dagster's UI; text from data is escaped in it."""
        return _read_page(self.version.path)


@dataclass
class Work:
    """A stage at work on a candidate: where its files go and what its manifest will say."""

    folder: Path
    declared: tuple[CheckDeclaration, ...] = ()
    data_version: str = ""
    numbers: dict[str, float | int | None] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    def write(self, name: str, text: str) -> None:
        """Write a text file of the candidate."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def check(self, name: str, problems: Sequence[str], **numbers: float | None) -> None:
        """Note the outcome of a declared check: passed when there are no problems."""
        declared = next(check for check in self.declared if check.name == name)
        message = "; ".join(problems) or declared.description
        self.checks.append(
            Check(name=name, passed=not problems, blocking=declared.blocking, message=message, numbers=dict(numbers))
        )


def compute_fingerprint(*parts: Any) -> str:
    """Digest of settings and inputs: 16 hex digits, equal for equal JSON."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def run_stage(store: Store, stage: Stage, build: Callable[[Work], None], log: Log) -> Outcome:
    """Reuse the current version, or build a candidate, gate it and publish it.

    Raises:
        GateFailed: a blocking check failed; the candidate is kept.
        StoreBusy: another run works on this asset.
        DiskError: the disk is full, or store or scratch cannot be used; nothing was published.
    """
    try:
        return _reuse_or_build(store, stage, build, log)
    except OSError as error:
        told = DiskError.from_number(error.errno, error.filename or store.scratch)
        if told is None:
            raise
        raise told from error


def _reuse_or_build(store: Store, stage: Stage, build: Callable[[Work], None], log: Log) -> Outcome:
    failed = store.see_failed(stage.asset)
    current = _find_whole(store, stage.asset, log)
    if current is not None and is_up_to_date(current, stage):
        if failed is not None:
            store.settle_failed(stage.asset, failed)
        log(f"{stage.asset} is up to date (version {current.manifest.version})")
        return Outcome(current, reused=True)
    begin = time.monotonic()
    with store.candidate(stage.asset) as folder:
        store.forget_unreadable(stage.asset)
        work = Work(folder, stage.checks)
        build(work)
        _pass_gates(store, stage.asset, work)
        version = store.publish(stage.asset, folder, _draft(stage, work, time.monotonic() - begin))
        store.drop_failed(stage.asset)
    log(f"{stage.asset}: published version {version.manifest.version}" + _compare(current, version))
    return Outcome(version, reused=False)


def _find_whole(store: Store, asset: str, log: Log) -> Version | None:
    """The current version, unless it is damaged: then it has to be made again."""
    try:
        return store.current_whole(asset)
    except DamagedVersion as error:
        log(f"{asset} version {error.version} is damaged and made again: {error.path}: {error.reason}")
        return None


def is_up_to_date(version: Version, stage: Stage) -> bool:
    """Whether a version was made by this stage from inputs with the same data versions.

    One that was made before the stage had a check was never judged by it, so it is not up to date.
    """
    manifest = version.manifest
    if {check.name for check in manifest.checks} != {check.name for check in stage.checks}:
        return False
    before = {name: read.data_version for name, read in manifest.inputs.items()}
    now = {name: read.manifest.data_version for name, read in stage.inputs.items()}
    return (manifest.stage_number, manifest.settings, before) == (stage.number, stage.settings, now)


def _pass_gates(store: Store, asset: str, work: Work) -> None:
    failures = [check.message for check in work.checks if check.blocking and not check.passed]
    if failures:
        kept = store.keep_candidate(asset, work.folder)
        raise GateFailed(asset, failures, kept, work.checks, _read_page(work.folder))


def _draft(stage: Stage, work: Work, seconds: float) -> Draft:
    return Draft(
        data_version=work.data_version,
        stage_number=stage.number,
        settings=stage.settings,
        inputs={name: version.as_input() for name, version in stage.inputs.items()},
        numbers=work.numbers,
        details=work.details,
        checks=tuple(work.checks),
        packages=work.packages,
        seconds=round(seconds, 3),
    )


def _compare(before: Version | None, now: Version) -> str:
    same = before is not None and before.manifest.data_version == now.manifest.data_version
    return ", content as before" if same else ""


def _read_page(folder: Path) -> str:
    page = folder / PAGE
    return page.read_text(encoding="utf-8") if page.is_file() else ""
