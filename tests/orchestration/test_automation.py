"""When things happen by themselves, on the pipeline's own graph: a simulated clock ticks, what is requested really runs.

Times are UTC. A day begins at noon; the clock is read at a minute past 12, 13, 14, 15, 16, 2 and 3, and the cron of most
tests says 02:00, so a night's training is requested at 02:01. The real daemon reads it twice a minute. What is marked as
slow takes long, and happens in the simulated year or its months, too.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pytest
from automation_world import OBSERVED, WHOLE, Requests, World, as_keys, requested, trainings
from fake_stages import FakeStages, make_pipeline

from vqa_pipeline.errors import TrainingError
from vqa_pipeline.orchestration.assets import build_definitions


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world at noon where everything was made by hand, and the daemon has looked at it once."""
    world = World(tmp_path)
    world.run(*as_keys(*WHOLE))
    assert world.tick(world.noon - timedelta(minutes=40)) == set()
    assert len(world.stages.trained_with) == 1
    return world


def test_data_is_curated_at_once_and_the_model_waits_for_the_night(tmp_path):
    world = World(tmp_path)
    assert [(time.strftime("%d %H:%M"), assets) for time, assets in world.pass_days(2)] == [
        ("01 14:01", {"records/scans"}),
        ("01 15:01", {"dataset"}),
        ("01 16:01", {"vocabulary"}),
        ("02 02:01", {"checkpoint"}),
        ("02 03:01", {"predictions"}),
        ("02 12:01", {"metrics"}),
        ("02 13:01", {"champion"}),
    ]


def test_when_nothing_changes_nothing_but_looks_happens(world):
    before = len(world.stages.calls)
    assert world.pass_days(1) == []
    assert set(world.stages.calls[before:]) == OBSERVED


def test_a_real_change_trains_once_at_the_next_tick(world):
    world.put("what is it|cat", "how many|2", "how many|3")
    assert [(time.strftime("%d %H:%M"), assets) for time, assets in world.pass_days(2)] == [
        ("01 13:01", {"records/scans"}),
        ("01 14:01", {"dataset"}),
        ("01 15:01", {"vocabulary", "predictions"}),
        ("01 16:01", {"metrics"}),
        ("02 02:01", {"checkpoint"}),
        ("02 03:01", {"predictions"}),
        ("02 12:01", {"metrics"}),
        ("02 13:01", {"champion"}),
    ]


def test_a_cosmetic_change_costs_no_gpu(world):
    world.put("how many|2", "what is it|cat", "what is it|cat")
    assert [assets for _, assets in world.pass_days(1)] == [{"records/scans"}, {"dataset"}]


def test_materializing_the_same_again_by_hand_trains_nothing(world):
    world.run(*as_keys("records/scans", "dataset", "vocabulary"))
    assert world.pass_days(1) == []


def test_nothing_passes_a_failed_gate_and_the_night_after_the_fix_trains(world):
    world.put("what is it|cat", "BAD|4")
    assert requested(world.pass_days(2)) == {"records/scans", "dataset"}
    world.put("what is it|cat", "how many|4")
    assert trainings(world.pass_days(1)) == ["04 02:01"]


def test_data_that_turns_out_bad_after_the_tick_closes_the_gate_until_the_next_night(world):
    """At 02:01 a training is due for the day's change, but newer data is on its way, and does not pass its gate."""
    world.put("what is it|cat", "how many|4")
    day = world.pass_days(1, before_hour=26)
    assert requested(day) == {"records/scans", "dataset", "vocabulary", "predictions", "metrics"}
    world.noon -= timedelta(hours=12)
    world.put("what is it|cat", "BAD|4")
    night = [world.tick(world.noon + timedelta(hours=hour, minutes=31)) for hour in (0, 1, 2, 3)]
    assert night == [OBSERVED | {"champion"}, OBSERVED | {"records/scans"}, OBSERVED | {"dataset"}, OBSERVED]
    world.noon += timedelta(hours=12)
    world.put("what is it|cat", "how many|5")
    assert trainings(world.pass_days(1)) == ["03 02:01"]


