"""A year of random events on the pipeline's own graph: every training that was due came, once, and no other.

What is due is told by a few plain rules, written down here without a word of Dagster: at each night's tick, what is
published is trained on, unless that was done before, the newest data is bad, or the GPU is on fire. With `on_change`,
there is no tick: when the day is over, what is published was trained on, with the same exceptions.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from automation_world import OBSERVED, WHOLE, World, as_keys
from fake_stages import make_pipeline

from vqa_pipeline import stages
from vqa_pipeline.errors import TrainingError
from vqa_pipeline.publishing import compute_fingerprint

pytestmark = pytest.mark.xdist_group("simulated")
"""Where tests run in several processes, the largest groups begin first: these take longest."""

MORNING, TICK = (12, 13), 26
"""Events happen before the look at noon or the one after it: by night, all that follows from them is done."""
HOURS, LATEST = (12, 13, 14, 15, 16, TICK, 27), 36


Events = list[tuple[int, "Callable[[Year], None]"]]


class Year:
    """The world, the plain rules beside it, and the events that befall both."""

    SETTINGS: Mapping[str, Any] = {}

    def __init__(self, root: Path, seed: int, restarts: float = 0.0) -> None:
        """`restarts`: how likely the daemon ends and starts again before a look."""
        self.random, self.restarts = random.Random(seed), restarts
        self.world = World(root, **self.SETTINGS)
        self.number, self.epochs, self.is_burning = stages.STAGE_NUMBERS["checkpoint"], 5, False
        self.history = [self.rows]
        self.expected: list[tuple[frozenset[str], int, int]] = []
        self.trained: list[tuple[frozenset[str], int, int]] = []
        self.attempts = 0
        self.happened: Counter[str] = Counter()
        self.run_by_hand()
        self.world.tick(self.world.noon - timedelta(minutes=40))

    @property
    def rows(self) -> list[str]:
        return self.world.stages.rows["scans"]

    @property
    def declared(self) -> dict[str, Any]:
        return {**self.SETTINGS, "training": {"backbone": "tiny", "epochs": self.epochs}}

    # ------------------------------------------------------------------------------------------------------- the rules

    @property
    def what_it_would_be(self) -> tuple[frozenset[str], int, int]:
        return frozenset(self.rows), self.epochs, self.number

    def expect_training(self) -> None:
        is_bad = any(row.startswith("BAD") for row in self.rows)
        if not is_bad and not self.is_burning and self.what_it_would_be not in self.expected:
            self.expected.append(self.what_it_would_be)

    def note_trainings(self) -> None:
        """What was trained on since the last look: the fake stages know it by fingerprint only, so it is noted here."""
        if len(self.world.stages.checkpoints) > len(self.trained):
            assert len(self.world.stages.checkpoints) == len(self.trained) + 1, "one training at a time"
            self.trained.append(self.what_it_would_be)

    # ------------------------------------------------------------------------------------------------------ the events

    def touch(self) -> None:
        self.world.put(*self.rows)

    def reorder(self) -> None:
        rows = [*self.rows, self.random.choice(self.rows)]
        self.random.shuffle(rows)
        self.world.put(*rows)

    def add_row(self) -> None:
        self.world.put(*self.rows, f"what is {self.random.randrange(10**6)}|{self.random.choice(['cat', 'dog', '2'])}")

    def remove_row(self) -> None:
        if len(self.rows) > 1:
            self.world.put(*self.rows[1:])

    def go_bad(self) -> None:
        self.world.put(*self.rows, f"BAD|{self.random.randrange(100)}")

    def mend(self) -> None:
        self.world.put(*[row for row in self.rows if not row.startswith("BAD")] or ["what is it|cat"])

    def go_back(self) -> None:
        self.world.put(*self.random.choice(self.history))

    def set_epochs(self) -> None:
        self.epochs = self.random.randrange(4, 9)
        self.load()

    def upgrade(self) -> None:
        self.number += 1
        self.world.stages.STAGE_NUMBERS = {**stages.STAGE_NUMBERS, "checkpoint": self.number}
        self.load()

    def load(self) -> None:
        self.world.declare(**self.declared)

    def catch_fire(self) -> None:
        self.is_burning = True
        self.world.stages.failures["checkpoint"] = TrainingError("the GPU is on fire")

    def put_out(self) -> None:
        self.is_burning = False
        self.world.stages.failures.pop("checkpoint", None)

    def run_by_hand(self) -> None:
        self.expect_training()
        self.world.run(*as_keys(*WHOLE))
        self.note_trainings()

    def materialize_data_again(self) -> None:
        self.world.run(*as_keys("records/scans", "dataset", "vocabulary"))

    def change_during_training(self) -> None:
        """The next training that really happens finds other rows when it is done; sometimes they are curated already."""

        def change() -> None:
            if self.is_burning:
                return  # it does not really happen
            self.world.stages.while_training = lambda: None
            self.trained.append(self.what_it_would_be)
            self.world.put(*self.rows, f"what came at night {self.random.randrange(10**6)}|owl")
            if self.random.random() < 0.5:
                self.materialize_data_again()

        self.world.stages.while_training = change

    EVENTS: tuple[tuple[Callable[[Year], None], int], ...] = (
        *((touch, 8), (reorder, 8), (add_row, 14), (remove_row, 7), (go_bad, 4), (mend, 8), (go_back, 6)),
        *((set_epochs, 6), (upgrade, 1), (catch_fire, 2), (put_out, 5), (load, 3), (run_by_hand, 3)),
        *((materialize_data_again, 3), (change_during_training, 4)),
    )

    def lose_instance(self) -> None:
        """Dagster's memory is gone; the store is not."""
        self.world.instance, self.world.cursor = dg.DagsterInstance.ephemeral(), None

    # ------------------------------------------------------------------------------------------------------------ days

    def live(self, num_days: int, num_events: int) -> None:
        events, weights = zip(*self.EVENTS, strict=True)
        for day in range(num_days):
            due = num_events * (day + 1) // num_days - num_events * day // num_days
            if self.random.random() < 0.01:
                self.lose_instance()
            chosen = [(self.random.choice(MORNING), event) for event in self.random.choices(events, weights, k=due)]
            self.live_day(chosen)

    def live_day(self, events: Events) -> None:
        attempts = 0
        for hour in HOURS:
            self.befall(events, hour)
            if hour == TICK:
                self.expect_training()
            requested = self.look(hour)
            assert "checkpoint" not in requested or hour >= TICK, "by day, nothing trains"
            attempts += "checkpoint" in requested
        assert attempts <= 1, "a night has one training"
        assert self.trained == self.expected
        self.world.noon += timedelta(days=1)

    def befall(self, events: Events, hour: int) -> None:
        for when, event in events:
            if when == hour:
                event(self)
                self.happened[event.__name__] += 1
                self.history.append(self.rows)

    def look(self, hour: int) -> set[str]:
        """What the daemon requests at a minute past an hour of the day."""
        if self.random.random() < self.restarts:
            self.world.restart(**self.declared)
            self.happened["restart"] += 1
        requested = self.world.tick(self.world.noon + timedelta(hours=hour - 12, minutes=1)) - OBSERVED
        self.note_trainings()
        return requested


