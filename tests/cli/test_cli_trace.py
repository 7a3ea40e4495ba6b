"""`vqa-pipeline trace`: where an answer came from, for people and for programs."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_world import Project
from colours_world import Runner, write_source
from reporting_world import HOSTILE

from vqa_pipeline.cli.trace import _tell_sureness
from vqa_pipeline.deployment import Deployment
from vqa_pipeline.project import load_pipelines
from vqa_pipeline.schemas import PREDICTIONS
from vqa_pipeline.store import Draft, Store

DECLARATION = """
type: vqa_pipeline.VqaPipeline
attributes:
  name: clinic
  sources:
    - {name: colours, format: table, files: raw/questions.csv, image_root: raw/images,
       columns: {id: id, image: image, question: question, answers: answer}, splits: {column: split}}
  dataset: {max_reject_fraction: 0.5}
  training: {backbone: tiny}
"""


def run(project: Project, change: dict[int, dict[str, str]], until: str = "metrics") -> None:
    (project.root / "hospital" / "defs" / "clinic" / "defs.yaml").write_text(DECLARATION)
    write_source(project.root, change=change)
    [pipeline] = load_pipelines(project.root)
    Runner(pipeline).run(until)


def test_a_question_is_told_from_its_answer_to_its_line(call, project):
    run(project, {})
    ended = call("trace", "colours/17")
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[:3] == ["colours/17  accepted, test", "  question  what colour is it?", "  answers   green"]
    assert lines[3].startswith("  image     17.png (PNG, 33 x 16 pixels; sha256 ")
    [checkpoint] = (project.root / "data" / "store" / "clinic" / "checkpoint" / "versions").iterdir()
    assert lines[5].startswith(f"checkpoint {checkpoint.name} answered")
    assert " answered blue, which earns 0.000" in lines[5]
    assert [line for line in lines if "vocabulary" in line][:2] == [
        "  blue: index 0 of the vocabulary",
        "  green: index 1 of the vocabulary",
    ]
    read = lines.index("question read from colours: questions.csv:19; its file is still what was read")
    assert lines[read + 1].startswith("  raw       {")
    assets = [line.split()[0] for line in lines[read + 4 :]]
    assert assets == ["metrics", "predictions", "checkpoint", "vocabulary", "dataset", "records/colours", "raw/colours"]


def test_who_is_in_use_and_who_saw_another_image_is_told(call, project):
    run(project, {})
    [pipeline] = load_pipelines(project.root)
    store = Store(pipeline.store_folder, pipeline.scratch_folder)
    checkpoint, predictions = store.require("checkpoint"), store.require("predictions")
    Deployment(store).deploy(checkpoint, "card", "promoted", "it is the first")
    file = predictions.path / "predictions.parquet"
    rows = [row for row in pq.read_table(file).to_pylist() if row["variant"] == "model"]
    gone = [{**row, "checkpoint": "other"} for row in rows]
    shuffled = [{**row, "variant": "shuffled_image", "answer": "red"} for row in rows]
    with store.candidate("predictions") as folder:
        pq.write_table(pa.Table.from_pylist([*rows, *gone, *shuffled], PREDICTIONS), folder / file.name)
        told = {name: getattr(predictions.manifest, name) for name in Draft.model_fields}
        store.publish("predictions", folder, Draft(**told))
    assert [line for line in call("trace", "colours/17").out.splitlines() if " answered " in line] == [
        f"checkpoint {checkpoint.manifest.version}, which is in use, answered blue",
        "checkpoint that is gone answered blue",
        f"checkpoint {checkpoint.manifest.version}, which is in use, shown another question's image answered red",
    ]


@pytest.mark.parametrize(("answer", "told"), [({"score": 0.9, "probability": 0.7}, 0.7), ({"score": 0.9}, 0.9)])
def test_an_answer_is_as_sure_as_its_probability_or_without_any_its_score(answer, told):
    assert _tell_sureness(answer) == told


def test_a_rejected_question_is_told_with_reason_and_fix(call, project):
    run(project, {16: {"image": "nowhere.png"}}, "dataset")
    lines = call("trace", "colours/16").out.splitlines()
    assert lines[0] == "colours/16  rejected"
    assert lines[2] == "colours: questions.csv:18  rejected, image_missing"
    assert [line.split()[0] for line in lines[3:6]] == ["why", "fix", "raw"]


def test_a_line_is_told_with_what_it_became(call, project):
    run(project, {16: {"image": "nowhere.png"}}, "dataset")
    accepted, rejected = (
        call("trace", "--source", "raw/questions.csv:19"),
        call("trace", "--source", "questions.csv:18"),
    )
    assert accepted.out.splitlines()[0] == "colours: questions.csv:19  colours/17  question accepted"
    assert rejected.out.splitlines()[0] == "colours: questions.csv:18  colours/16  question rejected, image_missing"
    told = json.loads(call("trace", "--source", "questions.csv:18", "--json").out)
    assert told["source"] == "questions.csv:18"
    assert [(one["fate"], one["rule"], one["file_state"]) for one in told["records"]] == [
        ("rejected", "image_missing", "unchanged")
    ]


def test_json_has_the_whole_trace(call, project):
    run(project, {}, "dataset")
    told = json.loads(call("trace", "colours/17", "--json").out)
    assert (told["question_id"], told["fate"], told["predictions"]) == ("colours/17", "accepted", [])
    assert told["example"]["locator"] == "questions.csv:19"
    assert [one["asset"] for one in told["versions"]] == ["dataset", "records/colours", "raw/colours"]


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_no_row_can_act_on_the_terminal(call, project, as_json):
    hostile = HOSTILE + "\x9b\x07\u2066"
    run(project, {16: {"question": hostile, "answer": hostile}, 17: {"question": hostile, "image": "\x1bx"}})
    for arguments in (("colours/16",), ("colours/17",), ("--source", "questions.csv:18")):
        out = call("trace", *arguments, *as_json).out
        assert "alert(1)" in out
        assert not {"\x1b", "\x9b", "\x07", "\r", "\u202e", "\u2066"} & set(out)


@pytest.mark.parametrize("arguments", [(), ("colours/1", "--source", "a.csv:3")])
def test_one_question_or_one_place_is_asked_for(call, project, arguments):
    ended = call("trace", *arguments)
    assert ended.status == 1
    assert ended.err == (
        "error: `QUESTION_ID`: one question or one place is traced. Name it, or `--source FILE:LINE`.\n"
    )
