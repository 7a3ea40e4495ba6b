"""A year of random events on the pipeline's own graph: every training that was due came, once, and no other.

What is due is told by a few plain rules, written down here without a word of Dagster: at each night's tick, what is
published is trained on, unless that was done before, the newest data is bad, or the GPU is on fire.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from automation_world import OBSERVED, WHOLE, World, as_keys

from vqa_pipeline import stages
from vqa_pipeline.errors import TrainingError

MORNING, TICK = (12, 13), 26
"""Events happen before the look at noon or the one after it: by night, all that follows from them is done."""
HOURS = (12, 13, 14, 15, 16, TICK, 27)


class Year:
    """The world, the plain rules beside it, and the events that befall both."""

    def __init__(self, root: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = World(root)
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
        self.world.declare(training={"backbone": "tiny", "epochs": self.epochs})

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

    def live_day(self, events: list[tuple[int, Callable[[Year], None]]]) -> None:
        attempts = 0
        for hour in HOURS:
            for when, event in events:
                if when == hour:
                    event(self)
                    self.happened[event.__name__] += 1
                    self.history.append(self.rows)
            if hour == TICK:
                self.expect_training()
            requested = self.world.tick(self.world.noon + timedelta(hours=hour - 12, minutes=1)) - OBSERVED
            assert "checkpoint" not in requested or hour >= TICK, "by day, nothing trains"
            attempts += "checkpoint" in requested
            self.note_trainings()
        assert attempts <= 1, "a night has one training"
        assert self.trained == self.expected
        self.world.noon += timedelta(days=1)


def test_a_week_with_thirty_events(tmp_path):
    year = Year(tmp_path, seed=2)
    year.live(num_days=7, num_events=30)
    assert len(year.trained) > 2


@pytest.mark.slow
def test_a_year_with_a_thousand_events(tmp_path):
    year = Year(tmp_path, seed=1)
    year.live(num_days=365, num_events=1000)
    assert year.happened.total() == 1000
    assert min(year.happened.values()) >= 5, year.happened
    assert len(year.trained) > 100
    assert len(year.trained) < 365
