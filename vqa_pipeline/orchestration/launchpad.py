"""A training's settings as Dagster's launchpad takes them: typed, described, with the pipeline's own as defaults.

What is changed there holds for that run alone: nothing is written back, and the next run has the pipeline's own again.
"""

from copy import copy
from types import UnionType
from typing import Any, Union, get_args, get_origin

import dagster as dg
from pydantic import create_model

from vqa_pipeline.modeling.settings import TrainingSettings


class _TrainingConfig(TrainingSettings, dg.Config):
    """The settings of training, as Dagster's launchpad takes them."""


def build_run_config(declared: TrainingSettings) -> type[dg.Config]:
    """The training's settings as run config: typed and described, with this pipeline's values as defaults."""
    fields: dict[str, Any] = {}
    for name, info in TrainingSettings.model_fields.items():
        own = copy(info)
        own.default = getattr(declared, name)
        fields[name] = (_to_launchpad(info.annotation), own)
    return create_model("TrainingRun", __base__=_TrainingConfig, **fields)


def _to_launchpad(annotation: Any) -> Any:
    """A type that Dagster's config knows: it has no unions but with None; the settings themselves check the others."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    is_union = get_origin(annotation) in {Union, UnionType}
    return Any if is_union and len(kinds) > 1 else annotation
