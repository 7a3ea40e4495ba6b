"""Declarations: read as Dagster reads them, mistakes told by line and setting with what is allowed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox
from declared_project import CLINIC, project
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.declarations import Declaration, build_pipeline
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.orchestration.component import VqaPipeline
from vqa_pipeline.pipeline import Pipeline, PipelineSettings
from vqa_pipeline.project import load_pipelines, read_pipelines
from vqa_pipeline.sources.formats import FORMATS
from vqa_pipeline.sources.formats.shapes import ShapesSource

__all__ = ["project"]
REPOSITORY = Path(__file__).parents[1]


# --------------------------------------------------------------------------------------------------------- declarations


def test_a_declaration_becomes_a_pipeline_in_its_project(project):
    pipeline = project.read()
    assert (pipeline.name, pipeline.project_root) == ("clinic", project.root)
    assert [source.name for source in pipeline.settings.sources] == ["toys", "scans"]
    assert pipeline.settings.training.epochs == 3
    assert pipeline.settings.training.batch_size == 64


def test_the_name_defaults_to_the_folder_s(project):
    assert project.read("  name: clinic\n", "").name == "clinic"


def test_a_folder_whose_name_will_not_do_asks_for_one(project):
    file = project.declare(CLINIC.replace("  name: clinic\n", ""), folder="My-Clinic")
    with pytest.raises(SettingsError) as error:
        read_pipelines(file, project.root)
    assert "line 2, `name` is missing, and the folder's name, 'My-Clinic', will not do" in str(error.value)


def test_several_documents_of_one_file_are_several_pipelines(project):
    other = "---\ntype: dagster.DefsFolderComponent\nattributes: {whatever: 1}\n---\n---\n- a list\n---\n"
    file = project.declare(CLINIC + other + CLINIC.replace("name: clinic", "name: ward"))
    assert [pipeline.name for pipeline in read_pipelines(file, project.root)] == ["clinic", "ward"]


def test_a_mistake_in_a_later_document_is_told_with_its_own_line(project):
    file = project.declare(CLINIC + "---\n" + CLINIC.replace("epochs: 3", "epochs: 0"))
    with pytest.raises(SettingsError, match="line 23, `training.epochs` should be greater than or equal to 1, not 0"):
        read_pipelines(file, project.root)


@pytest.mark.parametrize("text", ["", "# type: vqa_pipeline.VqaPipeline\n", "type: other.Component\n", "just text\n"])
def test_a_file_without_a_pipeline_says_how_one_begins(project, text):
    file = project.declare(text)
    with pytest.raises(SettingsError) as error:
        read_pipelines(file, project.root)
    told = f"`{file}`: declares no pipeline. A pipeline begins with `type: vqa_pipeline.VqaPipeline`."
    assert str(error.value) == told
    assert load_pipelines(project.root) == []


def test_a_file_that_cannot_be_read_is_told_by_name(project):
    for path, reason in [(project.root / "nope.yaml", "No such file or directory"), (project.root, "Is a directory")]:
        with pytest.raises(SettingsError) as error:
            read_pipelines(path, project.root)
        assert str(error.value) == f"`{path}`: cannot be read ({reason}). Check the path and its rights."


def test_a_file_that_is_not_utf_8_is_told_by_name(project):
    file = project.declare()
    file.write_bytes(CLINIC.replace("name: clinic", "name: cliniqu\u00e9").encode("latin-1"))
    for read in (lambda: read_pipelines(file, project.root), lambda: load_pipelines(project.root)):
        with pytest.raises(SettingsError, match=r"defs\.yaml`: is not UTF-8 \(.*\)\. Save the file as UTF-8\."):
            read()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "epochs: 3",
            "epochs: [3",
            "line 12, column 1: is not YAML (expected ',' or ']', but got '<stream end>', while parsing a flow sequence from line 11 on)",
        ),
        (
            "    epochs",
            "\tepochs",
            "line 11, column 1: is not YAML (found character '\\t' that cannot start any token)",
        ),
        ("epochs: 3", "epochs: *three", "line 11, column 13: is not YAML (found undefined alias 'three')"),
        (
            "    epochs: 3",
            "    ? [epochs]\n    : 3",
            "line 11, column 7: is not YAML (found unhashable key, while constructing a mapping from line 11 on)",
        ),
        ("epochs: 3", "epochs: !!int three", "is not YAML (invalid literal for int() with base 10: 'three')"),
        ("name: clinic", "name: \x00", "is not YAML (unacceptable character"),
        ("epochs: 3", "epochs: !!python/object:os.getcwd {}", "line 11, column 13: is not YAML (could not determine"),
    ],
)
def test_what_is_not_yaml_is_told_with_its_line(project, old, new, told):
    assert project.refuse(old, new).startswith(told)


FORMAT_NAMES = ", ".join(map(repr, sorted(FORMATS)))
SHAPES = ", ".join(ShapesSource.model_fields)
TRAINING = ", ".join(PipelineSettings.model_fields["training"].annotation.model_fields)
SECTIONS = ", ".join(PipelineSettings.model_fields)
CRON = "write 0 to 59, a range such as 1-5, *, or every second as */2; several are separated by commas"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        # unknown
        ("epochs: 3", "epoch: 3", f"line 11, `training.epoch` is no setting here (did you mean epochs?); there are {TRAINING}"),
        ("  training", "  xyz: 1\n  training", f"line 10, `xyz` is no setting here; there are {SECTIONS}"),
        (
            "images: 20",
            "files: a.csv",
            f"line 7, `sources.0.files` is no setting here; there are {SHAPES}",
        ),
        # wrong kind
        (
            "epochs: 3",
            "epochs: many",
            "line 11, `training.epochs` should be a valid integer, unable to parse string as an integer, not 'many'",
        ),
        ("name: toys", "name: 7", "line 5, `sources.0.name` should be a valid string, not 7"),
        ("name: clinic", "store:", "line 3, `store` should be a valid string, not null"),
        ("files: raw/*.csv", "files: 3", "line 9, `sources.1.files` should be a valid string or a list, not 3"),
        (
            "    epochs: 3",
            "    - 3",
            f"line 10, `training` should be a section of {TRAINING}",
        ),
        # out of range
        ("epochs: 3", "epochs: 0", "line 11, `training.epochs` should be greater than or equal to 1, not 0"),
        ("images: 20", "images: 15", "line 7, `sources.0.images` should be greater than or equal to 16, not 15"),
        ("name: clinic", "name: My clinic", "line 3, `name` should match pattern '^[a-z][a-z0-9_]*$', not 'My clinic'"),
        # none of the choices
        ("epochs: 3", "strategy: all", "line 11, `training.strategy` should be 'head', 'last_layers', 'projection', 'lora' or 'full', not 'all'"),
        (
            "format: shapes",
            "format: shape",
            f"line 6, `sources.0.format` should be one of {FORMAT_NAMES}, not 'shape'",
        ),
        (
            "      format: shapes\n",
            "",
            f"line 5, `sources.0.format` is missing; it should be one of {FORMAT_NAMES}",
        ),
        (
            "  training",
            "  retrain: nightly\n  training",
            "line 10, `retrain` should be 'manual' or 'on_change' or a section of cron, timezone, not 'nightly'",
        ),
        (
            "files: raw/*.csv",
            "files: raw/*.csv, splits: declared",
            "line 9, `sources.1.splits` should be 'by_image', 'train', 'val' or 'test' or a section of list or a section of column, not 'declared'",
        ),
        # missing
        (
            "files: raw/*.csv",
            "image_root: raw",
            "line 8, `sources.1.files` is missing: Files, folders, archives or globs, relative to the project; `train.zip!/*.json` names members of an archive",
        ),
        ("  training:\n    epochs: 3\n", "  retrain: {}\n", "line 10, `retrain.cron` is missing: Five cron fields: minute, hour, day of month, month, day of week"),
        # by the rules of a setting of its own
        ("  training", "  retrain: {cron: 99 2 * * *}\n  training", f"line 10, `retrain.cron` is wrong: '99' is no minute: {CRON}"),
        (
            "  training",
            "  dataset:\n    split_fractions: {train: 1}\n  training",
            "line 11, `dataset.split_fractions` is wrong: train + val + test must be 1, not 1.2",
        ),
        (
            "name: scans",
            "name: toys",
            "line 4, `sources` is wrong: two sources are called toys; every source needs a name of its own",
        ),
        # written twice
        ("epochs: 3", "epochs: 3\n    epochs: 4", "line 12, `training.epochs` is written twice, in line 11 too"),
        ("attributes:", "type: vqa_pipeline.VqaPipeline\nattributes:", "line 2, `type` is written twice, in line 1 too"),
        # no settings at all
        ("  training:\n    epochs: 3\n", "  sources: 3\n", "line 10, `sources` is written twice, in line 4 too"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_line_setting_and_what_is_allowed(project, old, new, told):
    assert project.refuse(old, new) == told


def test_every_mistake_of_a_file_is_told_at_once(project):
    told = project.refuse(
        "epochs: 3", "epochs: 0", "images: 20", "image: 20", "  sources:", "  colour: red\n  sources:"
    )
    assert [part.partition("` ")[0] for part in told.split("; line ")] == [
        "line 8, `sources.0.image",
        "12, `training.epochs",
        "4, `colour",
    ]


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ("", "line 1, `sources` is missing: Where questions come from"),
        (" [1]", "line 2, `attributes` should be settings"),
    ],
)
def test_a_pipeline_without_settings_is_told_so(project, attributes, told):
    with pytest.raises(SettingsError) as error:
        read_pipelines(project.declare(f"type: vqa_pipeline.VqaPipeline\nattributes:{attributes}\n"), project.root)
    assert told.replace("line 1", "line 2") in str(error.value)


def test_what_an_anchor_shares_is_no_repetition_and_its_mistakes_have_lines(project):
    shared = "- &toys\n      name: toys"
    again = "    - {<<: *toys, name: more_toys}\n  training"
    pipeline = project.read("- name: toys", shared, "  training", again)
    assert [source.name for source in pipeline.settings.sources] == ["toys", "scans", "more_toys"]
    told = project.refuse("- name: toys", shared, "  training", again, "images: 20", "images: 1")
    assert told.startswith(
        "line 8, `sources.0.images` should be greater than or equal to 16, not 1; line 8, `sources.2.im"
    )


def test_a_section_that_contains_itself_ends(project):
    assert "`sources.0.self` is no setting" in project.refuse(
        "- name: toys", "- &toys\n      self: *toys\n      name: toys"
    )


def test_a_date_is_a_text_as_it_is_for_dagster(project):
    assert project.read("name: clinic", "store: 2026-02-03").settings.store == "2026-02-03"
    assert project.read("name: clinic", "store: 2026-02-30").settings.store == "2026-02-30"


def test_attributes_without_a_file_are_judged_without_lines(tmp_path):
    with pytest.raises(SettingsError) as error:
        build_pipeline(
            {"sources": [{"name": "toys", "format": "shape"}]}, Declaration(tmp_path / "defs.yaml"), tmp_path
        )
    assert ": `sources.0.format` should be one of" in str(error.value)


# ------------------------------------------------------------------------------------------------------------ templates


def test_texts_may_come_from_the_environment(project, monkeypatch):
    monkeypatch.setenv("CLINIC_STORE", "/mnt/store")
    monkeypatch.setenv("CLINIC_RAW", "raw files")
    pipeline = project.read(
        "name: clinic",
        "store: \"{{ env('CLINIC_STORE', 'data/store') }}\"\n  scratch: \"{{ env('CLINIC_SCRATCH', 'tmp') }}/x\"",
        "files: raw/*.csv",
        "files: [\"{{ env('CLINIC_RAW') }}/*.csv\", b.csv]",
    )
    assert (pipeline.settings.store, pipeline.settings.scratch) == ("/mnt/store", "tmp/x")
    assert pipeline.source("scans").files == ("raw files/*.csv", "b.csv")


@pytest.mark.parametrize("value", ["2026", "[1, 2]", "None", "0x1f", "{{ env('A') }}", "a\n"])
def test_a_value_of_the_environment_stays_the_text_it_is(project, monkeypatch, value):
    monkeypatch.setenv("CLINIC_STORE", value)
    assert project.read("name: clinic", "store: \"{{ env('CLINIC_STORE') }}\"").settings.store == value


FIX = "Write {{ env('NAME', 'default') }}; without a default, NAME must be set"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ env('CLINIC_UNSET') }}", "the environment variable CLINIC_UNSET is not set"),
        ("{{ envv('CLINIC') }}", "'envv' is undefined"),
        ("{{ clinic }}", "'clinic' is undefined"),
        ("{{ env.CLINIC }}", "'function object' has no attribute 'CLINIC'"),
        ("{{ env(", "unexpected 'end of template'"),
        ("{{ 1/0 }}", "division by zero"),
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ env.__globals__['os'].getcwd() }}", "access to attribute '__globals__' of 'function' object is unsafe"),
        ("{{ env.__call__.__self__ }}", "access to attribute '__call__' of 'function' object is unsafe"),
        ("{{ self.__init__.__globals__ }}", "access to attribute '__init__' of 'TemplateReference' object is unsafe"),
    ],
)
def test_a_template_that_cannot_be_rendered_is_told_and_runs_nothing(project, monkeypatch, template, reason):
    monkeypatch.delenv("CLINIC_UNSET", raising=False)
    told = project.refuse("name: clinic", "store: " + yaml.safe_dump(template, width=1000).strip())
    assert told == f"line 3, `store` {template!r} cannot be rendered ({reason}). {FIX}"


def test_format_in_a_template_reaches_nothing_either(project):
    assert "is unsafe" in project.refuse("name: clinic", "store: \"{{ '{0.__class__}'.format(env) }}\"")


def test_a_rendered_value_is_judged_where_it_stands(project, monkeypatch):
    monkeypatch.setenv("CLINIC_RAW", " ")
    told = project.refuse("files: raw/*.csv", "files: \"{{ env('CLINIC_RAW') }}\"")
    assert told.startswith("line 9, `sources.1.files` is wrong: must be a path or ")


def test_only_texts_are_templates(project):
    """As Dagster's schema has it: it judges what is written, before anything is rendered."""
    told = project.refuse("epochs: 3", "epochs: \"{{ env('EPOCHS', 3) }}\"")
    assert told.startswith("line 11, `training.epochs` should be a valid integer")


