"""What a run of the assets records: data versions, numbers, pages, checks, and failures without noise."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from fake_stages import GOOD_ROWS, FakeStages, make_pipeline
from pydantic import ValidationError

from vqa_pipeline.errors import BackboneError, SourceError, StoreBusy, WorkerFailed
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.orchestration.assets import build_definitions
from vqa_pipeline.orchestration.launchpad import build_run_config
from vqa_pipeline.progress import ProgressLines
from vqa_pipeline.publishing import compute_fingerprint

ALL = ("raw/scans", "records/scans", "dataset", "vocabulary", "checkpoint", "predictions", "metrics")


def key(asset: str) -> dg.AssetKey:
    return dg.AssetKey(["clinic", *asset.split("/")])


class Project:
    """A pipeline of fake stages and an instance that remembers its runs."""

    def __init__(self, root: Path) -> None:
        self.stages = FakeStages(root)
        self.definitions = build_definitions(make_pipeline(root), self.stages)
        self.instance = dg.DagsterInstance.ephemeral()

    def run(self, *assets: str, training: dict | None = None) -> dg.ExecuteInProcessResult:
        return self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[key(asset) for asset in assets or ALL],
            run_config={"ops": {"clinic__checkpoint": {"config": training}}} if training else {},
            raise_on_error=False,
        )

    def materialization(self, asset: str) -> dg.AssetMaterialization | None:
        event = self.instance.get_latest_materialization_event(key(asset))
        return event.asset_materialization if event else None


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def failures(result: dg.ExecuteInProcessResult) -> dict[str, dg.DagsterEvent]:
    return {event.step_key: event for event in result.all_events if event.is_step_failure}


def checks(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    found = result.get_asset_check_evaluations()
    return {check.check_name: (check.passed, check.severity.name) for check in found}


def test_a_run_makes_every_asset_after_what_it_needs(project):
    assert project.run().success
    assert project.stages.calls == list(ALL)


def test_how_far_reading_and_writing_are_goes_into_the_log_of_the_run(project):
    project.run("raw/scans", "records/scans", "dataset")
    assert [type(shown) for shown in project.stages.shown_by] == [ProgressLines] * 3


def test_how_far_reading_and_writing_are_is_shown_by_whom_the_caller_gives(tmp_path):
    project, bar = Project(tmp_path), ProgressLines([].append)
    project.definitions = build_definitions(make_pipeline(tmp_path), project.stages, progress=bar)
    project.run("raw/scans", "records/scans", "dataset")
    assert project.stages.shown_by == [bar, bar, bar]


def test_data_versions_are_the_stages_own(project):
    project.run()
    for asset in ALL[1:]:
        tags = project.materialization(asset).tags
        assert tags["dagster/data_version"] == project.stages._current[asset].manifest.data_version


def test_an_observation_records_the_data_version_of_the_files(project):
    result = project.run("raw/scans")
    [event] = [event for event in result.all_events if event.event_type_value == "ASSET_OBSERVATION"]
    observation = event.asset_observation_data.asset_observation
    version = project.stages._current["raw/scans"].manifest.data_version
    assert observation.tags["dagster/data_version"] == version
    assert observation.metadata["num_files"].value == 1


def test_what_is_made_without_an_observation_tells_what_it_read(project):
    """Dagster's button for all assets leaves out those that are only observed."""
    project.run("records/scans", "dataset")
    version = compute_fingerprint(list(GOOD_ROWS))
    assert project.materialization("records/scans").tags["dagster/input_data_version/clinic/raw/scans"] == version
    assert project.materialization("dataset").tags["dagster/input_data_version/clinic/raw/scans"] == version
    [seen] = project.instance.fetch_observations(key("raw/scans"), limit=2).records
    assert seen.asset_observation.tags == {"dagster/data_version": version}


def test_the_report_is_on_the_page_of_the_metrics_where_there_is_one(project):
    project.stages.files["metrics"] = {"report.html": 7}
    project.run()
    report = project.stages.root / "store" / "metrics" / project.stages._current["metrics"].manifest.data_version
    assert project.materialization("metrics").metadata["report"].value == str(report / "report.html")
    assert "report" not in project.materialization("dataset").metadata


