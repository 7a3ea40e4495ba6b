"""A small generated world that tests of several rooms share: pictures, questions, and one row for each rule.

`build_world` writes the files; `WORLD_FATES` says, by hand, what becomes of the rows that are not simply accepted.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from vqa_pipeline.sources.formats.shapes import ShapesSource, generate


class WorldFate(NamedTuple):
    """What becomes of one row of the world."""

    row: int
    """Number of its record, counted from the first of the broken rows."""
    fate: str
    rule: str


WORLD_FATES = (
    WorldFate(1, "rejected", "image_path_absolute"),
    WorldFate(2, "rejected", "image_path_parent"),
    WorldFate(3, "rejected", "image_path_drive"),
    WorldFate(4, "rejected", "image_path_nul"),
    WorldFate(5, "rejected", "image_path_control"),
    WorldFate(6, "rejected", "image_path_scheme"),
    WorldFate(7, "rejected", "image_path_reserved"),
    WorldFate(8, "rejected", "image_path_too_long"),
    WorldFate(9, "rejected", "image_path_empty"),
    WorldFate(10, "rejected", "image_missing"),
    WorldFate(11, "rejected", "image_ambiguous"),
    WorldFate(12, "rejected", "image_truncated"),
    WorldFate(13, "rejected", "image_unreadable"),
    WorldFate(14, "rejected", "image_unsupported"),
    WorldFate(15, "rejected", "image_empty"),
    WorldFate(16, "rejected", "image_too_large"),
    WorldFate(17, "rejected", "question_empty"),
    WorldFate(18, "rejected", "answers_empty"),
    WorldFate(19, "rejected", "annotation_missing"),
    WorldFate(20, "rejected", "record_malformed"),
    WorldFate(21, "rejected", "split_unknown"),
    WorldFate(22, "duplicate", "duplicate_question"),
    WorldFate(23, "rejected", "duplicate_id"),
    WorldFate(24, "rejected", "duplicate_id"),
    WorldFate(25, "duplicate", "duplicate_row"),
    WorldFate(26, "rejected", "record_truncated"),
)
"""Row 0 is accepted, with a repaired backslash."""

NUM_BROKEN = 27
QUESTIONS_PER_IMAGE = 4


class World(NamedTuple):
    """Where the world lies and what is in it."""

    source: ShapesSource
    root: Path
    num_images: int
    num_rows: int
    fates: dict[int, tuple[str, str]]
    """Record number → fate and rule, of every row that is not accepted."""


def build_world(folder: Path, images: int = 24, seed: int = 0) -> World:
    """Write a world of coloured shapes into `folder`."""
    source = ShapesSource(name="shapes", format="shapes", images=images, seed=seed, image_pixels=32)
    generate(source, folder)
    first = images * QUESTIONS_PER_IMAGE
    fates = {first + told.row: (told.fate, told.rule) for told in WORLD_FATES}
    return World(source, folder, images, first + NUM_BROKEN, fates)