# ---------------------------------------------------------------------------------------------------- whatever is written


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 99) | st.floats() | st.text(alphabet="ab{}%'é* \n", max_size=6)
    | st.sampled_from(["shapes", "table", "manual", "by_image", "raw/*.csv", "0 2 * * *", "{{ env('HOME') }}", "{{ x }}"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["name", "format", "files", "splits", "column", "cron", "epochs", "table", "x"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@given(section=st.sampled_from([*PipelineSettings.model_fields, "x"]), value=VALUES)
def test_whatever_is_written_is_a_pipeline_or_a_mistake_with_its_line(tmp_path_factory, section, value):
    root = tmp_path_factory.getbasetemp() / "fuzz"
    root.mkdir(exist_ok=True)
    written: dict[str, Any] = {"name": "clinic", "sources": [{"name": "toys", "format": "shapes"}], section: value}
    file = root / "defs.yaml"
    file.write_text(yaml.safe_dump({"type": "vqa_pipeline.VqaPipeline", "attributes": written}))
    try:
        [pipeline] = read_pipelines(file, root)
    except SettingsError as error:
        assert f"`{file}`: line " in str(error)
        assert f"`{section}" in str(error)
    else:
        assert isinstance(pipeline, Pipeline)


# -------------------------------------------------------------------------------------------------- as Dagster reads it


def read_with_dagster(text: str, folder: str = "clinic") -> list[Pipeline]:
    """What the component loader makes of a file."""
    with create_defs_folder_sandbox() as sandbox:
        file = sandbox.defs_folder_path / folder / "defs.yaml"
        file.parent.mkdir()
        file.write_text(text)
        with sandbox.build_component_tree() as tree:
            return [component.pipeline for component in tree.get_all_components(VqaPipeline)]


DECLARED = {
    "demo": REPOSITORY / "vqa_pipeline" / "defs" / "demo" / "defs.yaml",
    "easy_vqa": REPOSITORY / "examples" / "easy_vqa" / "defs.yaml",
    "vqa_v2": REPOSITORY / "examples" / "vqa_v2" / "defs.yaml",
}


@pytest.mark.parametrize("name", DECLARED)
def test_dagster_and_the_commands_read_the_same(tmp_path, monkeypatch, name):
    monkeypatch.setenv("EASY_VQA", str(tmp_path / "easy"))
    monkeypatch.setenv("VQA_V2_SUBSET", str(tmp_path / "official"))
    monkeypatch.setenv("VQA_STORE", "elsewhere/2026")
    [pipeline] = read_pipelines(DECLARED[name], REPOSITORY)
    [loaded] = read_with_dagster(DECLARED[name].read_text())
    assert pipeline.name == loaded.name == name
    assert pipeline.settings == loaded.settings
    assert "env(" not in pipeline.settings.model_dump_json()


def test_dagster_and_the_commands_read_several_documents_the_same(project):
    text = CLINIC.replace("  name: clinic\n", "") + "---\n" + CLINIC.replace("name: clinic", "name: ward")
    pipelines = read_pipelines(project.declare(text), project.root)
    assert [(one.name, one.settings) for one in pipelines] == [
        (one.name, one.settings) for one in read_with_dagster(text)
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epochs: 3", "epoch: 3"),
        ("format: shapes", "format: shape"),
        ("epochs: 3", "epochs: 3\n    epochs: 3"),
        ("name: clinic", "store: \"{{ env('CLINIC_UNSET') }}\""),
    ],
)
def test_dagster_and_the_commands_tell_a_mistake_in_the_same_words(project, old, new):
    ward = CLINIC.replace("name: clinic", "name: ward\n\n")
    text = f"{ward}---\n{CLINIC.replace(old, new)}"
    with pytest.raises(SettingsError) as told:
        read_pipelines(project.declare(text), project.root)
    with pytest.raises(Exception, match=r"defs\.yaml\[1\] \(VqaPipeline\) \(error\)") as by_dagster:
        read_with_dagster(text)
    cause = by_dagster.value.__cause__
    assert isinstance(cause, SettingsError)
    assert cause.reason == told.value.reason
    assert cause.setting.endswith("/defs/clinic/defs.yaml")
    assert "line " in cause.reason


def test_reading_declarations_loads_neither_dagster_nor_torch_nor_pandas(project):
    project.declare()
    code = textwrap.dedent("""\
        import sys; from pathlib import Path; from vqa_pipeline.project import find_project, load_pipelines
        print([pipeline.name for pipeline in load_pipelines(find_project(Path.cwd()))])
        print(sorted({'dagster', 'torch', 'transformers', 'pandas', 'polars'} & set(sys.modules)))
        """)
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True, cwd=project.root)
    assert done.stdout == "['clinic']\n[]\n"
