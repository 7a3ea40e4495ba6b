"""Files change under a running daemon: what really changed is trained on by itself, once; what did not costs nothing."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest
from colours_world import declare_source, write_source
from live_project import Server, live_project, read_versions, serve, wait_until

pytestmark = pytest.mark.slow

EVERY_MINUTE = "* * * * *"
UNDONE = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")


def read_events(server: Server, asset: str) -> list[dict[str, Any]]:
    """Materializations, or observations of what is only observed, newest first: run and data version."""
    told = server.ask(
        """query($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset {
             assetMaterializations(limit: 50) { runId tags { key value } }
             assetObservations(limit: 50) { runId tags { key value } } } } }""",
        key={"path": ["nightly", *asset.split("/")]},
    )["assetOrError"]
    events = told.get("assetMaterializations") or told.get("assetObservations") or []
    return [{tag["key"]: tag["value"] for tag in event["tags"]} | {"run": event["runId"]} for event in events]


def count(server: Server, asset: str) -> int:
    return len(read_events(server, asset))


def is_idle(server: Server) -> bool:
    query = """query($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs { results { runId } } } }"""
    return not server.ask(query, filter={"statuses": UNDONE})["runsOrError"]["results"]


def wait_for_looks(server: Server, number: int) -> None:
    """Wait until the daemon has looked at the files so many times more, and is done with what came of it."""
    before = count(server, "raw/colours")
    wait_until(lambda: count(server, "raw/colours") >= before + number, 60 * number + 120, f"{number} looks")
    wait_until(lambda: is_idle(server), 120, "nothing runs")


def rewrite_in_another_order(file: Path) -> None:
    with file.open(newline="") as rows:
        header, *others = list(csv.reader(rows))
    with file.open("w", newline="") as rows:
        csv.writer(rows).writerows([header, *reversed(others)])


def test_a_change_on_disk_is_trained_on_once_and_touched_files_never(tmp_path):
    with live_project(tmp_path / "project") as project:
        project.declare(
            "nightly",
            sources=[declare_source()],
            observe=EVERY_MINUTE,
            retrain={"cron": EVERY_MINUTE, "timezone": "UTC"},
        )
        write_source(project.root)
        table = project.root / "raw" / "questions.csv"
        status, told = project.run("run")
        assert status == 0, told
        with serve(project) as server:
            [first] = read_events(server, "checkpoint")

            rewrite_in_another_order(table)
            os.utime(project.root / "raw" / "images" / "0.png")
            [dataset], [vocabulary] = read_events(server, "dataset"), read_events(server, "vocabulary")
            wait_until(lambda: count(server, "records/colours") == 2, 180, "the rows were read again")
            wait_for_looks(server, 1)
            versions = {one["dagster/data_version"] for one in read_events(server, "dataset")}
            assert versions == {dataset["dagster/data_version"]}, "the same rows in another order are the same dataset"
            assert read_events(server, "vocabulary") == [vocabulary]
            assert read_events(server, "checkpoint") == [first]

            write_source(project.root, change={0: {"answer": "crimson"}})
            wait_until(lambda: count(server, "checkpoint") == 2, 240, "the change was trained on")
            wait_for_looks(server, 1)
            second, before = read_events(server, "checkpoint")
            assert before == first
            assert second["dagster/data_version"] != first["dagster/data_version"]
            assert read_tags(server, second["run"])["dagster/sensor_name"] == "nightly_automation"
        versions = read_versions(project.store("nightly"))
        assert versions["vocabulary"]["numbers"]["num_answers"] == 5
        for asset, read in versions["checkpoint"]["inputs"].items():
            assert read["data_version"] == versions[asset]["data_version"]


def read_tags(server: Server, run: str) -> dict[str, str]:
    query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { tags { key value } } } }"
    return {tag["key"]: tag["value"] for tag in server.ask(query, id=run)["runOrError"]["tags"]}