def test_numbers_page_and_place_are_on_the_asset_s_page(project):
    project.run()
    metadata = project.materialization("dataset").metadata
    assert metadata["num_questions"] == dg.IntMetadataValue(2)
    assert metadata["dagster/row_count"] == dg.IntMetadataValue(2)
    assert metadata["page"] == dg.MarkdownMetadataValue("# page of dataset")
    assert metadata["path"].value.endswith("/store/dataset/" + project.stages._current["dataset"].manifest.data_version)
    assert metadata["stage_seconds"].value == 0.25
    assert metadata["reused"].value is False
    assert "nothing" not in metadata, "a number that is not known is left out"
    assert project.materialization("metrics").metadata["vqa_accuracy"] == dg.FloatMetadataValue(0.75)


def test_rows_are_counted_in_the_stage_s_own_unit(project):
    project.run()
    rows = {asset: project.materialization(asset).metadata.get("dagster/row_count") for asset in ALL[1:]}
    counted = {asset: value.value for asset, value in rows.items() if value is not None}
    assert counted == {"records/scans": 2, "dataset": 2, "vocabulary": 2, "predictions": 2}


def test_a_second_run_says_that_nothing_was_computed(project):
    project.run()
    assert project.run().success
    assert all(project.materialization(asset).metadata["reused"].value for asset in ALL[1:])


def test_checks_are_recorded_with_their_numbers(project):
    result = project.run("dataset")
    assert checks(result) == {
        "ledger_balances": (True, "ERROR"),
        "has_questions": (True, "ERROR"),
        "reject_fraction": (True, "ERROR"),
        "no_leakage": (True, "ERROR"),
        "no_rejects": (True, "WARN"),
        "drift": (True, "WARN"),
    }
    [check] = [one for one in result.get_asset_check_evaluations() if one.check_name == "no_leakage"]
    assert check.description == "No image, or near-duplicate, is in two splits, unless `dataset.leakage` allows it."
    assert check.metadata == {"num_bad": dg.IntMetadataValue(0)}


def test_a_failed_gate_records_its_checks_and_publishes_nothing(project):
    project.stages.rows["scans"].append("BAD|row")
    result = project.run()
    assert not result.success
    assert checks(result)["reject_fraction"] == (False, "ERROR")
    assert checks(result)["ledger_balances"] == (True, "ERROR")
    assert project.materialization("dataset") is None
    assert project.stages.calls == ["raw/scans", "records/scans", "dataset"], "nothing downstream ran"
    told = failures(result)["clinic__dataset"].step_failure_data.user_failure_data
    assert told.description.startswith("dataset was not published:\n  - 1 rows are bad\n")
    assert told.metadata["page"] == dg.MarkdownMetadataValue("**rejected**")
    assert told.metadata["candidate"] == dg.PathMetadataValue(str(project.stages.root / "candidate"))


def test_after_the_gate_failed_the_last_good_version_stays_the_latest(project):
    project.run()
    good = project.materialization("dataset").tags["dagster/data_version"]
    project.stages.rows["scans"].append("BAD|row")
    project.run()
    assert project.materialization("dataset").tags["dagster/data_version"] == good


@pytest.mark.parametrize(
    ("asset", "error"),
    [
        ("raw/scans", SourceError("scans", "files", "raw/scans.csv", "does not exist", "Correct the setting.")),
        ("records/scans", SourceError("scans", "files", "raw/scans.csv", "is not CSV", "Correct it.", line=7)),
        ("vocabulary", StoreBusy("vocabulary", "scratch/locks/vocabulary.lock")),
        ("checkpoint", BackboneError("nobody/nothing", "is not on the hub", "Correct the name.")),
    ],
)
def test_a_user_s_mistake_fails_with_its_message_and_is_not_tried_again(project, asset, error):
    project.stages.failures[asset] = error
    event = failures(project.run())["clinic__" + asset.replace("/", "__")]
    told = event.step_failure_data.user_failure_data
    assert told.description == str(error)
    assert project.stages.calls.count(asset) == 1
    assert event.step_failure_data.error.cause is None, "the stack trace behind it is noise"


