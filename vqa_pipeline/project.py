"""Where a project is and which pipelines it declares. Quick: reads YAML files, loads neither Dagster nor torch.

The same files are read by Dagster's component loader; both render the same `{{ env('NAME', 'default') }}` templates and
validate with the same `PipelineSettings`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment
from pydantic import ValidationError

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.pipeline import Pipeline, PipelineSettings

COMPONENT = "vqa_pipeline.VqaPipeline"


def find_project(start: Path) -> Path:
    """The nearest folder at or above `start` that is a Dagster project.

    Raises:
        SettingsError: there is none.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        if _read_project_settings(folder):
            return folder
    fix = "Change into a project (its pyproject.toml has a section [tool.dg.project])."
    raise SettingsError("project", f"no project at or above {start.resolve()}", fix)


def _read_project_settings(folder: Path) -> Mapping[str, Any]:
    file = folder / "pyproject.toml"
    if not file.is_file():
        return {}
    settings = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("dg", {})
    project: Mapping[str, Any] = settings.get("project", {})
    return project


def find_declarations(project: Path) -> list[Path]:
    """The files below the project's `defs` that declare a pipeline."""
    module = str(_read_project_settings(project).get("root_module", ""))
    bases = [project / module.replace(".", "/"), project / "src" / module.replace(".", "/")]
    files = [file for base in bases for file in sorted((base / "defs").rglob("defs.yaml"))]
    return [file for file in files if COMPONENT in file.read_text(encoding="utf-8")]


def load_pipelines(project: Path) -> list[Pipeline]:
    """Every pipeline that the project declares, in the order of their files.

    Raises:
        SettingsError: a file is wrong; file, setting and reason are named.
    """
    return [pipeline for file in find_declarations(project) for pipeline in read_pipelines(file, project)]


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
        SettingsError: the file is missing or wrong.
    """
    try:
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError("--file", f"{file} cannot be read ({error.strerror})", "Name a defs.yaml.") from error
    except yaml.YAMLError as error:
        raise SettingsError(str(file), f"is not YAML: {error}", "Mend the file.") from error
    declared = [document for document in documents if isinstance(document, dict) and document.get("type") == COMPONENT]
    return [_build_pipeline(file, document.get("attributes") or {}, project) for document in declared]


def _build_pipeline(file: Path, attributes: Mapping[str, Any], project: Path) -> Pipeline:
    try:
        settings = PipelineSettings.model_validate(_render(attributes, file))
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
        raise SettingsError(str(file), told, "`dg check defs` shows the line.") from error
    return Pipeline(settings.name or file.parent.name, settings, project)


def _render(value: Any, file: Path) -> Any:
    """Render the templates in every text of a YAML value."""
    if isinstance(value, Mapping):
        return {key: _render(item, file) for key, item in value.items()}
    if isinstance(value, list):
        return [_render(item, file) for item in value]
    if not isinstance(value, str) or "{{" not in value:
        return value
    try:
        return (
            SandboxedEnvironment(undefined=StrictUndefined, autoescape=False).from_string(value).render(env=_read_env)
        )
    except TemplateError as error:
        raise SettingsError(
            str(file), f"{value!r} cannot be rendered ({error})", "Use {{ env('NAME', 'default') }}."
        ) from error


def _read_env(name: str, default: str | None = None) -> str:
    value = os.environ.get(name, default)
    if value is None:
        raise SettingsError(f"env('{name}')", f"the environment variable {name} is not set", f"Set {name}.")
    return value
