"""Where a project is and which pipelines it declares. Quick: reads YAML files, loads neither Dagster nor torch."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqa_pipeline.declarations import COMPONENT, build_pipeline, read_declared, read_text
from vqa_pipeline.errors import SettingsError
from vqa_pipeline.mistakes import Mistake
from vqa_pipeline.pipeline import Pipeline


def find_project(start: Path) -> Path:
    """The nearest folder at or above `start` that is a Dagster project.

    Raises:
        SettingsError: there is none, or a pyproject.toml on the way cannot be read.
    """
    project = find_project_at(start)
    if project is not None:
        return project
    fix = "Change into a project (its pyproject.toml has a section [tool.dg.project])."
    raise SettingsError("project", f"no project at or above {start.resolve()}", fix)


def find_project_at(start: Path) -> Path | None:
    """The same, or None where there is no project.

    Raises:
        SettingsError: a pyproject.toml on the way cannot be read.
    """
    folders = (start.resolve(), *start.resolve().parents)
    return next((folder for folder in folders if _read_project_settings(folder)), None)


def _read_project_settings(folder: Path) -> Mapping[str, Any]:
    file = folder / "pyproject.toml"
    if not file.is_file():
        return {}
    try:
        settings: Mapping[str, Any] = tomllib.loads(read_text(file)).get("tool", {}).get("dg", {}).get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(file), f"is not TOML ({error})", "Correct the file.") from error
    return settings


def find_declarations(project: Path) -> list[Path]:
    """The files below the project's `defs` that declare a pipeline.

    Raises:
        SettingsError: a file cannot be read.
    """
    found = [file for folder in _list_defs_folders(project) for file in sorted(folder.rglob("defs.y*ml"))]
    files = [file for file in found if file.name in {"defs.yaml", "defs.yml"} and file.is_file()]
    return [file for file in files if COMPONENT in read_text(file)]


def _list_defs_folders(project: Path) -> list[Path]:
    """Where a project's `defs` may lie: in its package, beside pyproject.toml or in `src`."""
    module = str(_read_project_settings(project).get("root_module", ""))
    return [project / base / module.replace(".", "/") / "defs" for base in ("", "src")]


def find_defs_folder(project: Path) -> Path:
    """Where the project's declarations belong: in `src` if its package is there, else beside pyproject.toml."""
    beside, in_src = _list_defs_folders(project)
    return in_src if in_src.parent.is_dir() and not beside.parent.is_dir() else beside


def load_pipelines(project: Path) -> list[Pipeline]:
    """Every pipeline that the project declares, in the order of their files.

    Raises:
        SettingsError: a file is wrong, or two pipelines have one name; file, line, setting and reason are named.
    """
    pipelines: dict[str, Pipeline] = {}
    places: dict[str, Path] = {}
    for file in find_declarations(project):
        for declaration, attributes in read_declared(file):
            pipeline = build_pipeline(attributes, declaration, project)
            if pipeline.name in places:
                reason = f"{pipeline.name!r} is the name of another pipeline, declared in {places[pipeline.name]}"
                raise declaration.refuse([Mistake(("name",), reason)], "Give each a name of its own.")
            pipelines[pipeline.name], places[pipeline.name] = pipeline, file
    return list(pipelines.values())


def choose_pipeline(pipelines: list[Pipeline], name: str | None) -> Pipeline:
    """The pipeline of that name, or the only one.

    Raises:
        SettingsError: there is none of that name, or several and no name.
    """
    names = ", ".join(pipeline.name for pipeline in pipelines) or "none"
    matching = [pipeline for pipeline in pipelines if name in {None, pipeline.name}]
    if len(matching) == 1:
        return matching[0]
    if name is None and pipelines:
        raise SettingsError("--pipeline", "the project has several pipelines", f"Name one of: {names}.")
    raise SettingsError("--pipeline", f"there is no pipeline {name or ''}".rstrip(), f"Pipelines declared: {names}.")


def read_pipelines(file: Path, project: Path) -> list[Pipeline]:
    """The pipelines that a file declares; several are separated by `---`.

    Raises:
        SettingsError: the file cannot be read, declares none or is wrong.
    """
    declared = read_declared(file)
    if not declared:
        raise SettingsError(str(file), "declares no pipeline", f"A pipeline begins with `type: {COMPONENT}`.")
    return [build_pipeline(attributes, declaration, project) for declaration, attributes in declared]
