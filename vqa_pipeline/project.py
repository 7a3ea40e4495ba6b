"""Where a project is and which pipelines it declares. Quick: reads YAML files, loads neither Dagster nor torch.

Dagster's component loader builds its pipelines with `build_pipeline` too, so a file means the same to both, and a
mistake in it is told in the same words: file, line, setting, and what is allowed. A text may hold
`{{ env('NAME', 'default') }}`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.pipeline import Pipeline, PipelineSettings
from vqa_pipeline.schemas import Name

COMPONENT = "vqa_pipeline.VqaPipeline"

_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_SHOWN_CHARACTERS = 60

Keys = tuple[str | int, ...]
"""Where a value stands: keys and positions, from the whole document or from the settings on."""


# ------------------------------------------------------------------------------------------------------------- projects


def find_project(start: Path) -> Path:
    """The nearest folder at or above `start` that is a Dagster project.

    Raises:
        SettingsError: there is none, or a pyproject.toml on the way cannot be read.
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
    try:
        settings: Mapping[str, Any] = tomllib.loads(_read_text(file)).get("tool", {}).get("dg", {}).get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(file), f"is not TOML ({error})", "Correct the file.") from error
    return settings


def find_declarations(project: Path) -> list[Path]:
    """The files below the project's `defs` that declare a pipeline.

    Raises:
        SettingsError: a file cannot be read.
    """
    module = str(_read_project_settings(project).get("root_module", ""))
    bases = [project / module.replace(".", "/"), project / "src" / module.replace(".", "/")]
    found = [file for base in bases for file in sorted((base / "defs").rglob("defs.y*ml"))]
    files = [file for file in found if file.name in {"defs.yaml", "defs.yml"} and file.is_file()]
    return [file for file in files if COMPONENT in _read_text(file)]


def load_pipelines(project: Path) -> list[Pipeline]:
    """Every pipeline that the project declares, in the order of their files.

    Raises:
        SettingsError: a file is wrong, or two pipelines have one name; file, line, setting and reason are named.
    """
    pipelines: dict[str, Pipeline] = {}
    places: dict[str, Path] = {}
    for file in find_declarations(project):
        for declaration, attributes in _read_declared(file):
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
    declared = _read_declared(file)
    if not declared:
        raise SettingsError(str(file), "declares no pipeline", f"A pipeline begins with `type: {COMPONENT}`.")
    return [build_pipeline(attributes, declaration, project) for declaration, attributes in declared]


def build_pipeline(attributes: Any, declaration: Declaration, project: Path) -> Pipeline:
    """A pipeline from what its declaration says, templates rendered.

    What is written must already be of the right kind, as Dagster's schema has it: a template stands for a text.

    Raises:
        SettingsError: a setting is unknown, missing or wrong; every mistake is told with its line.
    """
    if declaration.repeated:
        raise declaration.refuse(declaration.repeated)
    if not isinstance(attributes, Mapping):
        raise declaration.refuse([Mistake((), "should be settings, `name: value` each")])
    _validate(attributes, declaration)
    settings = _validate(_render(attributes, (), declaration), declaration)
    name = settings.name or declaration.file.parent.name
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        reason = f"is missing, and the folder's name, {name!r}, will not do: lower-case letters, digits and underscores"
        raise declaration.refuse([Mistake(("name",), reason)]) from None
    return Pipeline(name, settings, project)


# --------------------------------------------------------------------------------------------------------- declarations


class Mistake(NamedTuple):
    """What is wrong with a declaration, and where."""

    keys: Keys
    """From the settings on."""
    reason: str
    line: int | None = None
    """Where, if it is not where the keys lead."""


@dataclass(frozen=True)
class Declaration:
    """A document of a YAML file that declares a pipeline: where each of its settings stands."""

    file: Path
    root: yaml.Node | None = None
    """None when the settings were not read from a file."""
    repeated: tuple[Mistake, ...] = ()
    """Keys that are written twice, of which YAML would silently take the last."""

    def find_line(self, keys: Keys) -> int | None:
        """The line of a setting, or of the nearest section around it; counted from 1."""
        node, line = self.root, None
        for key in ("attributes", *keys):
            found = _find_child(node, key)
            if found is None:
                break
            node, line = found
        return self.root.start_mark.line + 1 if line is None and self.root else line

    def refuse(self, mistakes: Sequence[Mistake], fix: str = "Correct the file.") -> SettingsError:
        """The error that tells these mistakes."""
        return SettingsError(str(self.file), "; ".join(self._describe(mistake) for mistake in mistakes), fix)

    def _describe(self, mistake: Mistake) -> str:
        line = mistake.line or self.find_line(mistake.keys)
        setting = ".".join(map(str, mistake.keys)) or "attributes"
        return ("" if line is None else f"line {line}, ") + f"`{setting}` {mistake.reason}"


