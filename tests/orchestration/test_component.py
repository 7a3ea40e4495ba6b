"""The component: a defs.yaml becomes a graph, and the scaffolded one works and tells the truth about itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.component_scaffolding import scaffold_object
from dagster.components.testing import create_defs_folder_sandbox

from vqa_pipeline.definitions import defs
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.orchestration.component import VqaPipeline
from vqa_pipeline.pipeline import PipelineSettings
from vqa_pipeline.project import load_pipelines, read_pipelines
from vqa_pipeline.scaffold import render_declaration

TYPE = "vqa_pipeline.VqaPipeline"
TWO_SOURCES = """\
type: vqa_pipeline.VqaPipeline
attributes:
  sources:
    - {name: toys, format: shapes}
    - {name: scans, format: table, files: raw/*.csv}
"""
STAGES = ("dataset", "vocabulary", "checkpoint", "predictions", "metrics", "champion", "training_curve")


def load(text: str, folder: str = "clinic") -> dict[str, set[str]]:
    """The graph of a project with one file: parents by asset."""
    with create_defs_folder_sandbox() as sandbox:
        file = sandbox.defs_folder_path / folder / "defs.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
        with sandbox.build_all_defs() as definitions:
            graph = definitions.resolve_asset_graph()
            return {
                key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
                for key in graph.get_all_asset_keys()
            }


def scaffold(folder: Path, *, append: bool = False, scaffold_format: str = "yaml") -> Path:
    """As `dg scaffold defs vqa_pipeline.VqaPipeline`; returns the file."""
    file = folder / "defs.yaml"
    scaffold_object(file if append else folder, TYPE, None, scaffold_format, folder.parent, append=append)
    return file


# --------------------------------------------------------------------------------------------------------------- loading


def test_a_file_becomes_a_graph_in_which_every_source_meets_in_the_dataset():
    assert load("# two sources\n" + TWO_SOURCES.replace("sources:", "name: ward\n  sources:")) == {
        "ward/raw/toys": set(),
        "ward/raw/scans": set(),
        "ward/records/toys": {"ward/raw/toys"},
        "ward/records/scans": {"ward/raw/scans"},
        "ward/dataset": {"ward/raw/toys", "ward/raw/scans", "ward/records/toys", "ward/records/scans"},
        "ward/vocabulary": {"ward/dataset"},
        "ward/checkpoint": {"ward/dataset", "ward/vocabulary"},
        "ward/predictions": {"ward/dataset", "ward/checkpoint"},
        "ward/metrics": {"ward/dataset", "ward/predictions"},
        "ward/champion": {"ward/dataset", "ward/checkpoint", "ward/predictions", "ward/metrics"},
        "ward/training_curve": {"ward/checkpoint"},
    }


@pytest.mark.parametrize("folder", ["clinic", "departments/clinic", "ward.d/clinic"])
def test_the_name_defaults_to_the_innermost_folder_s(folder):
    assert {key.split("/")[0] for key in load(TWO_SOURCES, folder)} == {"clinic"}


def test_a_pipeline_may_be_declared_in_python_too():
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.defs_folder_path / "ward"
        folder.mkdir()
        (folder / "component.py").write_text(
            "import dagster as dg\nfrom vqa_pipeline import VqaPipeline\n"
            "@dg.component_instance\ndef ward(context):\n"
            "    attributes = {'name': 'ward', 'sources': [{'name': 'toys', 'format': 'shapes'}]}\n"
            "    return VqaPipeline.from_attributes_dict(attributes=attributes, context=context)\n"
        )
        with sandbox.build_all_defs() as definitions:
            keys = {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}
    assert keys == {"ward/raw/toys", "ward/records/toys", *(f"ward/{stage}" for stage in STAGES)}


def test_a_mistake_in_python_is_told_without_a_line():
    with pytest.raises(SettingsError, match=r"`: `sources\.0\.image` is no setting here \(did you mean images\?\)"):
        VqaPipeline.from_attributes_dict(attributes={"sources": [{"name": "a", "format": "shapes", "image": 3}]})


def test_a_pipeline_lives_in_the_project_that_declares_it():
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(VqaPipeline, "clinic", defs_yaml_contents=yaml.safe_load(TWO_SOURCES))
        with sandbox.load_component_and_build_defs(path) as (component, _):
            assert component.pipeline.store_folder == sandbox.project_root / "data" / "store" / "clinic"


def test_editors_and_dagster_s_page_get_the_schema_of_the_settings():
    schema = VqaPipeline.get_model_cls().model_json_schema()
    assert schema == PipelineSettings.model_json_schema()
    assert schema["properties"]["sources"]["items"]["required"] == ["format"], "a wrong format is told by name"
    spec = VqaPipeline.get_spec()
    assert spec.description == VqaPipeline.__doc__
    assert spec.tags == ["vqa", "vilt", "training"]


def test_the_definitions_have_every_pipeline_of_the_project_and_a_readable_console():
    definitions = defs()
    [demo] = load_pipelines(Path(__file__).parents[2])
    names = {key.path[0] for key in definitions.resolve_asset_graph().get_all_asset_keys()}
    assert names == {demo.name} == {"demo"}
    assert set(definitions.loggers) == {"console"}


# -------------------------------------------------------------------------------------------------------------- scaffold


def test_the_scaffolded_file_works_as_it_is(tmp_path):
    file = scaffold(tmp_path / "clinic")
    text = file.read_text()
    assert text.startswith("# A VQA pipeline: ")
    assert "vqa-pipeline run --pipeline clinic" in text
    assert set(load(text, "anywhere")) == {
        "clinic/raw/shapes",
        "clinic/records/shapes",
        *(f"clinic/{stage}" for stage in STAGES),
    }
    [pipeline] = read_pipelines(file, tmp_path)
    assert pipeline.settings.training.backbone == "tiny", "nothing is downloaded"


def test_the_sources_that_are_commented_out_are_right_too(tmp_path):
    file = scaffold(tmp_path / "clinic")
    file.write_text(re.sub(r"^    # (- |  )", r"    \1", file.read_text(), flags=re.MULTILINE))
    [pipeline] = read_pipelines(file, tmp_path)
    formats = [(source.name, source.format) for source in pipeline.settings.sources]
    assert formats == [("shapes", "shapes"), ("mine", "table"), ("vqa", "vqa_v2")]


def find_leaves(value: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from find_leaves(item, (*keys, key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from find_leaves(item, (*keys, number))
    else:
        yield keys, value


def find_line(text: str, keys: tuple[str | int, ...]) -> str:
    node = yaml.compose(text, yaml.SafeLoader)
    for key in ("attributes", *keys):
        children = node.value if isinstance(key, int) else {name.value: value for name, value in node.value}
        node = children[key]
    return text.splitlines()[node.start_mark.line]


def test_the_values_shown_are_the_defaults_unless_their_comment_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("VQA_STORE", raising=False)
    text = render_declaration("clinic")
    [shown] = read_pipelines(scaffold(tmp_path / "clinic"), tmp_path)
    source = {"name": "shapes", "format": "shapes"}
    defaults = PipelineSettings.model_validate({"name": "clinic", "sources": [source]}).model_dump(mode="json")
    default_of = dict(find_leaves(defaults))
    value_of = dict(find_leaves(shown.settings.model_dump(mode="json")))
    written = dict(find_leaves(yaml.safe_load(text)["attributes"]))
    assert set(written) <= set(default_of)
    others = {keys: default_of[keys] for keys in written if value_of[keys] != default_of[keys]}
    assert set(others) == {
        ("sources", 0, "images"),
        ("sources", 0, "broken_rows"),
        ("training", "backbone"),
        ("training", "learning_rate"),
    }
    for keys, default in others.items():
        told = find_line(text, keys).partition("# default: ")[2]
        assert re.split("[,;]", told)[0] == str(default).lower(), keys


def test_every_section_is_shown(tmp_path):
    assert set(yaml.safe_load(render_declaration("clinic"))["attributes"]) == set(PipelineSettings.model_fields)


@pytest.mark.parametrize(
    ("folder", "name"),
    [("clinic_2", "clinic_2"), ("My-Clinic 2", "my_clinic_2"), ("2024", "vqa_2024"), ("_x", "vqa_x"), ("Ä", "vqa")],
)
def test_a_folder_of_any_name_gets_a_pipeline_that_loads(tmp_path, folder, name):
    [pipeline] = read_pipelines(scaffold(tmp_path / folder), tmp_path)
    assert pipeline.name == name


def test_appending_adds_a_pipeline_beside_the_first(tmp_path):
    file = scaffold(tmp_path / "clinic")
    first = file.read_text()
    scaffold(tmp_path / "clinic", append=True)
    scaffold(tmp_path / "clinic", append=True)
    assert file.read_text().startswith(first + "---\n")
    assert [pipeline.name for pipeline in read_pipelines(file, tmp_path)] == ["clinic", "clinic_2", "clinic_3"]
    assert len(load(file.read_text())) == 3 * 9


def test_another_format_than_yaml_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(SettingsError, match="`--format`: a pipeline is declared in YAML. Leave `--format` out"):
        scaffold(tmp_path / "clinic", scaffold_format="python")
    assert list((tmp_path / "clinic").iterdir()) == []


def test_dagster_finds_the_scaffolder_at_the_component():
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(VqaPipeline, "ward")
        with sandbox.load_component_and_build_defs(path) as (component, definitions):
            assert isinstance(component, VqaPipeline)
            assert dg.AssetKey(["ward", "metrics"]) in definitions.resolve_asset_graph().get_all_asset_keys()
