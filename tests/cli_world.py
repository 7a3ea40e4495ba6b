"""A project with a store written by hand, and the command line called as a shell calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from reporting_world import write_rejects

from vqa_pipeline.cli import main

PYPROJECT = '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "hospital"\n'

DECLARATION = """
type: vqa_pipeline.VqaPipeline
attributes:
  name: {name}
  sources:
    - {{name: scans, format: table, files: raw/scans.csv, image_root: raw/images,
       columns: {{image: image, question: question, answers: answer}}, splits: {{column: split}}}}
  training: {{backbone: tiny, epochs: 5}}
"""

COLOURS_DECLARATION = """
type: vqa_pipeline.VqaPipeline
attributes:
  name: clinic
  sources:
    - {{name: colours, format: table, files: raw/questions.csv, image_root: raw/images,
       columns: {{id: id, image: image, question: question, answers: answer}}, splits: {{column: split}}}}
  training: {{backbone: tiny, epochs: {epochs}}}
"""
"""The source of colours_world; sections may follow."""


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


class Project:
    """A project's folder; its pipelines are declared and published by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        (root / "pyproject.toml").write_text(PYPROJECT)

    def declare(self, name: str, text: str = DECLARATION) -> Path:
        file = self.root / "hospital" / "defs" / name / "defs.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text.format(name=name))
        return file

    def publish(
        self,
        asset: str,
        numbers: dict[str, Any] | None = None,
        *,
        details: dict[str, Any] | None = None,
        pipeline: str = "clinic",
        minute: int = 0,
    ) -> Path:
        """A version with these numbers, published some minutes after noon; returns its folder."""
        folder = self.root / "data" / "store" / pipeline / asset / "versions" / "v1"
        folder.mkdir(parents=True)
        manifest = {
            "asset": asset,
            "version": "v1",
            "data_version": f"data version of {asset}",
            "stage_number": 1,
            "settings": {},
            "inputs": {},
            "numbers": numbers or {},
            "details": details or {},
            "files": {},
            "seconds": 1.5,
            "created_at": f"2026-01-02T12:{minute:02}:00Z",
            "packages": {},
            "git_commit": None,
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))
        (folder.parent.parent / "current.json").write_text('{"version": "v1"}')
        return folder

    def fail_gate(self, *rows: dict[str, Any]) -> Path:
        """A candidate of the dataset that failed its gate."""
        folder = self.root / "data" / "store" / "clinic" / "dataset" / "candidates" / "c1"
        write_rejects(folder / "rejects", *rows)
        return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with one declared pipeline, clinic; the current folder is the project's."""
    project = Project(tmp_path / "hospital project")
    project.declare("clinic")
    monkeypatch.chdir(project.root)
    return project


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Calls `vqa-pipeline` in this process."""
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: str) -> Ended:
        status = 0
        try:
            main(arguments)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0
        return Ended(status, *capsys.readouterr())

    return call