class _Loader(yaml.SafeLoader):
    """A date stays the text that was written, as it does for Dagster."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def find_declaration(file: Path, number: int) -> Declaration:
    """The place of a file's document, counted from 0; without lines when there is no such file or document.

    Raises:
        SettingsError: the file is not YAML.
    """
    documents = _read_documents(file) if file.is_file() else []
    return documents[number][0] if number < len(documents) else Declaration(file)


def _read_declared(file: Path) -> list[tuple[Declaration, Any]]:
    """The documents of a file that declare a pipeline, and their attributes."""
    documents = [one for one in _read_documents(file) if isinstance(one[1], dict) and one[1].get("type") == COMPONENT]
    return [(declaration, document.get("attributes") or {}) for declaration, document in documents]


def _read_documents(file: Path) -> list[tuple[Declaration, Any]]:
    text = _read_text(file)
    try:
        return list(_parse_documents(text, file))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        around = f", {error.context} from line {error.context_mark.line + 1} on" if error.context_mark else ""
        raise SettingsError(str(file), f"{where}is not YAML ({error.problem}{around})", "Correct the file.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(str(file), f"is not YAML ({error})", "Correct the file.") from error


def _parse_documents(text: str, file: Path) -> Iterator[tuple[Declaration, Any]]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            root = loader.get_node()
            repeated = tuple(_find_repeated(root, (), set()))  # before construction, which merges `<<`
            yield Declaration(file, root, repeated), loader.construct_document(root)
    finally:
        loader.dispose()


def _find_repeated(node: yaml.Node | None, keys: Keys, seen: set[int]) -> Iterator[Mistake]:
    """Keys that stand twice in one section; `seen`: nodes looked at, as an alias may lead back to its own section."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            here, line = (*keys, str(key.value)), key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value in lines:
                yield Mistake(here[1:] or here, f"is written twice, in line {lines[key.value]} too", line)
            lines[str(key.value)] = line
            yield from _find_repeated(value, here, seen)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _find_repeated(item, (*keys, number), seen)


def _find_child(node: yaml.Node | None, key: str | int) -> tuple[yaml.Node, int] | None:
    """A value and its line; of a key that is written twice, the last."""
    if isinstance(node, yaml.MappingNode):
        for name, value in reversed(node.value):
            if name.value == str(key):
                return value, name.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key].start_mark.line + 1
    return None


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            str(file), f"cannot be read ({error.strerror})", "Check the path and its rights."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(str(file), f"is not UTF-8 ({error})", "Save the file as UTF-8.") from error


# ------------------------------------------------------------------------------------------------------------ templates


def _render(value: Any, keys: Keys, declaration: Declaration) -> Any:
    """Render the templates in every text of a value."""
    if isinstance(value, Mapping):
        return {key: _render(item, (*keys, key), declaration) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_render(item, (*keys, number), declaration) for number, item in enumerate(value)]
    if not isinstance(value, str) or "{{" not in value:
        return value
    environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    try:
        return environment.from_string(value).render(env=_read_env)
    except Exception as error:  # noqa: BLE001 - a template is an expression and may raise anything
        reason = f"{value!r} cannot be rendered ({str(error).rstrip('.') or type(error).__name__})"
        fix = "Write {{ env('NAME', 'default') }}; without a default, NAME must be set."
        raise declaration.refuse([Mistake(keys, reason)], fix) from None


def _read_env(name: str, default: str | None = None) -> str:
    value = os.environ.get(name, default)
    if value is None:
        raise LookupError(f"the environment variable {name} is not set")
    return value


# ------------------------------------------------------------------------------------------------------------- mistakes


def _validate(attributes: Mapping[str, Any], declaration: Declaration) -> PipelineSettings:
    try:
        return PipelineSettings.model_validate(attributes)
    except ValidationError as error:
        raise declaration.refuse(_explain(error, attributes)) from None


