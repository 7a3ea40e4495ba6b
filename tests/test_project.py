"""Projects: found from anywhere inside, with every pipeline that they declare."""

from __future__ import annotations

import pytest
from declared_project import CLINIC, PYPROJECT, project

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.pipeline import Pipeline, PipelineSettings
from vqa_pipeline.project import choose_pipeline, find_declarations, find_project, load_pipelines

__all__ = ["project"]


def test_a_project_is_found_from_any_folder_below_it(project):
    folder = project.declare().parent
    assert find_project(project.root) == project.root
    assert find_project(folder) == project.root
    assert find_project(folder / "not" / "there") == project.root


def test_the_nearest_project_counts_and_other_packages_are_passed(project):
    inner = project.root / "packages" / "tools"
    inner.mkdir(parents=True)
    (inner / "pyproject.toml").write_text('[project]\nname = "tools"\n')
    assert find_project(inner) == project.root
    (inner / "pyproject.toml").write_text(PYPROJECT)
    assert find_project(inner) == inner


def test_outside_of_a_project_it_says_what_a_project_is(tmp_path):
    with pytest.raises(SettingsError) as error:
        find_project(tmp_path)
    assert str(error.value) == (
        f"`project`: no project at or above {tmp_path}. "
        "Change into a project (its pyproject.toml has a section [tool.dg.project])."
    )


def test_a_pyproject_that_is_not_toml_is_told_by_name_and_line(project):
    (project.root / "pyproject.toml").write_text("[tool.dg\n")
    with pytest.raises(SettingsError, match=r"pyproject\.toml`: is not TOML \(.*line 1.*\)\. Correct the file\."):
        find_project(project.root)


def test_declarations_are_the_files_that_name_the_component(project):
    one, two = project.declare(folder="a/one"), project.declare(folder="b")
    project.declare("type: dagster.DefsFolderComponent\n", folder="other")
    shorter = project.root / "hospital" / "defs" / "c" / "defs.yml"
    shorter.parent.mkdir()
    shorter.write_text(CLINIC)
    (two.parent / "notes.yaml").write_text(CLINIC)
    assert find_declarations(project.root) == [one, two, shorter]


def test_the_package_may_lie_in_src(project):
    project.declare()
    (project.root / "src").mkdir()
    (project.root / "hospital").rename(project.root / "src" / "hospital")
    assert [pipeline.name for pipeline in load_pipelines(project.root)] == ["clinic"]


def test_a_project_may_declare_nothing(project):
    assert load_pipelines(project.root) == []


def test_pipelines_come_in_the_order_of_their_files(project):
    project.declare(CLINIC.replace("name: clinic", "name: late"), folder="b")
    project.declare(CLINIC.replace("name: clinic", "name: early"), folder="a")
    pipelines = load_pipelines(project.root)
    assert [(pipeline.name, pipeline.project_root) for pipeline in pipelines] == [
        ("early", project.root),
        ("late", project.root),
    ]


def test_two_pipelines_of_one_name_are_refused_with_both_places(project):
    first = project.declare(folder="clinic")
    second = project.declare("# a copy\n" + CLINIC, folder="ward")
    with pytest.raises(SettingsError) as error:
        load_pipelines(project.root)
    assert str(error.value) == (
        f"`{second}`: line 4, `name` 'clinic' is the name of another pipeline, declared in {first}. "
        "Give each a name of its own."
    )


def test_the_only_pipeline_needs_no_name_and_of_several_one_is_chosen_by_name(tmp_path):
    settings = PipelineSettings.model_validate({"sources": [{"name": "toys", "format": "shapes"}]})
    one, two = (Pipeline(name, settings, tmp_path) for name in ("one", "two"))
    assert choose_pipeline([one], None) is one
    assert choose_pipeline([one, two], "two") is two
    for pipelines, name, told in [
        ([one, two], None, "`--pipeline`: the project has several pipelines. Name one of: one, two."),
        ([one, two], "three", "`--pipeline`: there is no pipeline three. Pipelines declared: one, two."),
        ([], None, "`--pipeline`: there is no pipeline. Pipelines declared: none."),
    ]:
        with pytest.raises(SettingsError) as error:
            choose_pipeline(pipelines, name)
        assert str(error.value) == told
