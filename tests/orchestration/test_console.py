"""The console: one line for what a stage says, for each check and for each failure; nothing else."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from fake_stages import FakeStages, make_pipeline

from vqa_pipeline.errors import SourceError, WorkerFailed
from vqa_pipeline.orchestration.assets import build_definitions
from vqa_pipeline.orchestration.console import build_console, console

LINE = re.compile(r"\d\d:\d\d:\d\d  (\S*) +(.*)")


class Project:
    """A pipeline of fake stages that says on the console what happens."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.stages, self.capsys = FakeStages(root), capsys
        built = build_definitions(make_pipeline(root), self.stages)
        self.definitions = dg.Definitions.merge(built, dg.Definitions(loggers={"console": console}))

    def run(self, *assets: str, **config: Any) -> str:
        self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            asset_selection=[dg.AssetKey(["clinic", *asset.split("/")]) for asset in assets],
            run_config={"loggers": {"console": {"config": config} if config else {}}},
            raise_on_error=False,
        )
        printed = self.capsys.readouterr()
        assert printed.err == ""
        return printed.out


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Project:
    return Project(tmp_path, capsys)


def split(out: str) -> list[tuple[str, str]]:
    """Asset and text of each line that begins with the clock."""
    return [match.groups() for line in out.splitlines() if (match := LINE.fullmatch(line))]


def test_a_run_is_told_in_the_order_in_which_it_happens(project):
    out = project.run("raw/scans", "records/scans", "dataset", "vocabulary")
    assert split(out) == [
        ("clinic/raw/scans", "raw/scans: told by the stage"),
        ("clinic/records/scans", "records/scans: told by the stage"),
        ("clinic/records/scans", "check corrections_fit passed"),
        ("clinic/dataset", "dataset: told by the stage"),
        ("clinic/dataset", "check ledger_balances passed"),
        ("clinic/dataset", "check has_questions passed"),
        ("clinic/dataset", "check reject_fraction passed"),
        ("clinic/dataset", "check no_leakage passed"),
        ("clinic/dataset", "check no_rejects passed"),
        ("clinic/dataset", "check drift passed"),
        ("clinic/vocabulary", "vocabulary: told by the stage"),
        ("clinic/vocabulary", "check coverage passed"),
        ("", "the run succeeded"),
    ]
    assert len(out.splitlines()) == 13, "nothing else is printed"


def test_a_failed_gate_is_told_with_its_check_and_its_reason(project):
    project.stages.rows["scans"].append("BAD|row")
    out = project.run("raw/scans", "records/scans", "dataset", "vocabulary")
    told = split(out)
    assert ("clinic/dataset", "check reject_fraction FAILED: 1 rows are bad") in told
    assert ("clinic/dataset", "check ledger_balances passed") in told
    assert "FAILED: dataset was not published:\n  - 1 rows are bad\nThe candidate is kept in " in out
    assert told[-1] == ("", "the run failed")
    assert "Traceback" not in out


def test_a_check_that_warns_is_told_as_a_warning(project):
    class Doubtful(FakeStages):
        def _check(self, asset, problems):
            return super()._check(asset, {"no_rejects": "2 rows were not accepted"})

    project.definitions = dg.Definitions.merge(
        build_definitions(make_pipeline(project.stages.root), Doubtful(project.stages.root)),
        dg.Definitions(loggers={"console": console}),
    )
    told = split(project.run("dataset"))
    assert ("clinic/dataset", "check no_rejects warns: 2 rows were not accepted") in told
    assert told[-1] == ("", "the run succeeded")


def test_a_user_s_mistake_is_told_in_its_own_words(project):
    error = SourceError("scans", "files", "raw/scans.csv", "no such file", "Correct `files`, or bring the file.")
    project.stages.failures["raw/scans"] = error
    assert ("clinic/raw/scans", f"FAILED: {error}") in split(project.run("raw/scans", "records/scans"))


