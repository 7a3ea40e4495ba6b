"""A suspect annotation on its way: found in predictions, written for a person, corrected, and in the next dataset."""

from __future__ import annotations

import csv

import pandas as pd
import pytest
from colours_world import COLOURS, Runner, declare_source, make_pipeline, write_source
from fake_worker import FakeWorker

RIGHT = {f"colours/{number}": COLOURS[number % 4] for number in range(20)}


@pytest.fixture
def suspects(tmp_path):
    """The only suspect is the picture that a person called blue by mistake; it is red, as the model says."""
    write_source(tmp_path, change={16: {"answer": "blue"}})
    Runner(make_pipeline(tmp_path), FakeWorker(RIGHT)).run()
    (file,) = (tmp_path / "data" / "store" / "clinic" / "metrics").glob("versions/*/suspects/*.csv")
    assert file.name == "colours.csv"
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def test_a_corrected_suspect_is_in_the_next_dataset(tmp_path, suspects):
    assert [(row["question_id"], row["action"], row["answers"]) for row in suspects] == [("colours/16", "", "red")]
    assert "the model answers red with probability 0.80, people say blue" in suspects[0]["reason"]
    with (tmp_path / "raw" / "corrections.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(suspects[0]))
        table.writeheader()
        table.writerow(suspects[0] | {"action": "edit"})
    source = declare_source(corrections="raw/corrections.csv")
    after = Runner(make_pipeline(tmp_path, sources=[source]), FakeWorker(RIGHT)).run()
    questions = pd.read_parquet(after["dataset"].version.path / "questions").set_index("question_id")
    assert questions.loc["colours/16", "most_common_answer"] == "red"
    metrics = after["metrics"].version
    assert metrics.manifest.numbers["vqa_accuracy"] == 1.0
    assert not (metrics.path / "suspects").exists()
    report = (metrics.path / "report.html").read_text()
    assert "no answer that the model is sure of contradicts" in report
    assert "What changed" in report


def test_nothing_is_corrected_by_a_file_that_nobody_has_filled_in(tmp_path, suspects):
    with (tmp_path / "raw" / "corrections.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(suspects[0]))
        table.writeheader()
        table.writerows(suspects)
    source = declare_source(corrections="raw/corrections.csv")
    after = Runner(make_pipeline(tmp_path, sources=[source]), FakeWorker(RIGHT)).run("dataset")
    questions = pd.read_parquet(after["dataset"].version.path / "questions").set_index("question_id")
    assert questions.loc["colours/16", "most_common_answer"] == "blue"


def test_a_report_that_was_damaged_is_made_again_as_it_was(tmp_path, suspects):
    write_source(tmp_path)
    runner = Runner(make_pipeline(tmp_path), FakeWorker(RIGHT))
    report = runner.run()["metrics"].version.path / "report.html"
    before = report.read_bytes()
    assert b"What changed" in before
    report.unlink()
    runner.run()
    assert report.read_bytes() == before
