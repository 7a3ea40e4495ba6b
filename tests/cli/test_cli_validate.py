"""`vqa-pipeline validate`: the whole account without publishing; it fails where a gate would."""

from __future__ import annotations

import json

from raw_world import write_raw


def test_a_clean_source_passes(call, project):
    write_raw(project.root / "raw")
    ended = call("validate")
    assert ended.status == 0
    assert ended.out.splitlines() == [
        "clinic: read, validated and joined; nothing was published",
        "",
        "source  rows  accepted  duplicate  rejected  excluded",
        "scans     20        20          0         0         0",
        "",
        "Every gate would let it pass.",
        f"The rows by rule: {json.loads(call('validate', '--json').out)['path']}/page.html",
    ]
    assert not (project.root / "data" / "store").exists()


def test_a_gate_that_would_fail_is_named_and_the_status_says_so(call, project):
    write_raw(project.root / "raw", change={3: {"question": ""}, 8: {"image": "lost.png"}})
    ended = call("validate")
    assert ended.status == 1
    lines = ended.out.splitlines()
    assert "scans     20        18          0         2         0" in lines
    place = lines.index("rejected, question_empty: 1")
    assert lines[place + 1 : place + 4] == [
        "  such as  scans: scans.csv:5: the question is empty",
        "  fix      Write the question, or remove the row.",
        '  raw      {"image": "3.png", "question": "", "answer": "yellow", "split": "val"}',
    ]
    assert any(line.startswith("would not be published (reject_fraction): 2 of 20 rows") for line in lines)
    assert not (project.root / "data" / "store").exists()


TWO_SOURCES = """
type: vqa_pipeline.VqaPipeline
attributes:
  name: {name}
  sources:
    - &one {{name: one, format: table, files: raw/scans.csv, image_root: raw/images,
       columns: {{image: image, question: question, answers: answer}}, splits: train}}
    - {{<<: *one, name: two}}
"""


def test_the_rows_of_a_rule_are_told_by_source(call, project):
    project.declare("two", TWO_SOURCES)
    write_raw(project.root / "raw", change={3: {"question": ""}, 4: {"question": " "}})
    lines = call("validate", "--pipeline", "two").out.splitlines()
    assert "one            20        18          0         2         0" in lines
    assert "all sources    40        18         18         4         0" in lines
    assert "rejected, question_empty: 4 (one 2, two 2)" in lines
    assert "duplicate, duplicate_question: 18" in lines


def test_json_has_ledger_rules_and_checks(call, project):
    write_raw(project.root / "raw", change={3: {"question": ""}})
    ended = call("validate", "--json")
    told = json.loads(ended.out)
    assert (ended.status, told["would_publish"], told["pipeline"]) == (1, False, "clinic")
    assert told["ledger"]["sources"]["scans"]["fates"]["rejected"] == {"question_empty": 1}
    assert [(group["rule"], group["count"]) for group in told["rejects"]] == [("question_empty", 1)]
    failed = [check["name"] for check in told["checks"] if check["blocking"] and not check["passed"]]
    assert failed == ["reject_fraction"]


def test_a_published_dataset_stays_as_it_is(call, project):
    write_raw(project.root / "raw")
    folder = project.publish("dataset")
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    assert call("validate").status == 0
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before


def test_a_second_look_sees_what_was_mended(call, project):
    write_raw(project.root / "raw", change={3: {"question": ""}})
    assert call("validate").status == 1
    write_raw(project.root / "raw")
    assert call("validate").status == 0


def test_a_source_that_cannot_be_read_is_told_in_a_line(call, project):
    ended = call("validate")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: source 'scans', `files`: ")
    assert "no such file" in ended.err
    assert ended.err.count("\n") == 1


def test_no_row_can_act_on_the_terminal(call, project):
    write_raw(project.root / "raw", change={3: {"question": "", "answer": "\x1b[31m\u202e"}})
    ended = call("validate")
    assert not {"\x1b", "\u202e"} & set(ended.out)