def _explain(error: ValidationError, attributes: Mapping[str, Any]) -> list[Mistake]:
    """What Pydantic found, a mistake for each setting.

    Where a value may be of several kinds, Pydantic tells why it is none of them. If one kind was recognized, as its own
    settings were judged, only what is wrong with those is told.
    """
    reasons: dict[Keys, list[str]] = {}
    shown: dict[Keys, str] = {}
    for one in error.errors(include_url=False):
        keys = _find_keys(one, attributes)
        reason, told = _describe(one)
        shown[keys] = told
        if reason not in reasons.setdefault(keys, []):
            reasons[keys].append(reason)
    outer = {keys[:length] for keys in reasons for length in range(len(keys))}
    return [
        Mistake(keys, " or ".join([told[0], *(one.removeprefix("should be ") for one in told[1:])]) + shown[keys])
        for keys, told in reasons.items()
        if keys not in outer
    ]


def _find_keys(error: ErrorDetails, attributes: Any) -> Keys:
    """Where the mistake is in the file: Pydantic's place without the names of kinds that it tried."""
    keys, value = [], attributes
    for part in error["loc"]:
        try:
            value = value[part]
        except (TypeError, KeyError, IndexError):
            continue
        keys.append(part)
    if error["type"] == "missing":
        keys.append(error["loc"][-1])
    elif error["type"].startswith("union_tag"):
        keys.append(error["ctx"]["discriminator"].strip("'"))
    return tuple(keys)


def _describe(error: ErrorDetails) -> tuple[str, str]:
    """Why a value is wrong and what is allowed, and the value itself if that helps."""
    kind, message, value = error["type"], error["msg"], error["input"]
    concerns_section = kind in {"extra_forbidden", "missing"}
    models = _find_models(error["loc"][:-1] if concerns_section else error["loc"])
    if kind == "extra_forbidden":
        fields = _list_fields(models)
        meant = "".join(f" (did you mean {name}?)" for name in get_close_matches(str(error["loc"][-1]), fields, 1))
        return f"is no setting here{meant}; there are {', '.join(fields)}", ""
    if kind == "missing":
        described = [model.model_fields[str(error["loc"][-1])].description or "" for model in models]
        return f"is missing: {described[0].rstrip('.')}", ""
    if kind.startswith("union_tag"):
        tag = error["ctx"]["discriminator"].strip("'")
        tags = sorted(repr(name) for model in models for name in get_args(model.model_fields[tag].annotation))
        reason = f"should be one of {', '.join(tags)}"
        return (f"is missing; it {reason}", "") if kind == "union_tag_not_found" else (reason, f", not {value[tag]!r}")
    if kind in {"model_type", "model_attributes_type"}:
        return f"should be a section of {', '.join(_list_fields(models))}", _show(value)
    if kind == "value_error":
        return f"is wrong: {message.removeprefix('Value error, ')}", ""
    told = message.removeprefix("Input ").removeprefix("String ").removeprefix("Tuple ")
    return told.replace("a valid tuple", "a list").removesuffix(" after validation, not 0"), _show(value)


def _show(value: Any) -> str:
    shown = "null" if value is None else repr(value) if isinstance(value, str | int | float) else ""
    return f", not {shown}" if 0 < len(shown) <= _SHOWN_CHARACTERS else ""


def _list_fields(models: Sequence[type[BaseModel]]) -> list[str]:
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _find_models(place: Sequence[str | int]) -> list[type[BaseModel]]:
    """The settings classes that judged a place: the section around a setting, or those that a value may be of."""
    models: list[type[BaseModel]] = [PipelineSettings]
    for part in place:
        inner = [one for model in models if part in model.model_fields for one in _list_models(model, str(part))]
        models = inner or [model for model in models if part in _list_kinds(model)] or models
    return models


def _list_models(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    waiting, found = [model.model_fields[field].annotation], []
    while waiting:
        annotation = waiting.pop(0)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        waiting += get_args(annotation)
    return found


def _list_kinds(model: type[BaseModel]) -> set[str]:
    """What Pydantic calls a settings class: its name, or the value of its tag."""
    literals = [get_args(field.annotation) for field in model.model_fields.values()]
    return {model.__name__, *(values[0] for values in literals if len(values) == 1 and isinstance(values[0], str))}
