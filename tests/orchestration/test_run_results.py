"""A run from the command line: in this process, recorded in the project's own instance, summed up for people."""

from __future__ import annotations

import multiprocessing
import os
import select
from pathlib import Path

import dagster as dg
import pytest
from fake_stages import FakeStages, make_pipeline

from vqa_pipeline.errors import SourceError
from vqa_pipeline.orchestration.running import RunResult, _open_progress_bar, open_instance, run_assets
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.progress import ProgressBar, ProgressLines

ALL = ("raw/scans", "records/scans", "dataset", "vocabulary", "checkpoint", "predictions", "metrics", "champion")
QUIET = "telemetry: {enabled: false}\n"


class Project:
    """A pipeline of fake stages in a folder."""

    def __init__(self, root: Path, pipeline: Pipeline) -> None:
        self.root, self.pipeline, self.stages = root, pipeline, FakeStages(root)

    def run(self, *assets: str, **training) -> RunResult:
        """In an instance that forgets, which is quick."""
        return run_assets(self.pipeline, assets or None, training, self.stages, dg.DagsterInstance.ephemeral())

    def record(self) -> RunResult:
        """In the instance that the commands would find."""
        return run_assets(self.pipeline, ["raw/scans"], {}, self.stages)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project; the current folder is its own, as for the commands."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(QUIET)
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, make_pipeline(tmp_path))


def reused(result: RunResult) -> dict[str, bool]:
    return {made.asset: made.reused for made in result.materializations}


def test_a_run_makes_everything_and_tells_each_asset_once_in_order(project):
    result = project.run()
    assert result.success
    assert result.failures == ()
    assert [made.asset for made in result.materializations] == list(ALL) == project.stages.calls
    assert not any(made.reused for made in result.materializations)
    assert all(made.seconds > 0 for made in result.materializations)


def test_what_did_not_change_is_told_as_reused(project):
    curated = ("raw/scans", "records/scans", "dataset")
    project.run(*curated)
    project.stages.rows["scans"].reverse()
    assert reused(project.run(*curated)) == {"raw/scans": False, "records/scans": True, "dataset": True}


def test_only_the_assets_that_were_asked_for_run(project):
    project.run("raw/scans", "records/scans")
    assert project.stages.calls == ["raw/scans", "records/scans"]
    assert [made.asset for made in project.run("dataset").materializations] == ["dataset"]


def test_generated_files_are_told_like_files_that_were_found(project):
    project.pipeline = make_pipeline(project.root, sources=({"name": "toys", "format": "shapes"}, "scans"))
    project.stages.rows["toys"] = ["what is it|dog"]
    result = project.run("raw/toys", "raw/scans", "records/toys", "records/scans")
    assert reused(result) == dict.fromkeys(("raw/scans", "raw/toys", "records/scans", "records/toys"), False)


def test_a_setting_of_this_run_trains_and_the_declared_ones_stay(project):
    project.run(epochs=2, seed=7)
    project.run("checkpoint")
    assert [(one.epochs, one.seed, one.backbone) for one in project.stages.trained_with] == [
        (2, 7, "tiny"),
        (5, 0, "tiny"),
    ]


def test_a_setting_of_training_is_no_matter_where_nothing_is_trained(project):
    assert project.run("raw/scans", epochs=2).success


def test_a_failed_gate_is_told_with_its_reason_and_ends_the_run(project):
    project.stages.rows["scans"].append("BAD|row")
    result = project.run()
    assert not result.success
    [(asset, message)] = result.failures
    assert asset == "dataset"
    assert message.startswith("dataset was not published:\n  - 1 rows are bad\nThe candidate is kept in ")
    assert "Stack Trace" not in message
    assert [made.asset for made in result.materializations] == ["raw/scans", "records/scans"]


