"""One version's life: reused when nothing changed, gated before it is published."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from full_disk import files_of_at_most

from vqa_pipeline.errors import DiskError, GateFailed, StoreBusy
from vqa_pipeline.publishing import CheckDeclaration, Stage, Work, compute_fingerprint, run_stage
from vqa_pipeline.store import Store

GATE = CheckDeclaration("sound", True, "It is sound.")
WARNING = CheckDeclaration("pretty", False, "It is pretty.")


class Builder:
    """Builds a candidate that says what it is told to say, and counts how often it was asked."""

    def __init__(self, text: str = "rows", problems: tuple[str, ...] = (), warnings: tuple[str, ...] = ()) -> None:
        self.text, self.problems, self.warnings, self.times = text, problems, warnings, 0

    def __call__(self, work: Work) -> None:
        self.times += 1
        work.write("rows.txt", self.text)
        work.write("page.md", f"page of {self.text}")
        work.data_version = f"version of {self.text}"
        work.numbers = {"num_rows": 3}
        work.check("sound", self.problems, num_bad=len(self.problems))
        work.check("pretty", self.warnings)


def make_store(folder: Path) -> Store:
    return Store(folder / "store", folder / "scratch")


def stage(**changes) -> Stage:
    return Stage("dataset", 1, {"size": 1}, {}, (GATE, WARNING))._replace(**changes)


def test_the_first_run_builds_and_publishes(tmp_path):
    store, said = make_store(tmp_path), []
    outcome = run_stage(store, stage(), Builder(), said.append)
    assert not outcome.reused
    assert outcome.markdown == "page of rows"
    assert outcome.version == store.require("dataset")
    assert outcome.version.manifest.numbers == {"num_rows": 3}
    assert [(check.name, check.passed, check.blocking) for check in outcome.checks] == [
        ("sound", True, True),
        ("pretty", True, False),
    ]
    assert said == [f"dataset: published version {outcome.version.manifest.version}"]


def test_an_unchanged_stage_is_not_built_again(tmp_path):
    store, builder = make_store(tmp_path), Builder()
    first = run_stage(store, stage(), builder, print)
    second = run_stage(store, stage(), builder, print)
    assert builder.times == 1
    assert second.reused
    assert second.version.manifest == first.version.manifest
    assert second.checks == first.checks


@pytest.mark.parametrize("changes", [{"number": 2}, {"settings": {"size": 2}}])
def test_a_change_of_settings_or_stage_number_builds_again(tmp_path, changes):
    store, builder = make_store(tmp_path), Builder()
    run_stage(store, stage(), builder, print)
    run_stage(store, stage(**changes), builder, print)
    assert builder.times == 2


def test_a_version_from_before_the_stage_had_a_check_is_judged_by_it(tmp_path):
    store, builder = make_store(tmp_path), Builder(warnings=("not pretty",))

    def build_as_before(work: Work) -> None:
        work.declared = (GATE, WARNING)
        builder(work)
        work.checks.pop()

    run_stage(store, stage(checks=(GATE,)), build_as_before, print)
    again = run_stage(store, stage(), builder, print)
    assert builder.times == 2
    assert [check.name for check in again.checks] == ["sound", "pretty"]


def test_an_input_with_the_same_data_version_changes_nothing_and_another_does(tmp_path):
    store, builder = make_store(tmp_path), Builder()

    def publish_input(text: str, data_version: str):
        def build(work: Work) -> None:
            work.write("rows.txt", text)
            work.data_version = data_version

        return run_stage(store, Stage("records/a", 1, {"text": text}, {}), build, print).version

    run_stage(store, stage(inputs={"records/a": publish_input("1 2", "numbers")}), builder, print)
    run_stage(store, stage(inputs={"records/a": publish_input("2 1", "numbers")}), builder, print)
    assert builder.times == 1
    run_stage(store, stage(inputs={"records/a": publish_input("1 2 3", "more numbers")}), builder, print)
    assert builder.times == 2


def test_the_same_content_from_other_inputs_is_said_and_recorded(tmp_path):
    store, said = make_store(tmp_path), []
    run_stage(store, stage(), Builder(), said.append)
    outcome = run_stage(store, stage(settings={"size": 2}), Builder(), said.append)
    assert said[-1].endswith(", content as before")
    assert store.require("dataset").manifest.settings == {"size": 2}
    assert run_stage(store, stage(settings={"size": 2}), Builder(), said.append).reused
    assert outcome.version.manifest.settings == {"size": 2}


def test_a_failed_candidate_goes_when_the_version_before_is_up_to_date_again(tmp_path):
    store = make_store(tmp_path)
    run_stage(store, stage(), Builder(), print)
    with pytest.raises(GateFailed) as failure:
        run_stage(store, stage(number=2), Builder("bad", ("3 rows are bad",)), print)
    assert store.find_failed("dataset") == failure.value.candidate
    assert run_stage(store, stage(), Builder(), print).reused
    assert store.find_failed("dataset") is None


def test_reusing_a_version_leaves_a_candidate_alone_that_another_run_is_at_work_on(tmp_path):
    store = make_store(tmp_path)
    run_stage(store, stage(), Builder(), print)
    with pytest.raises(GateFailed) as failure:
        run_stage(store, stage(number=2), Builder("bad", ("3 rows are bad",)), print)
    with make_store(tmp_path).lock("dataset"):
        assert run_stage(store, stage(), Builder(), print).reused
    assert store.find_failed("dataset") == failure.value.candidate


def test_a_failed_candidate_goes_when_a_better_one_is_published(tmp_path):
    store = make_store(tmp_path)
    with pytest.raises(GateFailed):
        run_stage(store, stage(), Builder("bad", ("3 rows are bad",)), print)
    assert store.find_failed("dataset") is not None
    run_stage(store, stage(), Builder(), print)
    assert store.find_failed("dataset") is None


def test_a_failed_gate_publishes_nothing_and_keeps_the_candidate(tmp_path):
    store = make_store(tmp_path)
    good = run_stage(store, stage(), Builder("good"), print)
    bad = Builder("bad", problems=("half of it is missing",))
    with pytest.raises(GateFailed, match="half of it is missing") as failure:
        run_stage(store, stage(settings={"size": 2}), bad, print)
    assert store.require("dataset").manifest == good.version.manifest
    candidate = Path(failure.value.candidate)
    assert (candidate / "rows.txt").read_text() == "bad"
    assert failure.value.markdown == "page of bad"
    assert [(check.name, check.passed) for check in failure.value.checks] == [("sound", False), ("pretty", True)]


def test_a_failed_gate_before_the_first_version_leaves_nothing_current(tmp_path):
    store = make_store(tmp_path)
    with pytest.raises(GateFailed):
        run_stage(store, stage(), Builder(problems=("no",)), print)
    assert store.current("dataset") is None


def test_a_warning_does_not_keep_a_version_back(tmp_path):
    outcome = run_stage(make_store(tmp_path), stage(), Builder(warnings=("a bit plain",)), print)
    assert [(check.name, check.passed, check.message) for check in outcome.checks] == [
        ("sound", True, "It is sound."),
        ("pretty", False, "a bit plain"),
    ]


def test_an_error_while_building_publishes_nothing(tmp_path):
    def build(work: Work) -> None:
        work.write("rows.txt", "half")
        raise OSError("disk full")

    store = make_store(tmp_path)
    with pytest.raises(OSError, match="disk full"):
        run_stage(store, stage(), build, print)
    assert store.current("dataset") is None
    assert not list((tmp_path / "store").rglob("rows.txt"))


# ------------------------------------------------------------------------------------------------------------- damage


def lose_file(version: Path) -> None:
    (version / "rows.txt").unlink()


def cut_file(version: Path) -> None:
    (version / "rows.txt").write_text("r")


def lose_manifest(version: Path) -> None:
    (version / "manifest.json").unlink()


def break_manifest(version: Path) -> None:
    (version / "manifest.json").write_text("{")


def break_pointer(version: Path) -> None:
    (version.parent.parent / "current.json").write_text("")


def lose_version(version: Path) -> None:
    shutil.rmtree(version)


@pytest.mark.parametrize(
    ("damage", "file", "reason"),
    [
        (lose_file, "rows.txt", "is missing"),
        (cut_file, "rows.txt", "has 1 bytes, not 4"),
        (lose_manifest, "manifest.json", "is missing"),
        (break_manifest, "manifest.json", "is not a manifest"),
        (break_pointer, "current.json", "is not a pointer"),
        (lose_version, "manifest.json", "is missing"),
    ],
)
def test_a_damaged_current_version_is_told_and_made_again(tmp_path, damage, file, reason):
    store, builder, said = make_store(tmp_path), Builder(), []
    first = run_stage(store, stage(), builder, print).version
    damage(first.path)
    outcome = run_stage(store, stage(), builder, said.append)
    assert builder.times == 2
    assert not outcome.reused
    assert said[0].startswith("dataset version ")
    assert f"is damaged and made again: {tmp_path}" in said[0]
    assert f"{file}: {reason}" in said[0]
    assert store.require("dataset").manifest.version == first.manifest.version
    assert (outcome.version.path / "rows.txt").read_text() == "rows"
    assert run_stage(store, stage(), builder, print).reused
    assert builder.times == 2


def test_a_stage_that_looks_at_its_own_version_before_finds_none_when_its_manifest_is_broken(tmp_path):
    store, found = make_store(tmp_path), []

    def build(work: Work) -> None:
        found.append(store.current("dataset"))
        Builder()(work)

    first = run_stage(store, stage(), build, print).version
    break_manifest(first.path)
    run_stage(store, stage(), build, print)
    assert found == [None, None]


def test_a_damaged_version_that_is_not_current_is_in_nobody_s_way(tmp_path):
    store, builder = make_store(tmp_path), Builder()
    older = run_stage(store, stage(), Builder("older"), print).version
    run_stage(store, stage(number=2), builder, print)
    break_manifest(older.path)
    assert run_stage(store, stage(number=2), builder, print).reused


def test_while_another_run_mends_a_damaged_version_this_one_is_told(tmp_path):
    store = make_store(tmp_path)
    break_manifest(run_stage(store, stage(), Builder(), print).version.path)
    with make_store(tmp_path).lock("dataset"), pytest.raises(StoreBusy):
        run_stage(store, stage(), Builder(), print)


# --------------------------------------------------------------------------------------------------------------- disks


def build_text(work: Work) -> None:
    Builder("x" * 3000)(work)


def build_parquet(work: Work) -> None:
    pq.write_table(pa.table({"a": list(range(5000))}), work.folder / "rows.parquet")


@pytest.mark.parametrize("build", [build_text, build_parquet])
def test_a_full_disk_is_told_in_a_line_and_the_version_before_stays(tmp_path, build):
    store = make_store(tmp_path)
    good = run_stage(store, stage(), Builder("good"), print)
    with files_of_at_most(2000), pytest.raises(DiskError) as refused:
        run_stage(store, stage(number=2), build, print)
    assert str(refused.value).startswith(f"{tmp_path}/scratch")
    assert ": File too large. Raise the limit" in str(refused.value)
    assert str(refused.value).count("\n") == 0
    assert store.require("dataset") == good.version
    assert [path.name for path in (tmp_path / "store" / "dataset" / "versions").iterdir()] == [good.version.path.name]
    assert not (tmp_path / "scratch" / "candidates" / "dataset").exists()


@pytest.mark.parametrize("folder", ["store", "scratch"])
def test_a_store_or_scratch_that_is_a_file_is_told_by_name(tmp_path, folder):
    (tmp_path / folder).write_text("a file")
    with pytest.raises(DiskError, match=f"{folder}.*: (Not a directory|File exists). Move away what stands"):
        run_stage(make_store(tmp_path), stage(), Builder(), print)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no folder here that takes nothing from anyone")
def test_a_store_where_nothing_can_be_made_is_told_by_name(tmp_path):
    store = Store(Path("/proc/nope/demo"), tmp_path / "scratch")
    with pytest.raises(DiskError, match=r"^/proc/nope: No such file or directory\. Choose another folder\.$"):
        run_stage(store, stage(), Builder(), print)


def test_a_file_that_may_not_be_read_is_told_by_its_own_name(tmp_path):
    def build(_work: Work) -> None:
        raise PermissionError(13, os.strerror(13), "raw/scan.png")

    with pytest.raises(DiskError, match=r"^raw/scan.png: Permission denied\. Give this user the right"):
        run_stage(make_store(tmp_path), stage(), build, print)


def test_a_missing_file_is_not_taken_for_a_disk_s_refusal(tmp_path):
    def build(work: Work) -> None:
        (work.folder / "none").read_text()

    with pytest.raises(FileNotFoundError):
        run_stage(make_store(tmp_path), stage(), build, print)


def test_a_fingerprint_depends_on_content_not_on_key_order():
    assert compute_fingerprint({"a": 1, "b": [1, 2]}) == compute_fingerprint({"b": [1, 2], "a": 1})
    assert compute_fingerprint({"a": 1}) != compute_fingerprint({"a": "1"})
    assert len(compute_fingerprint("x")) == 16
