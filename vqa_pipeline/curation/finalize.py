"""The plan's task per bucket of images: splits, leakage, duplicate questions, the order of what is published.

A pure function of a bucket's table and a small census of the whole. All questions of an image and of its
near-duplicates are in one bucket, so leakage and duplicates are local.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

import polars as pl
import pyarrow as pa

from vqa_pipeline.answers.scoring import most_common_answers
from vqa_pipeline.curation.correcting import ACCEPTED
from vqa_pipeline.curation.digest import hash_some_rows
from vqa_pipeline.curation.fates import from_arrow, has_repair, open_fates, settle, take_settled, to_arrow
from vqa_pipeline.curation.settings import DatasetSettings
from vqa_pipeline.curation.splits import assign_split, carve_split
from vqa_pipeline.schemas import QUESTIONS, SPLITS, Frozen, Split

_LISTED_QUESTIONS = 4
_COMPARED_IMAGES = 100
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ANSWERS = pa.schema([QUESTIONS.field("answers")])


class Census(Frozen):
    """What a bucket must know of all others."""

    missing: frozenset[Split]
    """Splits that no question has and that are carved from train."""
    annotated: frozenset[tuple[str, str | None]]
    """(source, declared split) in which there are answers: there, a question without one is rejected."""


class Leak(Frozen):
    """An image in more than one split, or images of another split that are nearly the same."""

    image: str
    """Its sha256, or its reference where there is no image."""
    near: str | None = None
    """The sha256 of a near-duplicate in another split, the nearest of its group; None: it is about the image itself."""
    distance: int | None = None
    """Bits in which the hashes of the two differ."""
    splits: tuple[Split, ...]
    """Those of the image or of the whole group."""
    question_ids: tuple[str, ...]
    """Some of its questions, at least one of each split."""

    def describe(self) -> str:
        """One clause that names image, splits and questions."""
        name = f"image {self.image[:12]}…" if _SHA256.fullmatch(self.image) else self.image
        if self.near is not None:
            name += f" and its near-duplicate {self.near[:12]}… (distance {self.distance})"
        return f"{name} in {' and '.join(self.splits)}: {', '.join(self.question_ids)}"


class Finalized(NamedTuple):
    """What became of a bucket."""

    questions: pa.Table
    """`schemas.QUESTIONS`, in the order of question_id."""
    rejects: pa.Table
    """`schemas.REJECTS`."""
    leaks: list[Leak]


def take_census(tables: Iterable[pa.Table], settings: DatasetSettings) -> Census:
    """Which splits are missing as a whole, and where there are answers.

    Args:
        tables: Columns `source`, `split`, `annotated` of every merged question.
        settings: Shares of splits.
    """
    seen = [from_arrow(table.select(["source", "split", "annotated"])).unique() for table in tables]
    rows = set(pl.concat(seen).unique().iter_rows()) if seen else set()
    declared = {split for _, split, _ in rows if split is not None}
    fractions = settings.split_fractions
    given = set(declared)
    if any(split is None for _, split, _ in rows):
        given |= {split for split in SPLITS if getattr(fractions, split) > 0}
    wanted: list[Split] = [split for split in ("val", "test") if getattr(fractions, split) > 0]
    missing = frozenset(split for split in wanted if split not in given)
    annotated = frozenset((source, split) for source, split, has_answers in rows if has_answers)
    return Census(missing=missing, annotated=annotated)


def finalize_bucket(merged: pa.Table, settings: DatasetSettings, census: Census) -> Finalized:
    """Settle what all questions of the same image can tell.

    Args:
        merged: `merge.MERGED`, whole groups of images.
        settings: Shares of splits, leakage policy.
        census: Of the whole.
    """
    frame = open_fates(from_arrow(merged)).sort("question_id").with_columns(waived=has_repair(ACCEPTED))
    answered = pl.DataFrame(
        sorted(census.annotated, key=str), schema={"source": pl.String, "split": pl.String}, orient="row"
    )
    expected = answered.with_columns(expected=pl.lit(value=True))
    frame = frame.join(expected, on=["source", "split"], how="left", nulls_equal=True, maintain_order="left")
    frame = frame.with_columns(
        settle("annotation_missing", ~pl.col("annotated") & pl.col("expected") & ~pl.col("waived"))
    )
    frame = _assign_splits(frame, settings, census)
    leaks = _find_leaks(frame)
    if settings.leakage == "drop_from_train":
        rank = pl.col("split").replace_strict({"train": 0, "val": 1, "test": 2}, return_dtype=pl.Int8)
        unsettled = pl.when(pl.col("fate").is_null()).then(rank)
        frame = frame.with_columns(settle("leakage", (rank < unsettled.max().over("group")) & ~pl.col("waived")))
    frame = _settle_duplicate_questions(frame)
    kept = frame.filter(pl.col("fate").is_null())
    modes = most_common_answers(to_arrow(kept, _ANSWERS)["answers"].combine_chunks())
    kept = kept.with_columns(pl.Series("most_common_answer", modes, pl.String))
    return Finalized(to_arrow(kept, QUESTIONS), take_settled(frame, "question"), leaks)


def _assign_splits(frame: pl.DataFrame, settings: DatasetSettings, census: Census) -> pl.DataFrame:
    images = frame.select("identity").unique(maintain_order=True)["identity"].to_list()
    fractions = settings.split_fractions
    assigned = pl.DataFrame(
        {
            "identity": images,
            "assigned": [assign_split(image, fractions) for image in images],
            "carved": [carve_split(image, fractions, census.missing) for image in images],
        },
        schema={"identity": pl.String, "assigned": pl.String, "carved": pl.String},
    )
    frame = frame.join(assigned, on="identity", how="left", maintain_order="left")
    split = pl.coalesce("split", "assigned")
    return frame.with_columns(split=pl.when(split == "train").then(pl.col("carved")).otherwise(split))


def _find_leaks(frame: pl.DataFrame) -> list[Leak]:
    """Of each image in several splits, and of each group of near-duplicates in which two images' splits differ."""
    live = frame.filter(pl.col("fate").is_null())
    shared = live.filter(pl.col("split").n_unique().over("group") > 1)
    leaks = []
    for (identity,), rows in shared.group_by("identity", maintain_order=True):
        if rows["split"].n_unique() > 1:
            leaks.append(_describe_leak(rows, str(identity)))
    for _, rows in shared.group_by("group", maintain_order=True):
        if rows["identity"].n_unique() > 1:
            leaks.append(_describe_leak(rows, *_find_nearest(rows)))
    return sorted(leaks, key=lambda leak: (leak.image, leak.near or ""))


