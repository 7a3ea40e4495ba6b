"""Suspects as rows of a corrections file: nothing until a person says so, and no formula."""

from __future__ import annotations

import csv

import pandas as pd
import pytest
from reporting_world import HOSTILE

from vqa_pipeline.curation.corrections import Correction, parse_cells, read_corrections, write_rows
from vqa_pipeline.reporting.suspects import list_proposals


def make_row(question_id: str = "scans/7", answer: str = "red", references: tuple[str, ...] = ("blue",), **changes):
    locator = {"file": "q.csv", "record": 4.0, "item": None, "byte_offset": None, "line": 6.0}
    answers = [{"answer": reference} for reference in references]
    told = {"question_id": question_id, "answer": answer, "answers": answers, "probability": 0.974, "locator": locator}
    return {**told, **changes}


def write(path, *rows) -> list[dict[str, str]]:
    write_rows(path, list_proposals(pd.DataFrame(list(rows))))
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_proposes_the_models_answer_and_says_what_people_said(tmp_path):
    [row] = write(tmp_path / "suspects.csv", make_row())
    assert {name: cell for name, cell in row.items() if cell} == {
        "question_id": "scans/7",
        "locator": "q.csv:6",
        "answers": "red",
        "rule": "suspect_answer",
        "reason": "the model answers red with probability 0.97, people say blue",
    }


def test_an_answer_is_proposed_as_often_as_there_are_annotators(tmp_path):
    [row] = write(tmp_path / "suspects.csv", make_row(references=("blue", "blue", "green")))
    assert row["answers"] == '["red", "red", "red"]'
    assert row["reason"].endswith("people say blue (×2), green")


def test_nothing_is_corrected_until_somebody_says_so(tmp_path):
    write(tmp_path / "suspects.csv", make_row())
    assert read_corrections("scans", tmp_path / "suspects.csv") == ()


@pytest.mark.parametrize("answer", ["red", "=1+1", "[1", "-5", '"', "a, b", HOSTILE])
def test_with_edit_written_into_it_a_row_is_the_models_answer(tmp_path, answer):
    [row] = write(tmp_path / "suspects.csv", make_row(answer=answer))
    correction = parse_cells(row | {"action": "edit"})
    assert isinstance(correction, Correction)
    assert (correction.question_id, correction.answers) == ("scans/7", (answer,))


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", HOSTILE])
def test_no_cell_is_a_formula_or_acts_on_a_terminal(tmp_path, text):
    locator = {"file": text, "record": 4, "item": None, "byte_offset": None, "line": None}
    [row] = write(tmp_path / "suspects.csv", make_row(answer=text, references=(text,), locator=locator))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())
    assert not {"\x1b", "\u202e"} & set(row["reason"])