def test_every_failure_is_told_not_the_first_alone(project):
    project.pipeline = make_pipeline(project.root, sources=("scans", "films"))
    errors = [SourceError(name, "files", f"raw/{name}.csv", "no such file", "Bring it.") for name in ("scans", "films")]
    project.stages.failures = {f"raw/{error.source}": error for error in errors}
    result = project.run()
    assert set(result.failures) == {("raw/films", str(errors[1])), ("raw/scans", str(errors[0]))}
    assert result.materializations == ()


def test_a_bug_is_told_with_its_stack_trace(project):
    project.stages.failures["records/scans"] = ZeroDivisionError("a bug")
    [(asset, message)] = project.run().failures
    assert asset == "records/scans"
    assert "ZeroDivisionError: a bug" in message
    assert "fake_stages.py" in message


# -------------------------------------------------------------------------------------------------------------- instance


def recorded(home: Path) -> list[str]:
    """Ids of the runs in an instance."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return [run.run_id for run in instance.get_runs()]


def test_a_run_is_recorded_in_the_instance_that_the_environment_names(project, tmp_path_factory, monkeypatch):
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text(QUIET)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    result = project.record()
    assert recorded(home) == [result.run_id]
    assert not (project.root / "history").exists()


def test_without_one_the_project_s_own_dagster_yaml_counts(project, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME")
    (project.root / "dagster.yaml").write_text("storage: {sqlite: {base_dir: .runs}}\n" + QUIET)
    result = project.record()
    assert os.environ["DAGSTER_HOME"] == str(project.root)
    assert (project.root / ".runs").is_dir()
    assert recorded(project.root) == [result.run_id]


def test_a_project_without_one_keeps_its_runs_in_a_folder_of_their_own(project, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME")
    (project.root / "dagster.yaml").unlink()
    results = [project.record(), project.record()]
    assert recorded(project.root / ".dagster") == [result.run_id for result in reversed(results)]


def test_runs_that_open_a_new_instance_at_once_all_can(tmp_path_factory, monkeypatch):
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text(QUIET)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    forking = multiprocessing.get_context("fork")
    together = forking.Barrier(6)

    def open_one():
        together.wait()
        with open_instance(home) as instance:
            assert instance.get_runs() == []

    processes = [forking.Process(target=open_one) for _ in range(together.parties)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 6


# -------------------------------------------------------------------------------------------------------------- progress


def test_without_a_terminal_the_log_of_the_run_tells_how_far_it_is(project):
    project.run("raw/scans", "records/scans", "dataset")
    assert [type(shown) for shown in project.stages.shown_by] == [ProgressLines] * 3


def test_a_terminal_shows_a_bar(project, monkeypatch):
    _, terminal = os.openpty()
    with os.fdopen(terminal, "w") as screen:
        monkeypatch.setattr("sys.stderr", screen)
        project.run("raw/scans", "records/scans", "dataset")
    assert [type(shown) for shown in project.stages.shown_by] == [ProgressBar] * 3


def test_the_bar_is_shown_although_a_run_turns_the_streams_to_files_and_goes_when_it_ends(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    reader, terminal = os.openpty()
    with os.fdopen(terminal, "w") as screen:
        monkeypatch.setattr("sys.stderr", screen)
        with _open_progress_bar() as bar:
            os.dup2(os.open(os.devnull, os.O_WRONLY), terminal)
            bar._clock = iter((0.0, 5.0)).__next__
            for done in (0, 50):
                bar("reading scans", done, 100, "bytes")
    shown = read_screen(reader, end=" \r")
    assert "50 B of 100 B, 10 B/s, 5 s to go" in shown
    assert shown.endswith(" \r")


def read_screen(reader: int, end: str) -> str:
    """What a terminal was given, which arrives in pieces; up to this end, or as much as comes within seconds."""
    shown = b""
    while not shown.endswith(end.encode()) and select.select([reader], [], [], 5)[0]:
        try:
            shown += os.read(reader, 1000)
        except OSError:  # nothing is left, and the other side is closed
            break
    return shown.decode()


def test_without_a_terminal_there_is_no_bar():
    with _open_progress_bar() as bar:
        assert bar is None