def test_bad_data_that_went_away_leaves_no_training_behind(world):
    """The change is net nothing."""
    good, version = world.stages.rows["scans"], world.stages._current["checkpoint"]
    world.put("BAD|4")
    world.pass_days(1)
    world.put(*good)
    assert trainings(world.pass_days(1)) == []
    assert world.stages._current["checkpoint"] == version


def test_a_change_that_was_taken_back_before_the_tick_trains_nothing(world):
    """A, B, A: a run is asked for, since something changed, and it finds that all is as it was."""
    first, before = world.stages.rows["scans"], trained(world)
    world.put("what is it|cat", "how many|4")
    assert requested(look(world, 12, 13, 14, 15)) >= {"dataset", "vocabulary"}
    world.put(*first)
    assert trainings(look(world, 16, 17, 18, 19, 26, 27)) == ["02 02:01"]
    assert trained(world) == before
    world.noon += timedelta(days=1)
    assert trainings(world.pass_days(2)) == []


@pytest.mark.slow
def test_going_back_to_what_was_trained_on_before_uses_that_version_again(world):
    """A, B trained, A: B's checkpoint stays published, A's is the current one again."""
    first, before = world.stages.rows["scans"], trained(world)
    world.put("what is it|cat", "how many|4")
    assert trainings(world.pass_days(1)) == ["02 02:01"]
    both = trained(world)
    assert len(both.fingerprints) == 2
    assert both.current != before.current
    world.put(*first)
    assert trainings(world.pass_days(2)) == ["03 02:01"]
    assert trained(world) == both._replace(current=before.current)


@pytest.mark.slow
def test_two_changes_in_one_day_are_one_training(world):
    world.put("what is it|cat", "how many|4")
    assert requested(look(world, 12, 13, 14, 15)) >= {"dataset", "vocabulary"}
    world.put("what is it|cat", "how many|5")
    world.declare(training={"backbone": "tiny", "epochs": 6})
    assert trainings(look(world, 16, 17, 18, 19, 26, 27)) == ["02 02:01"]
    world.noon += timedelta(days=1)
    assert trainings(world.pass_days(2)) == []
    assert len(world.stages.trained_with) == 2


def test_a_failed_training_is_tried_again_once_a_night_until_it_works(world):
    world.stages.failures["checkpoint"] = TrainingError("the GPU is on fire")
    world.put("what is it|cat", "how many|4")
    assert trainings(world.pass_days(3)) == ["02 02:01", "03 02:01", "04 02:01"]
    del world.stages.failures["checkpoint"]
    assert trainings(world.pass_days(1)) == ["05 02:01"]
    assert trainings(world.pass_days(1)) == []


@pytest.mark.parametrize(
    ("asset", "times", "follower"),
    [
        ("dataset", ["01 14:01", "02 02:01", "03 02:01"], "vocabulary"),
        ("predictions", ["01 15:01", "02 03:01", "03 02:01"], "metrics"),
    ],
)
def test_any_stage_that_failed_is_tried_again_once_a_night_until_it_works(world, asset, times, follower):
    world.stages.failures[asset] = TrainingError("the disk is full")
    world.put("what is it|cat", "how many|4")
    failing = [time.strftime("%d %H:%M") for time, assets in world.pass_days(2) if asset in assets]
    assert failing == times
    del world.stages.failures[asset]
    (when, retried), (_, follow), *_ = world.pass_days(1)
    assert (when.strftime("%d %H:%M"), retried) == ("04 02:01", {asset})
    assert follower in follow


def test_bad_data_is_not_curated_again_night_after_night(world):
    world.put("what is it|cat", "BAD|4")
    curated = [time.strftime("%d %H:%M") for time, assets in world.pass_days(3) if "dataset" in assets]
    assert curated == ["01 14:01"]


