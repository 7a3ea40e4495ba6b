"""Every check, failing: what it says names what to do, and it carries numbers for Dagster to plot."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from colours_world import SPLITS, Runner, declare_source, make_pipeline, write_source
from fake_worker import FakeWorker

from vqa_pipeline.curation.ledger import Ledger
from vqa_pipeline.errors import GateFailed
from vqa_pipeline.publishing import Work
from vqa_pipeline.schemas import Check
from vqa_pipeline.stages import CHECKS

RIGHT = {"colours/16": "red", "colours/17": "green", "colours/18": "blue", "colours/19": "yellow"}


def run(project: Path, until: str, worker: FakeWorker | None = None, **settings) -> dict[str, Check]:
    """The checks of the last stage, whether it was published or not."""
    runner = Runner(make_pipeline(project, **settings), worker)
    try:
        checks = runner.run(until)[until].checks
    except GateFailed as failed:
        checks = failed.checks
    return {check.name: check for check in checks}


def find_corrections_unfit(project: Path) -> Check:
    write_source(project)
    (project / "raw" / "corrections.csv").write_text("question_id,action\ncolours/99,drop\n")
    sources = [declare_source(corrections="raw/corrections.csv")]
    return run(project, "records", sources=sources)["corrections_fit"]


def find_a_row_lost(project: Path) -> Check:
    [declared] = [one for one in CHECKS["dataset"] if one.name == "ledger_balances"]
    ledger = Ledger.model_validate(
        {
            "sources": {
                "colours": {
                    "num_question_records": 3,
                    "num_annotation_records": 0,
                    "num_joined_annotations": 0,
                    "fates": {"accepted": {"": 2}},
                }
            }
        }
    )
    work = Work(project, (declared,))
    work.check("ledger_balances", ledger.find_imbalances(), num_rows=ledger.num_rows)
    return work.checks[0]


def find_no_question(project: Path) -> Check:
    write_source(project)
    for image in (project / "raw" / "images").iterdir():
        image.unlink()
    return run(project, "dataset")["has_questions"]


def find_too_many_rejects(project: Path) -> Check:
    write_source(project)
    (project / "raw" / "images" / "0.png").unlink()
    return run(project, "dataset")["reject_fraction"]


def find_leakage(project: Path) -> Check:
    write_source(project)
    images = project / "raw" / "images"
    shutil.copy(images / "0.png", images / "19.png")
    return run(project, "dataset")["no_leakage"]


def find_a_reject(project: Path) -> Check:
    write_source(project)
    (project / "raw" / "images" / "0.png").unlink()
    return run(project, "dataset", dataset={"max_reject_fraction": 1.0})["no_rejects"]


def find_drift(project: Path) -> Check:
    write_source(project)
    run(project, "dataset")
    write_source(project, change={number: {"answer": "mauve"} for number in range(12)})
    return run(project, "dataset")["drift"]


def find_little_covered(project: Path) -> Check:
    write_source(project, change={0: {"answer": "crimson"}, 4: {"answer": "scarlet"}})
    return run(project, "vocabulary", vocabulary={"min_count": 2})["coverage"]


def find_another_model(project: Path) -> Check:
    write_source(project)
    worker = FakeWorker()
    worker.reloaded["problem"] = "it answers otherwise. Run it again"
    return run(project, "checkpoint", worker)["reloads"]


def find_blindness(project: Path) -> Check:
    write_source(project)
    return run(project, "metrics")["looks_at_images"]


def find_nothing_scored(project: Path) -> Check:
    write_source(project, change={number: {"answer": ""} for number, split in enumerate(SPLITS) if split == "test"})
    return run(project, "metrics", dataset={"max_reject_fraction": 1.0})["looks_at_images"]


def find_false_probabilities(project: Path) -> Check:
    write_source(project, rows=400, change={number: {"split": "test"} for number in range(60, 400)})
    return run(project, "metrics", dataset={"leakage": "report"})["calibrated"]


def find_a_worse_checkpoint(project: Path) -> Check:
    write_source(project)
    run(project, "champion", FakeWorker(RIGHT))
    return run(project, "champion", training={"backbone": "tiny", "seed": 1})["no_regression"]


FAILING: dict[str, tuple[Callable[[Path], Check], str]] = {
    "corrections_fit": (find_corrections_unfit, "Correct the file, or remove its rows"),
    "ledger_balances": (find_a_row_lost, "please report it"),
    "has_questions": (find_no_question, "the page of the candidate tells why"),
    "reject_fraction": (find_too_many_rejects, "correct them, or raise the limit"),
    "no_leakage": (find_leakage, "Choose a policy: `dataset: {leakage: drop_from_train}`"),
    "no_rejects": (find_a_reject, "`vqa-pipeline rejects` lists them"),
    "drift": (find_drift, "look at what changed on the page of `dataset`"),
    "coverage": (find_little_covered, "`vocabulary: {min_count: 1}` would reach 95 %"),
    "reloads": (find_another_model, "Run it again"),
    "looks_at_images": (find_blindness, "Train longer or more of the model"),
    "calibrated": (find_false_probabilities, "bring validation questions"),
    "no_regression": (find_a_worse_checkpoint, "`vqa-pipeline compare` tells what was lost"),
}


def test_every_check_is_here():
    assert set(FAILING) == {check.name for checks in CHECKS.values() for check in checks}


@pytest.mark.parametrize("name", FAILING)
def test_a_check_that_fails_has_numbers_and_says_what_to_do(tmp_path, name):
    find, what_to_do = FAILING[name]
    check = find(tmp_path)
    assert not check.passed
    assert what_to_do in check.message
    assert [number for number in check.numbers.values() if number is not None]
    [declared] = [one for checks in CHECKS.values() for one in checks if one.name == name]
    assert check.blocking == declared.blocking


def test_without_answers_to_score_by_the_check_says_what_to_bring(tmp_path):
    check = find_nothing_scored(tmp_path)
    assert not check.passed
    assert "Bring them" in check.message
    assert check.numbers == {"num_scored": 0}


@pytest.mark.parametrize("stage", CHECKS)
def test_a_check_that_passes_has_numbers_too(tmp_path, stage):
    write_source(tmp_path)
    for check in run(tmp_path, stage, FakeWorker(RIGHT)).values():
        assert check.numbers, check.name
