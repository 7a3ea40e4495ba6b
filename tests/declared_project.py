"""A project's folder with declarations written by hand: what tests of projects and of declarations share."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.project import read_pipelines

PYPROJECT = '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "hospital"\n'
CLINIC = """\
type: vqa_pipeline.VqaPipeline
attributes:
  name: clinic
  sources:
    - name: toys
      format: shapes
      images: 20
    - {name: scans, format: table,
       files: raw/*.csv}
  training:
    epochs: 3
"""


class Project:
    """A project's folder, its declarations written by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        (root / "pyproject.toml").write_text(PYPROJECT)

    def declare(self, text: str = CLINIC, folder: str = "clinic") -> Path:
        file = self.root / "hospital" / "defs" / folder / "defs.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def read(self, *replaced: str) -> Pipeline:
        """The clinic, some of its text replaced by another."""
        text = CLINIC
        for old, new in zip(replaced[::2], replaced[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        [pipeline] = read_pipelines(self.declare(text), self.root)
        return pipeline

    def refuse(self, *replaced: str) -> str:
        """What is told of a mistake, without the file's name, which is always told."""
        with pytest.raises(SettingsError) as error:
            self.read(*replaced)
        file = self.root / "hospital" / "defs" / "clinic" / "defs.yaml"
        assert str(error.value).startswith(f"`{file}`: ")
        return str(error.value).removeprefix(f"`{file}`: ").removesuffix(" Correct the file.").removesuffix(".")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "hospital project")
