"""One version's life: reused when nothing changed, gated before it is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqa_pipeline.errors import GateFailed
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


def test_a_fingerprint_depends_on_content_not_on_key_order():
    assert compute_fingerprint({"a": 1, "b": [1, 2]}) == compute_fingerprint({"b": [1, 2], "a": 1})
    assert compute_fingerprint({"a": 1}) != compute_fingerprint({"a": "1"})
    assert len(compute_fingerprint("x")) == 16
