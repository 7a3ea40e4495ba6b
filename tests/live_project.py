"""A project of its own in a temporary folder, and the real processes that work on it: commands, a Dagster server.

The project is a copy of this one's code with small pipelines declared in it. Everything started there carries a mark in
its environment, so that whatever is left of it is found, wherever it went, and ended with the test.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

HERE = Path(__file__).parents[1]
STAGES = ("raw/shapes", "records/shapes", "dataset", "vocabulary", "checkpoint", "predictions", "metrics", "champion")
_MARK = "VQA_PIPELINE_TEST"

PIPELINE: dict[str, Any] = {
    "sources": [{"name": "shapes", "format": "shapes", "images": 60, "broken_rows": False}],
    "training": {
        "backbone": "tiny",
        "epochs": 3,
        "batch_size": 16,
        "learning_rate": 0.001,
        "checkpoint_every_steps": 2,
        "device": "cpu",
        "threads": 1,
    },
}
"""240 questions about 60 pictures, learned in 36 steps: a run takes seconds, most of them for imports."""


class Project:
    """A project's folder and the processes started in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(
            HERE / "vqa_pipeline", root / "vqa_pipeline", ignore=shutil.ignore_patterns("__pycache__", "defs")
        )
        for name in ("pyproject.toml", "dagster.yaml", "workspace.yaml"):
            shutil.copy(HERE / name, root)
        ours = {**os.environ, _MARK: str(root), "DAGSTER_HOME": str(root), "PYTHONWARNINGS": "ignore"}
        self.environment = {**ours, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        self.environment.pop("VQA_STORE", None)

    def declare(self, name: str, **changes: Any) -> None:
        """A pipeline of the project, anew if it is declared; `changes` are sections that differ from `PIPELINE`."""
        file = self.root / "vqa_pipeline" / "defs" / name / "defs.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        attributes = {**PIPELINE, "name": name, **changes}
        file.write_text(yaml.safe_dump({"type": "vqa_pipeline.VqaPipeline", "attributes": attributes}))

    def start(self, *command: str, output: int | Any = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start `python -m COMMAND` in the project, in a process group of its own; stdout and stderr are one."""
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, seconds: float = 240) -> tuple[int, str]:
        """Run `vqa-pipeline ARGUMENTS` to its end: exit status and what it printed."""
        process = self.start("vqa_pipeline.cli", *arguments)
        try:
            told, _ = process.communicate(timeout=seconds)
        finally:
            kill(process)
        return process.returncode, told

    def find_processes(self, words: str = "") -> list[psutil.Process]:
        """What runs of everything that was ever started here, servers and workers included; `words` are in its command."""
        return [process for process in psutil.process_iter() if self._owns(process, words)]

    def find_workers(self) -> list[psutil.Process]:
        """The processes that train or predict."""
        return self.find_processes("vqa_pipeline.worker")

    def _owns(self, process: psutil.Process, words: str) -> bool:
        try:
            marked = process.environ().get(_MARK) == str(self.root) and process.status() != psutil.STATUS_ZOMBIE
            return marked and words in " ".join(process.cmdline())
        except psutil.Error:
            return False

    def end(self) -> None:
        """End whatever is left."""
        while left := self.find_processes():
            for process in left:
                kill_process(process.pid)
            time.sleep(0.05)

    def store(self, name: str) -> Path:
        """The published versions of a pipeline."""
        return self.root / "data" / "store" / name


@contextmanager
def live_project(root: Path) -> Iterator[Project]:
    """A project whose processes end with the test."""
    project = Project(root)
    try:
        yield project
    finally:
        project.end()


def kill(process: subprocess.Popen[str]) -> None:
    """End a process and its group at once, as by a power cut."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def kill_process(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait for something; returns it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)
    return found


# -------------------------------------------------------------------------------------------------------------- store


def read_versions(store: Path) -> dict[str, dict[str, Any]]:
    """The manifest of each asset's current version; every file it tells of is there, whole."""
    manifests = {}
    for pointer in sorted(store.rglob("current.json")):
        asset = pointer.parent
        version = json.loads(pointer.read_text())["version"]
        manifest = json.loads((asset / "versions" / version / "manifest.json").read_text())
        sizes = {name: (asset / "versions" / version / name).stat().st_size for name in manifest["files"]}
        assert sizes == manifest["files"], f"{asset} is not what its manifest says"
        manifests[asset.relative_to(store).as_posix()] = manifest
    return manifests


def check_one_state(store: Path) -> None:
    """What is current was all made from each other: no version of one state of the data beside one of another."""
    manifests = read_versions(store)
    for asset, manifest in manifests.items():
        for name, read in manifest["inputs"].items():
            assert read["data_version"] == manifests[name]["data_version"], f"{asset} was made from another {name}"


# ------------------------------------------------------------------------------------------------------------- server


class Server:
    """A running `dagster dev`, asked over GraphQL."""

    def __init__(self, project: Project, port: int) -> None:
        self.project = project
        self.address = f"http://127.0.0.1:{port}"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """What a GraphQL query answers."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            told = json.loads(response.read())
        assert "errors" not in told, told["errors"]
        return told["data"]

    def launch(self, pipeline: str, assets: Sequence[str], training: Mapping[str, Any] | None = None) -> str:
        """Launch a run of some assets as the page's button does; returns its id."""
        config = {"ops": {f"{pipeline}__checkpoint": {"config": dict(training)}}} if training else {}
        selector = {
            "repositoryLocationName": "vqa_pipeline",
            "repositoryName": "__repository__",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": [pipeline, *asset.split("/")]} for asset in assets],
        }
        launched = self.ask(
            """mutation($wanted: ExecutionParams!) { launchPipelineExecution(executionParams: $wanted) {
                 __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
            wanted={"selector": selector, "runConfigData": config, "mode": "default"},
        )["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def status(self, run: str) -> str:
        """A run's status."""
        return self.ask("query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run)["runOrError"][
            "status"
        ]

    def wait_for(self, run: str, status: str, seconds: float) -> None:
        """Wait for a run to have a status; another final one fails the test at once."""

        def has_it() -> bool:
            now = self.status(run)
            assert now == status or now not in {"SUCCESS", "FAILURE", "CANCELED"}, f"{now}:\n{self.read_log(run)}"
            return now == status

        wait_until(has_it, seconds, f"run is {status}")

    def read_log(self, run: str) -> str:
        """The messages of a run."""
        query = """query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection {
                     events { ... on MessageEvent { message } } } } }"""
        events = self.ask(query, id=run)["logsForRun"]["events"]
        return "\n".join(event.get("message") or "" for event in events)

    def terminate(self, run: str) -> None:
        """Stop a run as the page's button does."""
        query = (
            """mutation($id: String!) { terminateRun(runId: $id, terminatePolicy: SAFE_TERMINATE) { __typename } }"""
        )
        assert self.ask(query, id=run)["terminateRun"]["__typename"] == "TerminateRunSuccess"


@contextmanager
def serve(project: Project) -> Iterator[Server]:
    """`dagster dev` on a free port, ready: its location is loaded and its daemons have reported."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(project, port)
    with (project.root / "server.log").open("w") as log:
        command = ("dagster", "dev", "--workspace", "workspace.yaml", "--host", "127.0.0.1", "--port", str(port))
        process = project.start(*command, output=log)
        try:
            wait_until(lambda: _is_ready(server, process), 120, "the server is ready")
            yield server
        finally:
            kill(process)
            project.end()


_READY = """{ locationStatusesOrError { ... on WorkspaceLocationStatusEntries { entries { loadStatus } } }
  instance { daemonHealth { allDaemonStatuses { required healthy } } } }"""


def _is_ready(server: Server, process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, (server.project.root / "server.log").read_text()
    try:
        told = server.ask(_READY)
    except OSError:
        return False
    loaded = [entry["loadStatus"] == "LOADED" for entry in told["locationStatusesOrError"]["entries"]]
    daemons = [one["healthy"] for one in told["instance"]["daemonHealth"]["allDaemonStatuses"] if one["required"]]
    return bool(loaded) and all(loaded) and bool(daemons) and all(daemons)