def test_a_change_that_lands_while_a_training_runs_gets_its_own_night(world):
    def change() -> None:
        world.stages.while_training = lambda: None
        world.put("what is it|cat", "how many|2", "how many|5")
        world.run(*as_keys("records/scans", "dataset", "vocabulary"))

    world.stages.while_training = change
    world.put("what is it|cat", "how many|2", "how many|4")
    assert trainings(world.pass_days(3)) == ["02 02:01", "03 02:01"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"training": {"backbone": "tiny", "epochs": 6}}, {"checkpoint", "predictions", "metrics"}),
        ({"training": {"backbone": "tiny", "epochs": 5, "threads": 3}}, set()),
        ({"evaluation": {"metric": "official"}}, {"metrics"}),
    ],
)
def test_a_changed_setting_runs_its_own_stage_and_what_follows(world, change, expected):
    world.declare(**change)
    requests = world.pass_days(1)
    requests.append((world.noon, world.tick(world.noon) - OBSERVED))
    assert requested(requests) == expected
    assert trainings(requests) == (["02 02:01"] if "checkpoint" in expected else [])


def test_a_change_outlives_a_change_of_the_cron(world):
    world.put("what is it|cat", "how many|2", "how many|6")
    assert trainings(world.pass_days(1, before_hour=26)) == []
    world.noon -= timedelta(days=1)
    world.declare(retrain={"cron": "0 3 * * *", "timezone": "UTC"})
    assert trainings(world.pass_days(1)) == ["02 03:01"]


def test_a_fresh_instance_computes_nothing_again(world):
    """Dagster's memory is gone, the store is not: everything is asked for once and nothing is new."""
    versions = {name: version.manifest for name, version in world.stages._current.items()}
    world.instance, world.cursor = dg.DagsterInstance.ephemeral(), None
    assert trainings(world.pass_days(2)) == ["02 02:01"]
    assert {name: version.manifest for name, version in world.stages._current.items()} == versions


@pytest.mark.parametrize(
    ("timezone", "expected"),
    [("Europe/Berlin", "02 01:01"), ("America/New_York", "02 07:01"), ("Asia/Kolkata", "01 21:01")],
)
def test_the_cron_is_read_in_its_time_zone(world, timezone, expected):
    retrain = {"cron": "0 2 * * *", "timezone": timezone}
    world.declare(retrain=retrain, training={"backbone": "tiny", "epochs": 6})
    hours = [world.noon + timedelta(hours=hour, minutes=1) for hour in (0, 8, 9, 12, 13, 18, 19)]
    assert trainings([(now, world.tick(now)) for now in hours]) == [expected]


def test_generated_files_are_made_once(tmp_path):
    world = World(tmp_path, sources=({"name": "toys", "format": "shapes"},))
    world.stages.rows["toys"] = ["what is it|cat"]
    assert [assets for _, assets in world.pass_days(2)] == [
        {"raw/toys"},
        {"records/toys"},
        {"dataset"},
        {"vocabulary"},
        {"checkpoint"},
        {"predictions"},
        {"metrics"},
        {"champion"},
    ]


class Trained(NamedTuple):
    """What was ever trained, and which of it is in use."""

    fingerprints: tuple[str, ...]
    current: str


def look(world: World, *hours: int) -> Requests:
    """What was requested at a minute past these hours; from 24 on they are the next day's."""
    times = [world.noon + timedelta(hours=hour - 12, minutes=1) for hour in hours]
    return [(now, world.tick(now) - OBSERVED) for now in times]


def trained(world: World) -> Trained:
    return Trained(tuple(world.stages.checkpoints), world.stages._current["checkpoint"].manifest.data_version)


def test_what_was_set_for_one_run_does_not_stick(world):
    """The next night's training, and the next run by hand, have the settings of the YAML again."""
    config = {"loggers": {"console": {}}, "ops": {"clinic__checkpoint": {"config": {"epochs": 2}}}}
    world.job.execute_in_process(instance=world.instance, asset_selection=as_keys("checkpoint"), run_config=config)
    world.put("what is it|cat", "how many|2", "how many|3")
    assert trainings(world.pass_days(2)) == ["02 02:01"]
    world.run(*as_keys("checkpoint"))
    assert [training.epochs for training in world.stages.trained_with[-3:]] == [2, 5, 5]


# ------------------------------------------------------------------------------------------------------------ on change


