"""A real `dagster dev`, its webserver and daemons, asked over GraphQL as its pages ask it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from live_project import STAGES, Server, read_versions, wait_until

pytestmark = pytest.mark.slow

LONG = {"epochs": 2000}
"""Minutes of training: what several tests do of it, one after the other, is not all of it."""
CHECKS = {
    "records/shapes": {"corrections_fit"},
    "dataset": {"ledger_balances", "has_questions", "reject_fraction", "no_leakage", "no_rejects", "drift"},
    "vocabulary": {"coverage"},
    "checkpoint": {"reloads"},
    "metrics": {"looks_at_images", "calibrated"},
    "champion": {"no_regression"},
}


def read_assets(server: Server, pipeline: str) -> dict[str, dict[str, Any]]:
    """What the server knows of a pipeline's assets, by their key below it."""
    nodes = server.ask("""{ assetNodes { assetKey { path } groupName pools hasMaterializePermission
        assetMaterializations(limit: 1) { runId tags { key value }
          metadataEntries { label ... on IntMetadataEntry { intValue } ... on MarkdownMetadataEntry { mdStr } } }
        assetChecksOrError { ... on AssetChecks { checks { name blocking
          executionForLatestMaterialization { runId status evaluation { success } } } } } } }""")["assetNodes"]
    return {"/".join(node["assetKey"]["path"][1:]): node for node in nodes if node["groupName"] == pipeline}


def read_pool(server: Server) -> dict[str, Any]:
    """The GPU's pool: its slots and who holds them."""
    [pool] = server.ask("{ instance { concurrencyLimits { concurrencyKey slotCount claimedSlots { runId } } } }")[
        "instance"
    ]["concurrencyLimits"]
    return {
        "slots": (pool["concurrencyKey"], pool["slotCount"]),
        "runs": [slot["runId"] for slot in pool["claimedSlots"]],
    }


def test_the_location_loads_and_shows_every_asset_of_both_pipelines(server):
    for pipeline in ("clinic", "ward"):
        assets = read_assets(server, pipeline)
        assert set(assets) == {*STAGES, "training_curve"}
        assert {name for name, node in assets.items() if node["pools"] == ["gpu"]} == {"checkpoint", "predictions"}
    [code] = server.project.find_processes("dagster api grpc")
    assert Path(code.cwd()) == server.project.root, "it is the copy that is loaded"


def test_every_daemon_that_the_instance_needs_is_healthy(server):
    told = server.ask("{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }")
    daemons = {one["daemonType"]: one["healthy"] for one in told["instance"]["daemonHealth"]["allDaemonStatuses"]}
    for needed in ("ASSET", "SENSOR", "QUEUED_RUN_COORDINATOR", "MONITORING"):
        assert daemons[needed] is True


def test_a_run_of_everything_is_told_with_its_versions_counts_and_checks(server, whole_run):
    assets = read_assets(server, "clinic")
    manifests = read_versions(server.project.store("clinic"))
    latest = {name: assets[name]["assetMaterializations"][0] for name in STAGES}
    assert {one["runId"] for one in latest.values()} == {whole_run}
    tags = {name: {tag["key"]: tag["value"] for tag in one["tags"]} for name, one in latest.items()}
    assert {name: told["dagster/data_version"] for name, told in tags.items()} == {
        name: manifest["data_version"] for name, manifest in manifests.items()
    }
    metadata = {name: {entry["label"]: entry for entry in one["metadataEntries"]} for name, one in latest.items()}
    rows = {
        name: told["dagster/row_count"]["intValue"] for name, told in metadata.items() if "dagster/row_count" in told
    }
    assert rows == {"records/shapes": 240, "dataset": 240, "vocabulary": 11, "predictions": 24}
    assert all(told["page"]["mdStr"] for told in metadata.values())
    checks = {name: node["assetChecksOrError"].get("checks", []) for name, node in assets.items()}
    assert {name: {check["name"] for check in told} for name, told in checks.items() if told} == CHECKS
    for check in checks["dataset"]:
        assert check["executionForLatestMaterialization"]["runId"] == whole_run
        assert check["executionForLatestMaterialization"]["status"] == "SUCCEEDED"
    log = server.read_log(whole_run)
    for name in STAGES:
        step = "clinic__" + name.replace("/", "__")
        assert f'Executing step "{step}" in subprocess.' in log


