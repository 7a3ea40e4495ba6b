"""A pipeline's declaration: a document of a YAML file, read so that every mistake in it is told with its line.

Dagster's component loader and the command line build their pipelines with `build_pipeline`, so a file means the same
to both, and a mistake is told in the same words. A text may hold `{{ env('NAME', 'default') }}`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from pydantic import TypeAdapter, ValidationError

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.mistakes import Keys, Mistake, explain
from vqa_pipeline.pipeline import Pipeline, PipelineSettings
from vqa_pipeline.schemas import Name

COMPONENT = "vqa_pipeline.VqaPipeline"

_TIMESTAMP = "tag:yaml.org,2002:timestamp"


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


def _validate(attributes: Mapping[str, Any], declaration: Declaration) -> PipelineSettings:
    try:
        return PipelineSettings.model_validate(attributes)
    except ValidationError as error:
        raise declaration.refuse(explain(error, attributes)) from None


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


def read_declared(file: Path) -> list[tuple[Declaration, Any]]:
    """The documents of a file that declare a pipeline, and their attributes.

    Raises:
        SettingsError: the file cannot be read, or is not YAML.
    """
    documents = [one for one in _read_documents(file) if isinstance(one[1], dict) and one[1].get("type") == COMPONENT]
    return [(declaration, document.get("attributes") or {}) for declaration, document in documents]


def _read_documents(file: Path) -> list[tuple[Declaration, Any]]:
    text = read_text(file)
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


def read_text(file: Path) -> str:
    """The text of a file.

    Raises:
        SettingsError: it cannot be read, or is not UTF-8.
    """
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
