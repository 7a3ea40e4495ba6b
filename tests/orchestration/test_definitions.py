"""The graph that a pipeline declares: keys, dependencies, checks, conditions; spelled out by hand."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from fake_stages import FakeStages, make_pipeline

from vqa_pipeline.lineage import decisions
from vqa_pipeline.orchestration.assets import build_definitions
from vqa_pipeline.project import load_pipelines

PROJECT = Path(__file__).parents[2]
NIGHTLY = {"cron": "0 2 * * *", "timezone": "Europe/Berlin"}


def load_demo() -> dg.Definitions:
    [demo] = [pipeline for pipeline in load_pipelines(PROJECT) if pipeline.name == "demo"]
    return build_definitions(demo)


def describe_graph(definitions: dg.Definitions) -> dict[str, set[str]]:
    graph = definitions.resolve_asset_graph()
    return {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }


def node(definitions: dg.Definitions, key: str):
    return definitions.resolve_asset_graph().get(dg.AssetKey(key.split("/")))


def test_the_demo_s_graph():
    assert describe_graph(load_demo()) == {
        "demo/raw/shapes": set(),
        "demo/records/shapes": {"demo/raw/shapes"},
        "demo/dataset": {"demo/records/shapes", "demo/raw/shapes"},
        "demo/vocabulary": {"demo/dataset"},
        "demo/checkpoint": {"demo/dataset", "demo/vocabulary"},
        "demo/predictions": {"demo/dataset", "demo/checkpoint"},
        "demo/metrics": {"demo/dataset", "demo/predictions"},
        "demo/champion": {"demo/dataset", "demo/checkpoint", "demo/predictions", "demo/metrics"},
        "demo/training_curve": {"demo/checkpoint"},
    }


def test_every_asset_links_to_the_function_that_makes_it():
    definitions = load_demo()
    expected = {
        "demo/raw/shapes": ("raw.py", "observe_source"),
        "demo/records/shapes": ("records.py", "build_records"),
        "demo/dataset": ("dataset.py", "build_dataset"),
        "demo/vocabulary": ("vocabulary.py", "build_vocabulary"),
        "demo/checkpoint": ("checkpoint.py", "train_checkpoint"),
        "demo/predictions": ("predictions.py", "predict"),
        "demo/metrics": ("metrics.py", "evaluate"),
        "demo/champion": ("champion.py", "decide_champion"),
    }
    for key, (label, name) in expected.items():
        local = node(definitions, key).metadata["dagster/code_references"].code_references[0]
        assert local.label == label
        assert Path(local.file_path).read_text().splitlines()[local.line_number - 1].startswith(f"def {name}(")


def test_nothing_is_too_old_unless_somebody_says_when(tmp_path):
    definitions = build_definitions(make_pipeline(tmp_path))
    for key in definitions.resolve_asset_graph().get_all_asset_keys():
        assert definitions.resolve_asset_graph().get(key).freshness_policy is None


def test_a_dataset_and_a_champion_are_too_old_after_the_days_that_were_set(tmp_path):
    freshness = {"dataset_days": 7, "champion_days": 30.5}
    definitions = build_definitions(make_pipeline(tmp_path, freshness=freshness))
    policies = {
        key.path[-1]: policy
        for key in definitions.resolve_asset_graph().get_all_asset_keys()
        if (policy := definitions.resolve_asset_graph().get(key).freshness_policy)
    }
    assert policies == {
        "dataset": dg.FreshnessPolicy.time_window(fail_window=timedelta(days=7)),
        "champion": dg.FreshnessPolicy.time_window(fail_window=timedelta(days=30, hours=12)),
    }


def test_sources_that_exist_already_are_observed_and_generated_ones_materialized(tmp_path):
    sources = ("scans", {"name": "toys", "format": "shapes"})
    definitions = build_definitions(make_pipeline(tmp_path, sources=sources))
    assert node(definitions, "clinic/raw/scans").is_observable
    assert not node(definitions, "clinic/raw/scans").is_materializable
    assert node(definitions, "clinic/raw/toys").is_materializable


def test_every_source_meets_in_the_dataset_with_rows_and_files(tmp_path):
    graph = describe_graph(build_definitions(make_pipeline(tmp_path, sources=("left", "right"))))
    assert graph["clinic/dataset"] == {
        "clinic/raw/left",
        "clinic/raw/right",
        "clinic/records/left",
        "clinic/records/right",
    }
    assert graph["clinic/records/left"] == {"clinic/raw/left"}


def test_checks_gate_or_warn_as_the_stages_declare(tmp_path):
    definitions = build_definitions(make_pipeline(tmp_path))
    graph = definitions.resolve_asset_graph()
    declared = {key: graph.get_check_spec(key).blocking for key in graph.asset_check_keys}
    assert {f"{key.asset_key.path[-1]}:{key.name}": blocking for key, blocking in declared.items()} == {
        "scans:corrections_fit": False,
        "dataset:ledger_balances": True,
        "dataset:has_questions": True,
        "dataset:reject_fraction": True,
        "dataset:no_leakage": True,
        "dataset:no_rejects": False,
        "dataset:drift": False,
        "vocabulary:coverage": False,
        "checkpoint:reloads": True,
        "metrics:looks_at_images": False,
        "metrics:calibrated": False,
        "champion:no_regression": False,
    }


def test_only_what_uses_the_gpu_waits_for_it(tmp_path):
    definitions = build_definitions(make_pipeline(tmp_path))
    graph = definitions.resolve_asset_graph()
    pools = {key.path[-1]: graph.get(key).pools for key in graph.materializable_asset_keys}
    assert {name: pool for name, pool in pools.items() if pool} == {"checkpoint": {"gpu"}, "predictions": {"gpu"}}


def test_every_asset_says_what_it_is(tmp_path):
    definitions = build_definitions(make_pipeline(tmp_path))
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert graph.get(key).description, key
        assert graph.get(key).group_name == "clinic"
        assert graph.get(key).kinds or graph.get(key).tags, key


def test_tables_show_their_columns(tmp_path):
    definitions = build_definitions(make_pipeline(tmp_path))
    graph = definitions.resolve_asset_graph()
    schemas = {key.path[1]: graph.get(key).metadata.get("dagster/column_schema") for key in graph.get_all_asset_keys()}
    assert {stage for stage, schema in schemas.items() if schema} == {"records", "dataset", "predictions"}
    columns = {column.name: (column.type, column.constraints.nullable) for column in schemas["dataset"].columns}
    assert columns["question_id"] == ("string", False)
    assert columns["native_id"] == ("string", True)
    assert columns["split"] == ("string", False)
    assert {column.name for column in schemas["dataset"].columns if not column.description} == set()
    told = {column.name: column.description for column in schemas["dataset"].columns}
    assert told["question_id"] == r"&lt;source\>/&lt;native id\>, unique in a dataset", "the page shows it as markdown"
    assert columns["locator"][0].startswith("struct<file: string, record: int64, ")


def test_the_code_version_follows_the_settings_of_its_own_stage_only(tmp_path):
    def versions(**settings) -> dict[str, str | None]:
        graph = build_definitions(make_pipeline(tmp_path, **settings)).resolve_asset_graph()
        return {key.path[-1]: graph.get(key).code_version for key in graph.materializable_asset_keys}

    before, after = versions(), versions(vocabulary={"min_count": 2})
    assert {name for name in before if before[name] != after[name]} == {"vocabulary"}
    assert before["vocabulary"].startswith("1-")


def test_a_new_stage_number_is_a_new_code_version(tmp_path):
    class Raised(FakeStages):
        STAGE_NUMBERS = {**FakeStages.STAGE_NUMBERS, "checkpoint": 99}

    before = build_definitions(make_pipeline(tmp_path), FakeStages(tmp_path))
    after = build_definitions(make_pipeline(tmp_path), Raised(tmp_path))
    assert node(before, "clinic/checkpoint").code_version.startswith(f"{FakeStages.STAGE_NUMBERS['checkpoint']}-")
    assert node(after, "clinic/checkpoint").code_version.startswith("99-")
    assert node(before, "clinic/metrics").code_version == node(after, "clinic/metrics").code_version


def test_settings_of_speed_are_no_new_code_version(tmp_path):
    slow = build_definitions(make_pipeline(tmp_path, training={"backbone": "tiny", "threads": 1}))
    fast = build_definitions(make_pipeline(tmp_path, training={"backbone": "tiny", "threads": 4}))
    assert node(slow, "clinic/checkpoint").code_version == node(fast, "clinic/checkpoint").code_version


def sensors(definitions: dg.Definitions) -> dict[str, dg.SensorDefinition]:
    return {sensor.name: sensor for sensor in definitions.get_repository_def().sensor_defs}


def test_manual_pipelines_start_nothing_by_themselves(tmp_path):
    definitions = build_definitions(make_pipeline(tmp_path, retrain="manual"))
    graph = definitions.resolve_asset_graph()
    assert all(graph.get(key).automation_condition is None for key in graph.get_all_asset_keys())
    [sensor] = sensors(definitions).values()
    assert sensor.name == "clinic_dead_runs"
    assert sensor.targets == []


@pytest.mark.parametrize("retrain", ["manual", NIGHTLY])
def test_every_pipeline_looks_for_dead_runs_twice_a_minute(tmp_path, retrain):
    sensor = sensors(build_definitions(make_pipeline(tmp_path, retrain=retrain)))["clinic_dead_runs"]
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 30


def test_scheduled_pipelines_have_one_running_sensor_for_all_their_assets(tmp_path):
    definitions = build_definitions(make_pipeline(tmp_path, retrain=NIGHTLY))
    graph = definitions.resolve_asset_graph()
    idle = {key.path[-1] for key in graph.get_all_asset_keys() if graph.get(key).automation_condition is None}
    assert idle == {"training_curve"}
    assert set(sensors(definitions)) == {"clinic_automation", "clinic_dead_runs"}
    sensor = sensors(definitions)["clinic_automation"]
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.asset_selection.resolve(graph) == graph.get_all_asset_keys()


def test_conditions_are_told_in_words(tmp_path):
    definitions = build_definitions(make_pipeline(tmp_path, retrain=NIGHTLY))
    labels = {
        name: node(definitions, f"clinic/{name}").automation_condition.get_label()
        for name in (
            *("raw/scans", "records/scans", "dataset", "vocabulary"),
            *("checkpoint", "predictions", "metrics", "champion"),
        )
    }
    assert labels == {
        "raw/scans": "time to look at the files",
        "records/scans": "follows its inputs",
        "dataset": "follows its inputs",
        "vocabulary": "follows its inputs",
        "checkpoint": "trains at a tick of the cron, if the content changed",
        "predictions": "follows its inputs",
        "metrics": "follows its inputs",
        "champion": "follows its inputs",
    }


def test_two_pipelines_stand_side_by_side(tmp_path):
    one, two = (
        build_definitions(make_pipeline(tmp_path, name=name, retrain=NIGHTLY), FakeStages(tmp_path / name))
        for name in ("one", "two")
    )
    both = dg.Definitions.merge(one, two)
    dg.Definitions.validate_loadable(both)
    graph = describe_graph(both)
    assert len(graph) == 18
    assert graph["one/dataset"] == {"one/raw/scans", "one/records/scans"}
    assert set(sensors(both)) == {"one_automation", "two_automation", "one_dead_runs", "two_dead_runs"}


@pytest.mark.parametrize("module", ["vqa_pipeline.definitions", "vqa_pipeline"])
def test_loading_the_definitions_loads_nothing_heavy(module):
    """In a process of its own, as other tests load everything here."""
    code = (
        f"import sys, warnings; warnings.simplefilter('ignore'); import {module} as module; loaded = getattr(module, 'defs', None)\n"
        "if loaded is not None: (loaded if hasattr(loaded, 'resolve_asset_graph') else loaded()).resolve_asset_graph()\n"
        "heavy = {'torch', 'transformers', 'pandas', 'polars', 'sklearn', 'accelerate', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)), 'dagster' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True, cwd=PROJECT)
    assert done.stdout.split("\n")[0] == ("[] True" if module.endswith("definitions") else "[] False")


def test_labels_of_conditions_differ_in_as_much_as_dagster_s_page_shows_of_them():
    labels = {value for name, value in vars(decisions).items() if name.isupper() and isinstance(value, str)}
    assert len(labels) == 14
    assert len({label[:38] for label in labels}) == len(labels)
