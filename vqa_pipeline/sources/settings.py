"""What the settings of all source formats share; each format's own are beside its reader in `formats/`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from vqa_pipeline.schemas import Frozen, Name


def _check_path(path: str) -> str:
    if not path.strip() or "\0" in path:
        raise ValueError("must be a path")
    return path


SourcePath = Annotated[str, AfterValidator(_check_path)]
"""A path in the settings, relative to the project or absolute; a glob where the field says so."""


class SplitColumn(Frozen):
    """The split stands in a field of each record."""

    column: str = Field(description="Name of the field that holds train, val (valid, validation, dev) or test.")


class SplitList(Frozen):
    """The split stands in lists beside the records, such as Karpathy's of COCO or ScienceQA's."""

    list: SourcePath | Annotated[tuple[SourcePath, ...], Field(min_length=1)] = Field(
        description="Files or globs: texts with an image per line, the split in the file's name; or JSON, "
        "{images: [{filepath, filename, split}]} or {train: [image or id, …], …}."
    )


ImageSplits = Literal["by_image", "train", "val", "test"] | SplitList
"""How questions get their split in a format whose records say nothing of it."""

DeclaredSplits = Literal["declared"] | ImageSplits
"""How questions get their split in a format that says it in a place of its own."""

ColumnSplits = ImageSplits | SplitColumn
"""How questions get their split in a format whose records have fields of any name."""

Splits = Literal["declared"] | ColumnSplits
"""How questions get their split in a format that has a place for it."""


class SourceSettings(Frozen):
    """What every source has."""

    name: Name = Field(description="Name of the source: its assets are raw/<name> and records/<name>.")
    license: str | None = Field(
        None, min_length=1, description="Licence of the source's data, such as CC-BY-4.0; the dataset's card tells it."
    )
    corrections: SourcePath | None = Field(
        None, description="CSV with corrections of rows, as `vqa-pipeline rejects --as-corrections` writes it."
    )
    splits: Splits = Field(
        "by_image",
        description="declared (the format says), by_image (a pure function of the image), train, val, test, "
        "{list: FILES} (lists of images or ids) or {column: NAME} (a field of each record).",
    )


class ChosenBy:
    """Writes a tagged union's JSON schema as if/then, so that editors and `dg check yaml` say which field is wrong.

    Pydantic's own `oneOf` can only say that the value "is not valid under any of the given schemas".
    """

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The union as: an object with the tag, and for each tag the variant's own schema."""
        schema = handler(core)
        variants: dict[str, str] = schema["discriminator"]["mapping"]
        kept = {name: value for name, value in schema.items() if name not in {"oneOf", "discriminator"}}
        return {
            **kept,
            "type": "object",
            "required": [self.tag],
            "properties": {self.tag: {"enum": sorted(variants)}},
            "allOf": [self._if_then(value, reference) for value, reference in sorted(variants.items())],
        }

    def _if_then(self, value: str, reference: str) -> dict[str, Any]:
        is_variant = {"properties": {self.tag: {"const": value}}, "required": [self.tag]}
        return {"if": is_variant, "then": {"$ref": reference}}
