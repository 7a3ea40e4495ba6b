"""One server for all tests that look at it: it takes long to start, and a run of everything takes longer.

Where tests run in several processes, all of this folder run in one, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_project import PIPELINE, STAGES, Server, live_project, serve


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before pytest-xdist reads the groups."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("live"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`dagster dev` on a project with two small pipelines and one whose data is hostile."""
    with live_project(tmp_path_factory.mktemp("live") / "project") as project:
        project.declare("clinic")
        project.declare("ward", training={**PIPELINE["training"], "epochs": 1})
        project.declare(
            "attacked",
            sources=[
                {
                    "name": "table",
                    "format": "table",
                    "files": "raw/attack.csv",
                    "image_root": "raw/images",
                    "columns": {"id": "id", "image": "image", "question": "question", "answers": "answer"},
                    "splits": {"column": "split"},
                }
            ],
            dataset={"max_reject_fraction": 0.5},
        )
        with serve(project) as server:
            yield server


@pytest.fixture(scope="session")
def whole_run(server: Server) -> str:
    """A run of all assets of `clinic`, launched in the server; it ended well."""
    run = server.launch("clinic", STAGES)
    server.wait_for(run, "SUCCESS", 300)
    return run
