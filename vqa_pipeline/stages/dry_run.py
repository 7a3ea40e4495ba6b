"""The stages up to the dataset, run into a store of their own that nobody reads: what a run would find, unpublished."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from vqa_pipeline.curation.ledger import Ledger
from vqa_pipeline.errors import GateFailed
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.progress import Progress, silent
from vqa_pipeline.publishing import Log
from vqa_pipeline.schemas import Check
from vqa_pipeline.stages.dataset import build_dataset
from vqa_pipeline.stages.raw import observe_source
from vqa_pipeline.stages.records import build_records
from vqa_pipeline.stages.stage import open_store


@dataclass(frozen=True)
class DryRun:
    """What curation would make of the sources."""

    folder: Path
    """In scratch: `rejects/` and `page.html` of the dataset that was not published."""
    ledger: Ledger
    checks: tuple[Check, ...]

    @property
    def failures(self) -> list[Check]:
        """The gates that would keep the dataset from being published."""
        return [check for check in self.checks if check.blocking and not check.passed]


def dry_run(pipeline: Pipeline, log: Log, progress: Progress = silent) -> DryRun:
    """Read, validate and join the sources as a run would, and publish nothing.

    Everything is written to scratch and made anew each time; the published versions are neither read nor changed.

    Raises:
        SourceError: a file is missing, unreadable or not of its format, or changed meanwhile.
        StoreBusy: another dry run of this pipeline is at work.
    """
    with open_store(pipeline).lock("dry_run"):
        apart = _set_apart(pipeline)
        for source in apart.settings.sources:
            observe_source(apart, source.name, log)
            build_records(apart, source.name, log, progress)
        try:
            outcome = build_dataset(apart, log, progress)
        except GateFailed as error:
            folder, checks = Path(error.candidate), error.checks
        else:
            folder, checks = outcome.version.path, outcome.checks
        _drop_images(apart)
        ledger = Ledger.model_validate_json((folder / "ledger.json").read_bytes())
    return DryRun(folder, ledger, checks)


def _drop_images(apart: Pipeline) -> None:
    """Remove the copies of all images: nobody reads them, and they may be large."""
    from vqa_pipeline.curation.embedded_images import IMAGES

    shutil.rmtree(apart.store_folder / "dataset" / "shared", ignore_errors=True)
    for kept in apart.store_folder.glob(f"records/*/versions/*/{IMAGES}"):
        kept.unlink()


def _set_apart(pipeline: Pipeline) -> Pipeline:
    """The pipeline with an empty store and scratch of its own; it remembers which files were digested before."""
    scratch = f"{pipeline.settings.scratch}/dry_run"
    places = {"store": f"{scratch}/store", "scratch": f"{scratch}/scratch"}
    apart = replace(pipeline, settings=pipeline.settings.model_copy(update=places))
    for folder in (apart.store_folder, apart.scratch_folder):
        shutil.rmtree(folder, ignore_errors=True)
    observed = pipeline.scratch_folder / "observed"
    if observed.is_dir():
        shutil.copytree(observed, apart.scratch_folder / "observed")
    return apart
