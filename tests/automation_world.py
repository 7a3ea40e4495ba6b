"""Dagster's daemon with a clock that tests turn, on the pipeline's own graph: what is requested really runs.

Times are UTC. A day begins at noon; the clock is read at a minute past 12, 13, 14, 15, 16, 2 and 3, and the cron of most
tests says 02:00, so a night's training is requested at 02:01. The real daemon reads it twice a minute.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._daemon.asset_daemon import (
    asset_daemon_cursor_from_instigator_serialized_cursor,
    asset_daemon_cursor_to_instigator_serialized_cursor,
)
from fake_stages import FakeStages, make_pipeline

from vqa_pipeline.orchestration.assets import build_definitions

NIGHTLY = {"cron": "0 2 * * *", "timezone": "UTC"}
HOURS = (12, 13, 14, 15, 16, 26, 27)
OBSERVED = {"raw/scans"}
WHOLE = ("raw/scans", "records/scans", "dataset", "vocabulary", "checkpoint", "predictions", "metrics", "champion")
Requests = list[tuple[datetime, set[str]]]


class World:
    """Dagster's daemon, with a clock that we turn."""

    def __init__(self, root: Path, **settings) -> None:
        self.stages, self.root = FakeStages(root), root
        self.instance, self.cursor = dg.DagsterInstance.ephemeral(), None
        self.noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
        self.declare(**settings)

    def declare(self, **settings) -> None:
        """Load the definitions, as after a change of the YAML."""
        settings = {"retrain": NIGHTLY, **settings}
        quiet = dg.Definitions(loggers={"console": _silence})
        built = build_definitions(make_pipeline(self.root, **settings), self.stages)
        self.definitions = dg.Definitions.merge(built, quiet)
        self.job = self.definitions.resolve_implicit_global_asset_job_def()

    def restart(self, **settings) -> None:
        """The daemon ends and starts again: definitions are loaded anew, and the cursor is what it had stored."""
        stored = asset_daemon_cursor_to_instigator_serialized_cursor(self.cursor or AssetDaemonCursor.empty())
        self.declare(**settings)
        graph = self.definitions.resolve_asset_graph()
        self.cursor = asset_daemon_cursor_from_instigator_serialized_cursor(stored, graph)

    def put(self, *rows: str) -> None:
        """Change the files of the source."""
        self.stages.rows["scans"] = list(rows)

    def tick(self, now: datetime) -> set[str]:
        """Ask the conditions at a time, run what they request."""
        told = dg.evaluate_automation_conditions(
            self.definitions, self.instance, evaluation_time=now, cursor=self.cursor
        )
        self.cursor = told.cursor
        keys = [
            key for key in self.definitions.resolve_asset_graph().get_all_asset_keys() if told.get_num_requested(key)
        ]
        if keys:
            self.run(*keys)
        return {"/".join(key.path[1:]) for key in keys}

    def run(self, *keys: dg.AssetKey) -> None:
        self.job.execute_in_process(
            instance=self.instance, asset_selection=keys, raise_on_error=False, run_config={"loggers": {"console": {}}}
        )

    def pass_days(self, days: int, before_hour: int = 36) -> Requests:
        """What was requested when, up to an hour of the last day; the regular look at the files is left out."""
        requests: Requests = []
        for day in range(days):
            last = day == days - 1
            for hour in HOURS:
                if not last or hour < before_hour:
                    now = self.noon + timedelta(days=day, hours=hour - 12, minutes=1)
                    requests.append((now, self.tick(now) - OBSERVED))
        self.noon += timedelta(days=days)
        return [(now, assets) for now, assets in requests if assets]


@dg.logger
def _silence(init: dg.InitLoggerContext):
    return logging.Logger("silence", level=logging.CRITICAL)  # noqa: LOG001 - Dagster wants its own


def trainings(requests: Requests) -> list[str]:
    """When a training was requested: day of the month and time."""
    return [time.strftime("%d %H:%M") for time, assets in requests if "checkpoint" in assets]


def requested(requests: Requests) -> set[str]:
    return set().union(*(assets for _, assets in requests))


def as_keys(*assets: str) -> list[dg.AssetKey]:
    return [dg.AssetKey(["clinic", *asset.split("/")]) for asset in assets]
