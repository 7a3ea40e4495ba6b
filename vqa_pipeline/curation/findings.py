"""What an inspection found, as data: the same for a terminal and for programs (`inspect --json`)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vqa_pipeline.schemas import Frozen


class Count(Frozen):
    """A number of records."""

    value: int
    basis: Literal["counted", "estimated", "at_least"] = Field(
        description="counted: all were read; estimated: by beginnings and sizes of files; at_least: so many were read."
    )


class FirstRow(Frozen):
    """A question as curation would read it."""

    question_id: str
    question: str
    image: str
    answers: tuple[str, ...] | None
    split: str | None
    locator: str


class Problem(Frozen):
    """A rule that some of what was looked at broke."""

    rule: str
    count: int
    looked_at: int
    unit: Literal["records", "images"] = Field(description="What was looked at.")
    place: str = Field(description="Of the first one: the record's locator, or the image's reference.")
    reason: str
    fix: str
    raw: str = Field(description="The first one's record; of an image, nothing.")


class ImageSearch(Frozen):
    """Which of the images that records name were found."""

    image_root: str | None = Field(description="The folder they are in; None: none of the names was found.")
    looked_for: int
    found: int
    missing: tuple[str, ...] = Field(description="The first references without a file.")


class InspectedSource(Frozen):
    """A source that files make, and what to expect of it."""

    settings: dict[str, Any] = Field(description="The entry for `sources:`, with paths as the project needs them.")
    certainty: float = Field(description="How surely the format was recognised, in (0, 1].")
    num_files: int
    num_bytes: int
    num_questions: Count
    num_annotations: Count = Field(description="Records of answers kept apart from their questions.")
    num_read: int = Field(description="Records that were read and validated.")
    first_rows: tuple[FirstRow, ...]
    images: ImageSearch
    problems: tuple[Problem, ...]
    repairs: dict[str, int] = Field(description="Mends that would be made to the records read, by kind.")
    error: str | None = Field(description="Why reading it ended early.")


class UnknownFile(Frozen):
    """A file with data that became part of no source."""

    name: str
    num_bytes: int
    layout: str
    fields: tuple[str, ...] = Field(description="Names of its fields or columns, as far as they were seen.")
    reason: str


class Inspection(Frozen):
    """What was found at a path."""

    path: str
    num_files: int
    num_passed_over: int = Field(description="Files not looked into, as there are too many different ones.")
    num_images: int = Field(description="Files that are images by their names.")
    is_whole: bool = Field(description="False: there are more files than were listed.")
    sources: tuple[InspectedSource, ...]
    unknown: tuple[UnknownFile, ...]
