"""`vqa-pipeline new`: a declaration filled from the data, in the project or a fresh one, never over what is there."""

from __future__ import annotations

import json

import pytest
from raw_world import write_raw

from vqa_pipeline.project import find_project, load_pipelines


def test_a_pipeline_is_declared_in_the_project(call, project):
    write_raw(project.root / "raw")
    ended = call("new", "ward", "raw")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "hospital/defs/ward/defs.yaml declares the pipeline ward; read it, then:",
        "  vqa-pipeline validate --pipeline ward",
    ]
    clinic, ward = load_pipelines(project.root)
    assert (clinic.name, ward.name) == ("clinic", "ward")
    assert ward.settings.sources[0].files == "raw/scans.csv"
    text = (project.root / "hospital/defs/ward/defs.yaml").read_text()
    assert "    # 20 questions in 1 file\n    - name: raw\n" in text
    assert "max_reject_fraction: 0.01          # more rejected rows than this share and nothing is published" in text


def test_what_was_declared_passes_validation(call, project):
    write_raw(project.root / "raw")
    assert call("new", "ward", "raw").status == 0
    ended = call("validate", "--pipeline", "ward")
    assert ended.status == 0
    assert "Every gate would let it pass." in ended.out


def test_json_names_the_file(call, project):
    write_raw(project.root / "raw")
    file = str(project.root / "hospital/defs/ward/defs.yaml")
    told = json.loads(call("new", "ward", "raw", "--json").out)
    assert told == {"pipeline": "ward", "file": file, "made_project": False}


def test_a_project_is_made_where_there_is_none(call, tmp_path, monkeypatch):
    write_raw(tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    ended = call("new", "ward", "raw")
    assert ended.out.splitlines()[-1] == "  cd ward && vqa-pipeline validate --pipeline ward"
    assert find_project(tmp_path / "ward" / "ward") == tmp_path / "ward"
    [pipeline] = load_pipelines(tmp_path / "ward")
    assert pipeline.settings.sources[0].files == str(tmp_path / "raw" / "scans.csv")
    monkeypatch.chdir(tmp_path / "ward")
    assert call("validate").status == 0


def test_a_declaration_that_is_there_stays(call, project):
    write_raw(project.root / "raw")
    before = (project.root / "hospital/defs/clinic/defs.yaml").read_text()
    ended = call("new", "clinic", "raw")
    assert ended.status == 1
    assert "is there already. Choose another name, or move it away first." in ended.err
    assert (project.root / "hospital/defs/clinic/defs.yaml").read_text() == before


def test_a_folder_that_is_there_is_not_made_a_project(call, tmp_path, monkeypatch):
    write_raw(tmp_path / "raw")
    (tmp_path / "ward").mkdir()
    (tmp_path / "ward" / "thesis.tex").write_text("x")
    monkeypatch.chdir(tmp_path)
    ended = call("new", "ward", "raw")
    assert (ended.status, "is there already" in ended.err) == (1, True)
    assert [path.name for path in (tmp_path / "ward").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("My-Ward", "cannot be the name of a pipeline"),
        ("../x", "cannot be the name"),
        ("json", "installed Python package"),
    ],
)
def test_a_name_that_will_not_do_is_told(call, tmp_path, monkeypatch, name, told):
    write_raw(tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    ended = call("new", name, "raw")
    assert (ended.status, told in ended.err) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_data_that_no_format_knows_makes_nothing(call, project):
    (project.root / "notes.csv").write_text("title,body\na,b\n")
    ended = call("new", "ward", "notes.csv")
    assert ended.status == 1
    assert "no source was recognised in notes.csv. `vqa-pipeline inspect notes.csv` tells" in ended.err
    assert not (project.root / "hospital/defs/ward").exists()