@pytest.fixture(scope="session")
def ward_s_vocabulary(server: Server) -> None:
    """The second pipeline up to its vocabulary, made by a command beside the running server."""
    status, told = server.project.run("run", "--pipeline", "ward", "--until", "vocabulary")
    assert status == 0, told


def test_what_a_command_makes_is_seen_in_the_server(server, ward_s_vocabulary):
    made = {name for name, node in read_assets(server, "ward").items() if node["assetMaterializations"]}
    assert made == {"raw/shapes", "records/shapes", "dataset", "vocabulary"}


def test_trainings_take_turns_and_one_that_is_stopped_goes_on_later(server, whole_run, ward_s_vocabulary):
    first = server.launch("clinic", ["checkpoint"], LONG)
    wait_until(lambda: "epoch 1 done" in server.read_log(first), 120, "the first training has begun")
    second = server.launch("ward", ["checkpoint"])
    for _ in range(25):  # some turns of the daemon that starts runs
        assert server.status(second) == "QUEUED"
        assert len(server.project.find_workers()) == 1
    on_cpu = server.launch("ward", STAGES[: STAGES.index("checkpoint")])
    server.wait_for(on_cpu, "SUCCESS", 150)
    assert server.status(second) == "QUEUED", "what needs no GPU did not wait for it"
    assert read_pool(server) == {"slots": ("gpu", 1), "runs": [first]}
    curve = server.ask("""{ assetOrError(assetKey: {path: ["clinic", "training_curve"]}) { ... on Asset {
        assetObservations(limit: 20) { runId metadataEntries { label } } } } }""")["assetOrError"]["assetObservations"]
    live = [{entry["label"] for entry in point["metadataEntries"]} for point in curve if point["runId"] == first]
    assert live, "the curve is there while it trains"
    assert live[0] >= {"step", "epoch", "loss", "learning_rate"}

    server.terminate(first)
    server.wait_for(first, "CANCELED", 60)
    job = server.project.root / "data" / "scratch" / "clinic" / "jobs" / f"train-{first}.json"
    assert server.project.find_processes(str(job)) == []
    assert list((server.project.root / "data/scratch/clinic/training").glob("*/step-*"))

    def ended() -> bool:
        assert len(server.project.find_workers()) <= 1
        return server.status(second) in {"SUCCESS", "FAILURE"}

    wait_until(ended, 150, "the second training")
    assert server.status(second) == "SUCCESS", server.read_log(second)

    third = server.launch("clinic", ["checkpoint"], {**LONG, "processes": 2})
    wait_until(lambda: "parameters learn" in server.read_log(third), 120, "the first training goes on")
    wait_until(lambda: "going on from step" in server.read_log(third), 5, "it says from where")
    assert len(server.project.find_workers()) > 2, "a launcher and its ranks"
    server.terminate(third)
    server.wait_for(third, "CANCELED", 60)
    assert server.project.find_workers() == []


def crash(server: Server, killed: set[str]) -> None:
    """Kill, as the kernel does when memory is out, the process of a run or that of its step."""
    [worker] = server.project.find_workers()
    step = worker.parent()
    for name, process in {"run": step.parent(), "step": step}.items():
        if name in killed:
            process.kill()


def count_saved_steps(server: Server) -> int:
    """Of the training of `clinic` that worked last."""
    saved = (server.project.root / "data/scratch/clinic/training").glob("*/step-*")
    newest = max(saved, key=lambda path: path.stat().st_mtime)
    return int(newest.name.split("-")[1])


@pytest.mark.parametrize("killed", [{"run"}, {"step"}], ids=["run", "step"])
def test_a_crashed_training_frees_the_gpu_and_the_next_one_goes_on(server, whole_run, killed):
    first = server.launch("clinic", ["checkpoint"], LONG)
    wait_until(lambda: re.search(r"epoch \d+ done", server.read_log(first)), 120, "an epoch is done")
    crash(server, killed)
    wait_until(lambda: server.project.find_workers() == [], 30, "the worker has saved and ended")
    wait_until(lambda: server.status(first) == "FAILURE", 150, "the crash is noticed")
    wait_until(lambda: read_pool(server)["runs"] == [], 60, "the GPU's slot is free")
    saved = count_saved_steps(server)
    second = server.launch("clinic", ["checkpoint"], LONG)
    told = wait_until(lambda: re.search(r"going on from step ([\d,]+)", server.read_log(second)), 120, "its turn")
    assert told[1] == f"{saved:,}", "nothing is trained twice"
    server.terminate(second)
    server.wait_for(second, "CANCELED", 60)
