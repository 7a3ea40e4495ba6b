"""`vqa-pipeline inspect`: told for people, as data for programs, and safe to look at."""

from __future__ import annotations

import json

import pytest
import yaml
from raw_world import write_raw
from reporting_world import HOSTILE

from vqa_pipeline.pipeline import PipelineSettings


def test_a_folder_is_told_in_a_screen(call, project):
    write_raw(project.root / "raw", change={3: {"question": ""}, 7: {"image": "lost.png"}})
    ended = call("inspect", "raw")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        f"{project.root}/raw: 1 file, 20 images",
        "",
        "raw: format table, guessed by the names of its columns",
        "  rows      20 questions in 1 file, 0.0 MB",
        "  images    18 of 19 looked for are there in raw/images (95%)",
        "  first rows",
        "    question            answers  image  split",
        "    what colour is it?  red      0.png  train",
        "    what colour is it?  green    1.png  train",
        "    what colour is it?  blue     2.png  train",
        "  problems to expect",
        "    question_empty: 1 of 20 records looked at",
        "      such as  scans.csv:5: the question is empty",
        "      fix      Write the question, or remove the row.",
        '      raw      {"image": "3.png", "question": "", "answer": "yellow", "split": "val"}',
        "    image_missing: 1 of 19 images looked at",
        "      such as  lost.png: there is no lost.png in the image root",
        "      fix      Bring the file, or correct the reference.",
        "",
        "To paste under `attributes:` of a defs.yaml (`vqa-pipeline new NAME PATH` writes a whole one):",
        "",
        "sources:",
        "  # 20 questions in 1 file",
        "  - name: raw",
        "    format: table",
        "    files: raw/scans.csv",
        "    image_root: raw/images",
        "    columns: {question: question, image: image, answers: answer}",
        "    splits: {column: split}",
        "",
        "This looked at beginnings. `vqa-pipeline validate` reads it all, joins it, and publishes nothing.",
    ]


def test_json_has_it_all_and_the_block_is_a_declaration(call, project):
    write_raw(project.root / "raw")
    told = json.loads(call("inspect", "raw", "--json").out)
    [source] = told["sources"]
    assert source["num_questions"] == {"value": 20, "basis": "counted"}
    assert source["images"] == {"image_root": "raw/images", "looked_for": 20, "found": 20, "missing": []}
    settings = PipelineSettings.model_validate(yaml.safe_load(told["block"]))
    assert settings.sources[0].model_dump(mode="json", exclude_unset=True) == source["settings"]


def test_a_folder_outside_of_any_project_is_told_too(call, tmp_path, monkeypatch):
    write_raw(tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    assert "    files: raw/scans.csv" in call("inspect", "raw/scans.csv").out.splitlines()


def test_what_no_format_knows_is_told_with_a_table_to_fill_in(call, project):
    (project.root / "notes.csv").write_text("title,body\na,b\n")
    out = call("inspect", "notes.csv").out
    assert "  notes.csv: a table with title, body; no format is known for it" in out.splitlines()
    assert "    columns: {question: FIELD, image: FIELD, answers: FIELD}" in out.splitlines()


def test_where_there_are_no_questions_it_says_what_a_source_is(call, project):
    (project.root / "raw").mkdir()
    assert "No questions were found. A source is JSON, " in call("inspect", "raw").out


def test_nothing_at_the_path_is_told_in_a_line(call, project):
    ended = call("inspect", "nowhere")
    assert (ended.status, ended.out) == (1, "")
    told = f"error: `PATH`: there is no {project.root}/nowhere. Name a file or folder that is there.\n"
    assert ended.err == told


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_nothing_in_the_data_acts_on_the_terminal(call, project, as_json):
    hostile = HOSTILE + "\x9b\x07\u2066"
    rows = [{hostile: hostile, "image": f"{hostile}.png", "question": hostile, "answer": hostile}]
    rows += [{"image": "", "question": " ", "answer": hostile, hostile: hostile}]
    folder = project.root / "raw\u202e"
    folder.mkdir()
    (folder / "rows\x1b[31m.json").write_text(json.dumps(rows))
    (folder / "other\x9b.json").write_text(json.dumps([{hostile: 1}]))
    ended = call("inspect", str(folder), *as_json)
    assert ended.status == 0
    assert "alert(1)" in ended.out
    assert not {"\x1b", "\x9b", "\x07", "\r", "\u202e", "\u2066"} & set(ended.out)
