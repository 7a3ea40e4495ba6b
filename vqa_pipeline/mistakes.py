"""What is wrong with a declaration, in words: where, what is allowed, what was probably meant.

Pydantic finds the mistakes; here they get the place in the file that a person wrote, without the names of the kinds
that a value was tried as. Reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vqa_pipeline.pipeline import PipelineSettings

_SHOWN_CHARACTERS = 60

Keys = tuple[str | int, ...]
"""Where a value stands: keys and positions, from the whole document or from the settings on."""


class Mistake(NamedTuple):
    """What is wrong with a declaration, and where."""

    keys: Keys
    """From the settings on."""
    reason: str
    line: int | None = None
    """Where, if it is not where the keys lead."""


def explain(error: ValidationError, attributes: Mapping[str, Any]) -> list[Mistake]:
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