ON_CHANGE = {"retrain": "on_change"}


@pytest.fixture
def eager(tmp_path: Path) -> World:
    """As `world`, with `retrain: on_change`."""
    world = World(tmp_path, **ON_CHANGE)
    world.run(*as_keys(*WHOLE))
    assert world.tick(world.noon - timedelta(minutes=40)) == set()
    return world


def test_on_change_a_real_change_trains_once_at_once(eager):
    eager.put("what is it|cat", "how many|2", "how many|3")
    requests = eager.pass_days(2)
    assert trainings(requests) == ["01 16:01"]
    assert len(eager.stages.trained_with) == 2


def test_on_change_only_the_new_checkpoint_answers(eager):
    eager.stages.calls.clear()
    eager.put("what is it|cat", "how many|2", "how many|3")
    requests = eager.pass_days(2)
    answering = [time for time, assets in requests if "predictions" in assets]
    training = [time for time, assets in requests if "checkpoint" in assets]
    assert len(answering) == 1
    assert answering > training
    assert eager.stages.calls.index("checkpoint") < eager.stages.calls.index("predictions")
    assert requests[-1][1] == {"champion"}, "and what follows is made"


def test_at_night_the_old_checkpoint_answers_the_new_questions_by_day(world):
    world.put("what is it|cat", "how many|2", "how many|3")
    requests = world.pass_days(2)
    answering = [time.strftime("%d %H") for time, assets in requests if "predictions" in assets]
    assert len(answering) == 2
    assert answering[0] < "02 02" < answering[1]


@pytest.mark.slow
def test_on_change_a_cosmetic_change_trains_nothing(eager):
    eager.put("how many|2", "what is it|cat", "what is it|cat")
    assert trainings(eager.pass_days(2)) == []


@pytest.mark.slow
def test_on_change_bad_data_trains_nothing_until_it_is_mended(eager):
    eager.put("what is it|cat", "BAD|4")
    assert trainings(eager.pass_days(2)) == []
    eager.put("what is it|cat", "how many|4")
    assert trainings(eager.pass_days(1)) == ["03 16:01"]


@pytest.mark.slow
def test_on_change_a_failed_training_is_tried_again_once_a_night(eager):
    eager.stages.failures["checkpoint"] = TrainingError("the GPU is on fire")
    eager.put("what is it|cat", "how many|4")
    assert trainings(eager.pass_days(3)) == ["01 16:01", "02 02:01", "03 02:01", "04 02:01"]
    del eager.stages.failures["checkpoint"]
    assert trainings(eager.pass_days(2)) == ["05 02:01"]


@pytest.mark.slow
def test_on_change_a_change_during_a_training_gets_its_own(eager):
    def change() -> None:
        eager.stages.while_training = lambda: None
        eager.put("what is it|cat", "how many|2", "how many|5")
        eager.run(*as_keys("records/scans", "dataset", "vocabulary"))

    eager.stages.while_training = change
    eager.put("what is it|cat", "how many|2", "how many|4")
    assert trainings(eager.pass_days(2)) == ["01 16:01", "02 12:01"], "it waits until what the change brings is made"


@pytest.mark.slow
def test_on_change_a_change_of_settings_trains(eager):
    eager.declare(**ON_CHANGE, training={"backbone": "tiny", "epochs": 6})
    assert trainings(eager.pass_days(2)) == ["01 12:01"]


def test_the_files_are_looked_at_when_the_settings_say(tmp_path):
    world = World(tmp_path, observe="0 15 * * *")
    world.run(*as_keys(*WHOLE))
    looks = [(hour, world.tick(world.noon + timedelta(hours=hour, minutes=1))) for hour in (-1, 0, 1, 2, 3, 4)]
    assert [hour for hour, assets in looks if assets == OBSERVED] == [3]


def test_by_hand_nothing_has_a_condition(tmp_path):
    definitions = build_definitions(make_pipeline(tmp_path, retrain="manual"), FakeStages(tmp_path))
    graph = definitions.resolve_asset_graph()
    assert {graph.get(key).automation_condition for key in graph.get_all_asset_keys()} == {None}