class EagerYear(Year):
    """With `retrain: on_change`."""

    SETTINGS = {"retrain": "on_change"}

    def live_day(self, events: Events) -> None:
        """The day ends once nothing is asked for any more: one training may have brought the next."""
        num_trained, attempts = len(self.trained), 0
        for hour in HOURS:
            self.befall(events, hour)
            attempts += "checkpoint" in self.look(hour)
        hour = HOURS[-1] + 1
        while requested := self.look(hour):
            attempts += "checkpoint" in requested
            assert hour < LATEST, "it comes to an end"
            hour += 1
        num_changes = len(events) + (len(self.trained) - num_trained)  # a training may come with a change
        assert attempts <= num_changes + self.is_burning, "nothing trains unasked"
        is_bad = any(row.startswith("BAD") for row in self.rows)
        if not is_bad and not self.is_burning:
            assert self.world.stages.checkpoints, "something was trained"
            assert self.trained_last == self.fingerprint, "what is there now is what is trained on"
        self.world.noon += timedelta(days=1)

    @property
    def trained_last(self) -> str:
        return self.world.stages._current["checkpoint"].manifest.data_version

    @property
    def fingerprint(self) -> str:
        """Of a checkpoint made of what is there now."""
        rows, answers = sorted(set(self.rows)), sorted({row.partition("|")[2] for row in self.rows})
        settings = stages.stage_settings(make_pipeline(self.world.root, **self.declared), "checkpoint")
        return compute_fingerprint([compute_fingerprint(rows), compute_fingerprint(answers)], settings, self.number)


FEW_DAYS = {"num_days": 4, "num_events": 20}
MONTH = {"num_days": 31, "num_events": 90}


def test_four_days_with_twenty_events(tmp_path):
    year = Year(tmp_path, seed=2)
    year.live(**FEW_DAYS)
    assert len(year.trained) > 2


@pytest.mark.slow
def test_a_year_with_a_thousand_events(tmp_path):
    year = Year(tmp_path, seed=1)
    year.live(num_days=365, num_events=1000)
    assert year.happened.total() == 1000
    assert min(year.happened.values()) >= 5, year.happened
    assert len(year.trained) > 100
    assert len(year.trained) < 365


@pytest.mark.slow
def test_a_month_with_a_daemon_that_is_restarted_at_any_moment(tmp_path):
    year = Year(tmp_path, seed=5, restarts=0.3)
    year.live(**MONTH)
    assert year.happened["restart"] > 30
    assert len(year.trained) > 8


@pytest.mark.slow
def test_a_month_in_which_every_change_is_trained_on_at_once(tmp_path):
    year = EagerYear(tmp_path, seed=6, restarts=0.1)
    year.live(**MONTH)
    assert len(year.trained) > 15
