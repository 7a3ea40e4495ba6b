"""One server for all tests that look at it: it takes long to start, and a run of everything takes longer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from live_project import PIPELINE, STAGES, Server, live_project, serve


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
