"""`vqa-pipeline rejects`: each row that was not accepted, with all that is needed to mend it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from reporting_world import HOSTILE, make_reject, write_rejects

from vqa_pipeline.errors import NotPublished, SettingsError


@pytest.fixture
def rejected(project):
    """A published dataset with four rows that were not accepted."""
    folder = project.publish("dataset")
    rows = [make_reject(number=number, source="scans") for number in range(2)]
    rows += [
        make_reject("question_empty", 2, source="scans"),
        make_reject("duplicate_row", 3, source="scans", fate="duplicate"),
    ]
    write_rejects(folder / "rejects", *rows)
    return project


def test_a_row_is_told_with_place_rule_reason_fix_and_payload(call, rejected):
    ended = call("rejects", "--rule", "question_empty")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "clinic, the current dataset: 1 row was not accepted. By rule: data/store/clinic/dataset/versions/v1/page.html",
        "",
        "scans: questions.jsonl:3  shapes/2  rejected, question_empty",
        "  why  there is no image 2",
        "  fix  Bring the `file`.",
        '  raw  {"id": 2}',
    ]


def test_all_rows_are_told_in_the_order_of_the_files(call, rejected):
    out = call("rejects").out
    assert "4 rows were not accepted. By rule" in out
    assert [line for line in out.splitlines() if line.startswith("scans: ")] == [
        "scans: questions.jsonl:1  shapes/0  rejected, image_missing",
        "scans: questions.jsonl:2  shapes/1  rejected, image_missing",
        "scans: questions.jsonl:3  shapes/2  rejected, question_empty",
        "scans: questions.jsonl:4  shapes/3  duplicate, duplicate_row",
    ]


def test_a_limit_is_told(call, rejected):
    out = call("rejects", "--limit", "3").out
    assert "4 rows were not accepted; here are the first 3 (--limit)." in out
    assert len([line for line in out.splitlines() if line.startswith("  raw")]) == 3


def test_json_is_one_document_with_whole_payloads(call, project):
    folder = project.publish("dataset")
    write_rejects(
        folder / "rejects", make_reject(source="scans", raw=b"x" * 5000), make_reject(number=1, source="scans")
    )
    told = json.loads(call("rejects", "--json", "--limit", "1").out)
    (row,) = told.pop("rejects")
    assert told == {
        "pipeline": "clinic",
        "path": "data/store/clinic/dataset/versions/v1",
        "published": True,
        "num_matching": 2,
    }
    assert row == {
        "source": "scans",
        "kind": "question",
        "question_id": "shapes/0",
        "fate": "rejected",
        "rule": "image_missing",
        "reason": "there is no image 0",
        "fix": "Bring the `file`.",
        "image": "0.png",
        "locator": "questions.jsonl:1",
        "raw": "x" * 5000,
    }


def test_a_long_payload_is_cut_for_people(call, project):
    folder = project.publish("dataset")
    write_rejects(folder / "rejects", make_reject(raw=b"x" * 5000))
    (raw,) = [line for line in call("rejects").out.splitlines() if line.startswith("  raw")]
    assert raw == "  raw  " + "x" * 299 + "…"


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_no_row_can_act_on_the_terminal(call, project, as_json):
    folder = project.publish("dataset")
    hostile = HOSTILE + "\x9b\x07\r\n\u2066"
    write_rejects(folder / "rejects", make_reject(hostile, reason=hostile, fix=hostile, raw=hostile.encode()))
    out = call("rejects", *as_json).out
    assert not {"\x1b", "\x9b", "\x07", "\r", "\u202e", "\u2066"} & set(out)
    assert "alert(1)" in out


def test_a_rule_that_no_row_broke_names_the_rules_that_were(call, rejected):
    ended = call("rejects", "--rule", "nope")
    assert ended.status == 0
    assert "0 rows were not accepted" in ended.out
    assert ended.out.splitlines()[-1] == (
        "rules of rows that were not accepted: duplicate_row, image_missing, question_empty"
    )


def test_a_dataset_that_took_every_row_says_so(call, project):
    (project.publish("dataset") / "rejects").mkdir()
    ended = call("rejects")
    assert ended.status == 0
    assert ended.out.startswith("clinic, the current dataset: 0 rows were not accepted.")
    assert len(ended.out.splitlines()) == 1


def test_rows_of_one_source(call, project):
    project.declare("two", TWO_SOURCES)
    folder = project.publish("dataset", pipeline="two")
    write_rejects(folder / "rejects", make_reject(source="a"), make_reject(source="b", number=1))
    told = json.loads(call("rejects", "--pipeline", "two", "--source", "b", "--json").out)
    assert [row["locator"] for row in told["rejects"]] == ["questions.jsonl:2"]
    assert told["num_matching"] == 1


TWO_SOURCES = """
type: vqa_pipeline.VqaPipeline
attributes:
  name: {name}
  sources: [{{name: a, format: shapes}}, {{name: b, format: shapes}}]