def test_a_bug_is_told_by_its_exception(project):
    project.stages.failures["dataset"] = ZeroDivisionError("a bug")
    out = project.run("raw/scans", "records/scans", "dataset")
    assert "FAILED: " in out
    assert "ZeroDivisionError: a bug" in out


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, dg.DagsterExecutionInterruptedError])
def test_what_somebody_stops_is_told_as_stopped_and_not_as_failed(project, interrupt):
    project.stages.failures["dataset"] = interrupt()
    out = project.run("raw/scans", "records/scans", "dataset", "vocabulary")
    assert ("clinic/dataset", "stopped on request") in split(out)
    assert "FAILED" not in out
    assert interrupt.__name__ not in out


@pytest.mark.parametrize(
    ("holders", "told"),
    [
        ((), "waits for the pool gpu"),
        (("one",), "waits for the pool gpu, held by run one"),
        (("one", "two"), "waits for the pool gpu, held by run one, run two"),
    ],
)
def test_a_step_that_waits_for_its_turn_says_who_has_it(tmp_path, capsys, holders, told):
    asked = []

    def find_holders(pool: str) -> tuple[str, ...]:
        asked.append(pool)
        storage.free_concurrency_slots_for_run("another")
        return holders

    stages = FakeStages(tmp_path)
    definitions = dg.Definitions.merge(
        build_definitions(make_pipeline(tmp_path), stages),
        dg.Definitions(loggers={"console": build_console(find_holders)}),
    )
    stages.build_dataset(make_pipeline(tmp_path), str)
    stages.build_vocabulary(make_pipeline(tmp_path), str)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("gpu", 1)
        storage.claim_concurrency_slot("gpu", "another", "work")
        watchdog = threading.Timer(30, storage.free_concurrency_slots_for_run, ["another"])
        watchdog.start()
        definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(["clinic", "checkpoint"])],
            run_config={"loggers": {"console": {}}},
        )
        watchdog.cancel()
    assert asked == ["gpu"]
    assert split(capsys.readouterr().out) == [
        ("clinic/checkpoint", told),
        ("clinic/checkpoint", "checkpoint: told by the stage"),
        ("clinic/checkpoint", "check reloads passed"),
        ("", "the run succeeded"),
    ]


def test_a_worker_that_is_started_again_is_told(project):
    project.run("raw/scans", "records/scans", "dataset", "vocabulary")
    project.stages.failures["checkpoint"] = WorkerFailed("train", -9, "Killed", "train.log")
    told = split(project.run("checkpoint"))
    retried, failed = [text for asset, text in told if asset == "clinic/checkpoint" and "signal 9" in text]
    assert retried.startswith("failed and is tried again: the train process was killed by signal 9.")
    assert failed.startswith("FAILED: the train process was killed by signal 9. Its log is train.log.")


def test_what_data_says_cannot_act_on_the_terminal(project):
    project.stages.failures["raw/scans"] = SourceError(
        "scans", "files", "raw/\x1b[2J.csv", "no\r such file", "Mend it."
    )
    out = project.run("raw/scans")
    assert "raw/\\x1b[2J.csv: no\\r such file" in out
    assert not {"\x1b", "\r"} & set(out)


@pytest.mark.parametrize(("level", "is_told"), [("DEBUG", True), ("INFO", True), ("WARNING", False)])
def test_a_level_silences_the_stages_and_never_checks_and_failures(project, level, is_told):
    told = split(project.run("raw/scans", "records/scans", "dataset", log_level=level))
    assert (("clinic/dataset", "dataset: told by the stage") in told) == is_told
    assert ("clinic/dataset", "check no_leakage passed") in told


def test_a_level_that_is_none_is_refused_before_the_run(project):
    with pytest.raises(dg.DagsterInvalidConfigError, match="LOUD"):
        project.run("raw/scans", log_level="LOUD")
    assert project.stages.calls == []
