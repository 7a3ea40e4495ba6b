"""What is written for a person to go on with: loads as it is, says what it means, spoils nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.declarations import build_pipeline, read_declared
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.project import find_project
from vqa_pipeline.scaffold import check_name, render_declaration, render_source, write_new, write_project

REPOSITORY = Path(__file__).parents[1]


def test_a_source_is_a_line_for_each_setting_between_comments():
    settings = {"name": "scans", "format": "table", "files": ["a.csv", "b c.csv"], "columns": {"answers": None}}
    assert render_source(settings, ["20 questions"], ["delimiter: a character"]) == (
        "# 20 questions\n"
        "- name: scans\n"
        "  format: table\n"
        "  files: [a.csv, b c.csv]\n"
        "  columns: {answers: null}\n"
        "  # delimiter: a character\n"
    )


def test_a_comment_stays_a_comment():
    assert render_source({"name": "a"}, ["one\ntype: evil\x1b"]) == "# one type: evil\\x1b\n- name: a\n"


VALUES = st.recursive(
    st.text() | st.none() | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(st.dictionaries(st.sampled_from(["name", "files", "columns"]), VALUES, min_size=1))
def test_any_text_is_read_back_as_it_was_written(settings):
    """But for what would be a template, which `test_a_path_is_never_a_template` is about."""
    text = render_source(settings)
    assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}
    [back] = yaml.safe_load(text)
    assert back == settings or "{{" in repr(settings)


def test_a_path_is_never_a_template(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "told")
    name = "{{ env('SECRET') }} {% raw %} {# a #}.csv"
    sources = render_source({"name": "a", "format": "table", "files": name})
    (tmp_path / "defs.yaml").write_text(render_declaration("ward", sources))
    [(declaration, attributes)] = read_declared(tmp_path / "defs.yaml")
    assert build_pipeline(attributes, declaration, tmp_path).settings.sources[0].files == name


def test_a_fresh_project_is_one_and_shares_this_ones_instance_settings(tmp_path):
    write_project(tmp_path / "ward", "ward")
    assert find_project(tmp_path / "ward") == tmp_path / "ward"
    written = sorted(path.relative_to(tmp_path / "ward").as_posix() for path in (tmp_path / "ward").rglob("*.*"))
    assert written == [".gitignore", "dagster.yaml", "pyproject.toml", "ward/__init__.py", "ward/definitions.py"]
    fresh = yaml.safe_load((tmp_path / "ward" / "dagster.yaml").read_text())
    ours = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())
    assert fresh == {key: value for key, value in ours.items() if key in fresh}
    assert fresh["telemetry"] == {"enabled": False}


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "defs.yaml").write_text("mine")
    with pytest.raises(SettingsError, match="is there already"):
        write_new(tmp_path / "defs.yaml", "other")
    with pytest.raises(SettingsError, match="is there already"):
        write_project(tmp_path, "ward")
    assert (tmp_path / "defs.yaml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["defs.yaml"]


@pytest.mark.parametrize("name", ["", "Ward", "1st", "a-b", "a/b", "..", "a b"])
def test_names_of_other_characters_are_refused(name):
    with pytest.raises(SettingsError, match="cannot be the name of a pipeline"):
        check_name(name)