def _describe_leak(rows: pl.DataFrame, image: str, near: str | None = None, distance: int | None = None) -> Leak:
    splits = tuple(split for split in SPLITS if split in set(rows["split"]))
    first = rows.unique("split", keep="first", maintain_order=True)["question_id"].to_list()
    listed = dict.fromkeys([*first, *rows["question_id"].to_list()])
    ids = tuple(sorted(list(listed)[:_LISTED_QUESTIONS]))
    return Leak(image=image, near=near, distance=distance, splits=splits, question_ids=ids)


def _find_nearest(rows: pl.DataFrame) -> tuple[str, str, int]:
    """Of a group in several splits, the two nearest images that are not all in one: they show best why it leaks."""
    images = rows.group_by("identity").agg(pl.col("dhash").first(), pl.col("split").unique()).sort("identity")
    by_split = [set(splits) for splits in images["split"]]
    hashes = [value % 2**64 for value in images["dhash"]]
    # the first of each split are among those compared, so that there is a pair however large the group
    chosen = dict.fromkeys(
        [next(n for n, found in enumerate(by_split) if split in found) for split in set().union(*by_split)]
    )
    chosen |= dict.fromkeys(range(min(len(hashes), _COMPARED_IMAGES)))
    pairs = [
        ((hashes[one] ^ hashes[other]).bit_count(), one, other)
        for one, other in combinations(sorted(chosen), 2)
        if len(by_split[one] | by_split[other]) > 1
    ]
    distance, one, other = min(pairs)
    return images["identity"][one], images["identity"][other], distance


def _settle_duplicate_questions(frame: pl.DataFrame) -> pl.DataFrame:
    """Among live questions of one image and split with the same words and answers, the smallest id stays.

    Questions without answers all stay: whoever holds the answers asks for each of them.
    """
    text = pl.col("question").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars(" ?.!")
    frame = frame.with_columns(text=text)
    asked_again = frame.select(pl.struct("identity", "split", "text").is_duplicated()).to_series()
    frame = frame.with_columns(said=hash_some_rows(to_arrow(frame, _ANSWERS), ["answers"], asked_again))
    live = pl.col("fate").is_null()
    key = ["identity", "split", "text", "said", live.alias("live")]
    frame = frame.with_columns(first=pl.col("question_id").first().over(key))
    is_again = pl.col("annotated") & (pl.col("question_id") != pl.col("first")) & ~pl.col("waived")
    return frame.with_columns(settle("duplicate_question", is_again, pl.col("first")))
