"""What the settings of all source formats share; each format's own are beside its reader in `formats/`."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from vqa_pipeline.schemas import Frozen, Name


def _check_relative(path: str) -> str:
    """A path in the settings is relative to the project or absolute; it is never empty and never holds a NUL."""
    if not path or "\0" in path:
        raise ValueError("must be a path")
    return PurePosixPath(path.replace("\\", "/")).as_posix()


SourcePath = Annotated[
    str, AfterValidator(_check_relative), Field(description="A path, relative to the project; globs where said.")
]


class SplitColumn(Frozen):
    """The split stands in a field of each record."""

    column: str = Field(description="Name of the field that holds train, val (valid, validation, dev) or test.")


Splits = Literal["declared", "by_image", "train", "val", "test"] | SplitColumn
"""How a source's questions get their split: `declared` by the format's own means, `by_image` from the image's digest,
one split for the whole source, or a field of each record."""


class SourceSettings(Frozen):
    """What every source has."""

    name: Name = Field(description="Name of the source: its assets are raw/<name> and records/<name>.")
    splits: Splits = Field(
        "by_image",
        description="declared (the format says), by_image (a pure function of the image), train, val, test, "
        "or {column: NAME} (a field of each record).",
    )