"""


def test_an_unknown_source_names_the_known_ones(call, rejected):
    ended = call("rejects", "--source", "nope")
    assert ended.status == 1
    assert ended.err == f"error: {SettingsError('--source', 'there is no source nope', 'Sources declared: scans.')}\n"


def test_a_candidate_that_failed_a_gate_is_shown_before_the_current_dataset(call, rejected):
    rejected.fail_gate(make_reject("image_truncated", source="scans"))
    assert "clinic, a candidate that failed a gate: 1 row was not accepted." in call("rejects").out
    told = json.loads(call("rejects", "--json").out)
    assert told["published"] is False
    assert told["path"] == "data/store/clinic/dataset/candidates/c1"


def test_a_first_candidate_that_failed_needs_no_published_dataset(call, project):
    project.fail_gate(make_reject("image_truncated"))
    assert "rejected, image_truncated" in call("rejects").out


def test_before_anything_is_published_it_says_what_to_do(call, project):
    ended = call("rejects")
    assert ended.status == 1
    assert ended.err == f"error: {NotPublished('dataset', project.root / 'data/store/clinic')}\n"


def test_the_rows_are_written_as_corrections_to_fill_in(call, rejected):
    ended = call("rejects", "--rule", "image_missing", "--limit", "1", "--as-corrections", "mine/corrections.csv")
    assert ended.status == 0
    assert ended.out == (
        "mine/corrections.csv: 2 rows. Write edit, drop or accept into `action`, "
        "and name the file in `corrections` of the source scans.\n"
    )
    with Path("mine/corrections.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["question_id"], row["locator"], row["action"], row["rule"]) for row in rows] == [
        ("shapes/0", "questions.jsonl:1", "", "image_missing"),
        ("shapes/1", "questions.jsonl:2", "", "image_missing"),
    ]


def test_a_corrections_file_that_is_there_stays(call, rejected):
    Path("corrections.csv").write_text("an evening's work")
    ended = call("rejects", "--as-corrections", "corrections.csv")
    assert ended.status == 1
    assert ended.err == (
        "error: `--as-corrections`: corrections.csv is there already. Choose another name, or move it away.\n"
    )
    assert Path("corrections.csv").read_text() == "an evening's work"


def test_a_corrections_file_is_one_source_s(call, project):
    project.declare("two", TWO_SOURCES)
    folder = project.publish("dataset", pipeline="two")
    write_rejects(folder / "rejects", make_reject(source="a"), make_reject(source="b", number=1))
    ended = call("rejects", "--pipeline", "two", "--as-corrections", "c.csv")
    assert ended.status == 1
    assert "the rows are of a and b, but the file belongs to one source. Name it: `--source NAME`." in ended.err
    assert call("rejects", "--pipeline", "two", "--source", "a", "--as-corrections", "c.csv").status == 0


def test_corrections_are_told_as_json_too(call, rejected):
    told = json.loads(call("rejects", "--as-corrections", "c.csv", "--json").out)
    assert told == {"file": "c.csv", "num_rows": 4}
