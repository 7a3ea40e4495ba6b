"""Options that commands share, and what they choose: a pipeline of the project that the current folder lies in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vqa_pipeline.pipeline import Pipeline
from vqa_pipeline.project import choose_pipeline, find_project, load_pipelines, read_pipelines

PipelineName = Annotated[
    str | None, typer.Option("--pipeline", help="Name of the pipeline, when the project has several.")
]
DeclarationFile = Annotated[
    Path | None, typer.Option("--file", help="A defs.yaml outside of the project's defs, such as an example's.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]


def find_pipelines(file: Path | None) -> list[Pipeline]:
    """The pipelines of a file, or of the project at or above the current folder.

    Raises:
        SettingsError: there is no project, or a declaration is wrong.
    """
    project = find_project(Path.cwd())
    return read_pipelines(file, project) if file else load_pipelines(project)


def find_pipeline(name: str | None, file: Path | None) -> Pipeline:
    """The pipeline that the options choose.

    Raises:
        SettingsError: there is none, or several and no name.
    """
    return choose_pipeline(find_pipelines(file), name)
