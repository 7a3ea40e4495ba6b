"""A dataset made by several processes inside Dagster, by the command that people run."""

from __future__ import annotations

import pytest
from curation_world import read_tree
from live_project import Project

from vqa_pipeline.store import Store

pytestmark = pytest.mark.slow

SOURCES = [{"name": f"shapes_{n}", "format": "shapes", "images": 24, "seed": n, "broken_rows": False} for n in range(5)]
"""Five sources are five checks of images: enough for processes to be started."""


def test_inside_dagster_several_processes_make_the_same_bytes_as_one(tmp_path):
    project = Project(tmp_path)
    trees = []
    for workers in (1, 3):
        name = f"made_by_{workers}"
        project.declare(name, sources=SOURCES, compute={"workers": workers})
        status, said = project.run("run", "--pipeline", name, "--until", "dataset")
        assert status == 0, said
        version = Store(tmp_path / "data" / "store" / name, tmp_path / "scratch").require("dataset")
        trees.append({file: data for file, data in read_tree(version.path).items() if file.endswith(".parquet")})
    splits = {f"questions/{split}-00000.parquet" for split in ("train", "val", "test")}
    assert trees[0].keys() == {"images.parquet", "near_duplicates.parquet", *splits}
    assert trees[0] == trees[1]
