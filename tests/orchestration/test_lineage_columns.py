"""Column lineage from records to predictions, on the events that runs leave."""

from __future__ import annotations

import dagster as dg
from fake_stages import FakeStages, make_pipeline

from vqa_pipeline.orchestration.assets import build_definitions
from vqa_pipeline.orchestration.columns import COLUMNS, trace_columns


def read(lineage: dg.TableColumnLineage) -> dict[str, list[str]]:
    return {
        column: sorted(f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in deps)
        for column, deps in lineage.deps_by_column.items()
    }


def test_a_dataset_s_columns_come_from_the_records_of_every_source():
    inputs = ["raw/left", "raw/right", "records/left", "records/right"]
    found = read(trace_columns("clinic", "dataset", inputs))
    assert found["most_common_answer"] == ["clinic/records/left.answers", "clinic/records/right.answers"]
    assert found["split"] == [
        "clinic/records/left.image",
        "clinic/records/left.split",
        "clinic/records/right.image",
        "clinic/records/right.split",
    ]
    assert set(found) == set(COLUMNS["dataset"].names), "no column is without an origin"


def test_an_answer_comes_from_question_and_image():
    found = read(trace_columns("clinic", "predictions", ["dataset", "checkpoint"]))
    assert found["question_id"] == ["clinic/dataset.question_id"]
    for column in ("answer", "score", "probability", "top_answers"):
        assert found[column] == ["clinic/dataset.image_sha256", "clinic/dataset.question"]
    assert set(COLUMNS["predictions"].names) - set(found) == {"variant", "checkpoint"}


def test_every_column_that_is_named_is_one():
    for stage, before, inputs in (("dataset", "records", ["records/x"]), ("predictions", "dataset", ["dataset"])):
        lineage = trace_columns("clinic", stage, inputs)
        assert set(lineage.deps_by_column) <= set(COLUMNS[stage].names)
        assert {dep.column_name for deps in lineage.deps_by_column.values() for dep in deps} <= set(
            COLUMNS[before].names
        )


def test_what_has_no_columns_has_no_lineage():
    assert trace_columns("clinic", "records", ["raw/x"]) is None
    assert trace_columns("clinic", "checkpoint", ["dataset"]) is None


def test_a_run_leaves_it_with_the_versions_that_it_made(tmp_path):
    definitions = build_definitions(make_pipeline(tmp_path), FakeStages(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
        for asset in ("dataset", "predictions"):
            event = instance.get_latest_materialization_event(dg.AssetKey(["clinic", asset]))
            lineage = event.asset_materialization.metadata["dagster/column_lineage"].value
            assert "question_id" in lineage.deps_by_column