def test_a_worker_that_crashed_is_started_again_once(project):
    crash = WorkerFailed("train", -9, "Killed", "train.log")
    project.stages.failures["checkpoint"] = crash
    event = failures(project.run())["clinic__checkpoint"]
    assert project.stages.calls.count("checkpoint") == 2
    assert str(crash) in event.step_failure_data.error.to_string()


def test_a_worker_that_crashed_once_does_no_harm(project):
    def crash() -> None:
        project.stages.while_training = lambda: None
        raise WorkerFailed("train", -9, "Killed", "train.log")

    project.stages.while_training = crash
    assert project.run().success
    assert project.materialization("metrics") is not None


def test_a_bug_keeps_its_stack_trace(project):
    project.stages.failures["vocabulary"] = ZeroDivisionError("a bug")
    error = failures(project.run())["clinic__vocabulary"].step_failure_data.error
    assert "fake_stages.py" in error.to_string()
    assert "ZeroDivisionError: a bug" in error.to_string()


# ------------------------------------------------------------------------------------------------------------ run config


def test_the_yaml_s_settings_train_unless_the_run_says_otherwise(project):
    project.run()
    assert project.stages.trained_with == [TrainingSettings(backbone="tiny", epochs=5)]
    metadata = project.materialization("checkpoint").metadata
    assert metadata["declared_in_yaml"].value is True
    assert metadata["overridden"].value == {}


def test_an_override_is_recorded_and_gives_another_data_version(project):
    project.run()
    declared = project.materialization("checkpoint").tags["dagster/data_version"]
    assert project.run(training={"epochs": 2, "seed": 3}).success
    assert project.stages.trained_with[-1] == TrainingSettings(backbone="tiny", epochs=2, seed=3)
    event = project.materialization("checkpoint")
    assert event.metadata["overridden"].value == {"epochs": 2, "seed": 3}
    assert event.metadata["declared_in_yaml"].value is False
    assert event.tags["dagster/data_version"] != declared


@pytest.mark.parametrize("training", [{"epoch": 2}, {"epochs": "many"}, {"strategy": "everything"}])
def test_the_launchpad_refuses_what_is_not_a_setting(project, training):
    with pytest.raises(dg.DagsterInvalidConfigError):
        project.run(training=training)
    assert project.stages.calls == []


def test_a_value_out_of_range_fails_the_step_before_training(project):
    result = project.run(training={"epochs": 0})
    assert "greater than or equal to 1" in failures(result)["clinic__checkpoint"].step_failure_data.error.to_string()
    assert project.stages.trained_with == []


def test_the_run_config_has_every_setting_with_its_description_and_the_yaml_s_value():
    declared = TrainingSettings(backbone="tiny", epochs=5)
    config = build_run_config(declared)
    assert set(config.model_fields) == set(TrainingSettings.model_fields)
    assert config().model_dump() == declared.model_dump()
    for name, field in TrainingSettings.model_fields.items():
        assert config.model_fields[name].description == field.description
    assert TrainingSettings.model_fields["epochs"].default == 10, "the settings themselves are as they were"
    with pytest.raises(ValidationError):
        config(epochs=0)


@pytest.mark.parametrize("rate", [0.25, "default"])
def test_a_setting_of_several_types_can_be_given_in_the_launchpad(tmp_path, rate):
    assert Project(tmp_path).run(training={"learning_rate": rate}).success


def test_a_rate_can_be_left_to_a_search_in_the_launchpad(tmp_path):
    training = {"backbone": "vilt", "strategy": "head", "learning_rate": "auto"}
    assert Project(tmp_path).run(training=training).success


@pytest.mark.parametrize("rate", [0, "fast"])
def test_what_the_launchpad_cannot_check_the_settings_do(tmp_path, rate):
    assert not Project(tmp_path).run(training={"learning_rate": rate}).success
