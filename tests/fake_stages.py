"""The stages without files: sources are lists of rows, versions are digests, and everything can be told to fail.

A row is `question|answer`. `records` and `dataset` are the set of rows, so another order or a repeated row is a cosmetic
change. A row that starts with `BAD` does not pass the dataset's gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vqa_pipeline import stages
from vqa_pipeline.errors import GateFailed
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.pipeline import Pipeline, PipelineSettings
from vqa_pipeline.progress import Progress, silent
from vqa_pipeline.publishing import Outcome, compute_fingerprint
from vqa_pipeline.schemas import Check, Input, Manifest
from vqa_pipeline.store import Version

GOOD_ROWS = ("what is it|cat", "how many|2")


def make_pipeline(root: Path, name: str = "clinic", sources: Sequence[Any] = ("scans",), **settings: Any) -> Pipeline:
    """A pipeline; a source that is only a name has the format `table`."""
    declared = [
        {"name": source, "format": "table", "files": f"raw/{source}.csv"} if isinstance(source, str) else source
        for source in sources
    ]
    settings = {"sources": declared, "training": {"backbone": "tiny", "epochs": 5}, **settings}
    return Pipeline(name, PipelineSettings.model_validate(settings), root)


class FakeStages:
    """Has the functions of `stages`; remembers what was computed, reused and asked of the worker."""

    STAGE_NUMBERS = stages.STAGE_NUMBERS
    CHECKS = stages.CHECKS
    stage_settings = staticmethod(stages.stage_settings)

    def __init__(self, root: Path, rows: Mapping[str, list[str]] | None = None) -> None:
        self.root = root
        self.rows = dict(rows or {"scans": list(GOOD_ROWS)})
        self.calls: list[str] = []
        self.failures: dict[str, Exception] = {}
        """What an asset raises; by key below the pipeline."""
        self.job: Any = None
        """Handed to the worker by checkpoint and predictions, if there is one."""
        self.while_training: Callable[[], None] = lambda: None
        self.trained_with: list[TrainingSettings] = []
        self.checkpoints: list[str] = []
        """Fingerprints in the order in which they were trained; one that was trained before is used again."""
        self.files: dict[str, dict[str, int]] = {}
        """What an asset publishes beside its page; by key below the pipeline, sizes by name."""
        self.shown_by: list[Progress] = []
        """Whom raw, records and dataset would tell how far they are."""
        self._current: dict[str, Version] = {}
        self._published: dict[str, list[str]] = {}
        """The rows in records and dataset: who comes later reads these, whatever the files say by then."""

    def observe_source(
        self, pipeline: Pipeline, source: str, log: Callable[[str], None], progress: Progress = silent
    ) -> Outcome:
        self.shown_by.append(progress)
        content = self.rows.get(source, [])
        return self._make(f"raw/{source}", compute_fingerprint(content), {"num_files": 1}, log)

    def build_records(
        self, pipeline: Pipeline, source: str, log: Callable[[str], None], progress: Progress = silent
    ) -> Outcome:
        self.shown_by.append(progress)
        rows = sorted(set(self.rows.get(source, [])))
        checks = self._check("records", {})
        raw = Input(version="v", data_version=compute_fingerprint(self.rows.get(source, [])))
        outcome = self._make(
            f"records/{source}",
            compute_fingerprint(rows),
            {"num_questions": len(rows)},
            log,
            checks,
            inputs={f"raw/{source}": raw},
        )
        self._published[f"records/{source}"] = rows
        return outcome

    def build_dataset(self, pipeline: Pipeline, log: Callable[[str], None], progress: Progress = silent) -> Outcome:
        self.shown_by.append(progress)
        rows = self._read(pipeline, [f"records/{source.name}" for source in pipeline.settings.sources])
        bad = [row for row in rows if row.startswith("BAD")]
        checks = self._check("dataset", {"reject_fraction": f"{len(bad)} rows are bad"} if bad else {})
        if bad:
            self.calls.append("dataset")
            raise GateFailed("dataset", [f"{len(bad)} rows are bad"], self.root / "candidate", checks, "**rejected**")
        numbers = {"num_questions": len(rows), "num_rows": len(rows), "nothing": None}
        inputs = {name: one.as_input() for name, one in self._current.items() if name.startswith("records/")}
        outcome = self._make("dataset", compute_fingerprint(rows), numbers, log, checks, inputs=inputs)
        self._published["dataset"] = rows
        return outcome

    def build_vocabulary(self, pipeline: Pipeline, log: Callable[[str], None]) -> Outcome:
        answers = sorted({row.partition("|")[2] for row in self._read(pipeline, ["dataset"])})
        checks = self._check("vocabulary", {})
        return self._make("vocabulary", compute_fingerprint(answers), {"num_answers": len(answers)}, log, checks)

    def train_checkpoint(
        self,
        pipeline: Pipeline,
        training: TrainingSettings,
        run_worker: Callable[[Any], None],
        log: Callable[[str], None],
    ) -> Outcome:
        if self.job is not None:
            run_worker(self.job)
        number = self.STAGE_NUMBERS["checkpoint"]
        declared = self.stage_settings(pipeline, "checkpoint")
        settings = self.stage_settings(pipeline, "checkpoint", training)
        overridden = {name: value for name, value in settings.items() if declared[name] != value}
        read = [self._current[name].manifest.data_version for name in ("dataset", "vocabulary")]
        self.trained_with.append(training)
        fingerprint = compute_fingerprint(read, settings, number)
        is_known = fingerprint in self.checkpoints
        if not is_known:
            self.while_training()
        details, checks = {"overridden": overridden}, self._check("checkpoint", {})
        outcome = self._make("checkpoint", fingerprint, {"num_steps": 7}, log, checks, details, is_known=is_known)
        self.checkpoints += [] if is_known else [fingerprint]
        return outcome

    def predict(self, pipeline: Pipeline, run_worker: Callable[[Any], None], log: Callable[[str], None]) -> Outcome:
        made_from = [self._current[name].manifest.data_version for name in ("dataset", "checkpoint")]
        inputs = {name: self._current[name].as_input() for name in ("dataset", "checkpoint")}
        return self._make("predictions", compute_fingerprint(made_from), {"num_predictions": 2}, log, inputs=inputs)

    def evaluate(self, pipeline: Pipeline, log: Callable[[str], None]) -> Outcome:
        version = compute_fingerprint(self._current["predictions"].manifest.data_version)
        return self._make("metrics", version, {"vqa_accuracy": 0.75}, log, self._check("metrics", {}))

    def decide_champion(self, pipeline: Pipeline, log: Callable[[str], None]) -> Outcome:
        version = compute_fingerprint(self._current["metrics"].manifest.data_version)
        return self._make("champion", version, {"promoted": 1}, log, self._check("champion", {}))

    def _read(self, pipeline: Pipeline, inputs: Sequence[str]) -> list[str]:
        """The rows in what was published; those of the files where nothing was, for tests of a single stage."""
        files = [row for source in pipeline.settings.sources for row in self.rows.get(source.name, [])]
        return sorted({row for name in inputs for row in self._published.get(name, files)})

    def _check(self, asset: str, problems: Mapping[str, str]) -> tuple[Check, ...]:
        return tuple(
            Check(
                name=declared.name,
                passed=declared.name not in problems,
                blocking=declared.blocking,
                message=problems.get(declared.name, declared.description),
                numbers={"num_bad": len(problems), "unknown": None},
            )
            for declared in self.CHECKS[asset]
        )

    def _make(
        self,
        asset: str,
        data_version: str,
        numbers: dict[str, float | int | None],
        log: Callable[[str], None],
        checks: tuple[Check, ...] = (),
        details: dict[str, Any] | None = None,
        inputs: dict[str, Input] | None = None,
        *,
        is_known: bool = False,
    ) -> Outcome:
        self.calls.append(asset)
        if asset in self.failures and not is_known:
            raise self.failures[asset]
        log(f"{asset}: told by the stage")
        before = self._current.get(asset)
        reused = before is not None and before.manifest.data_version == data_version
        manifest = Manifest(
            asset=asset,
            version=f"v-{data_version}",
            data_version=data_version,
            stage_number=1,
            settings={},
            inputs=inputs or {},
            numbers=numbers,
            details=details or {},
            checks=checks,
            files=self.files.get(asset, {}),
            seconds=0.25,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            packages={},
            git_commit=None,
        )
        folder = self.root / "store" / asset / data_version
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "page.md").write_text(f"# page of {asset}")
        self._current[asset] = Version(folder, manifest)
        return Outcome(self._current[asset], reused)
