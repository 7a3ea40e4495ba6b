"""The plan's task per bucket of question ids: duplicate ids, the join with annotations and images, fates.

A pure function of a bucket's tables. What is decided here needs all rows of one question id, and no others.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl
import pyarrow as pa

from vqa_pipeline.curation.correcting import CORRECTED_ANSWERS
from vqa_pipeline.curation.digest import hash_some_rows
from vqa_pipeline.curation.fates import from_arrow, has_repair, open_fates, settle, settle_as, take_settled, to_arrow
from vqa_pipeline.schemas import QUESTION_RECORDS

MERGED = pa.schema(
    [
        *[field.with_nullable(True) for field in QUESTION_RECORDS],
        ("source", pa.string()),
        ("image_sha256", pa.string()),
        ("identity", pa.string()),  # of the image: its sha256, or where it would lie
        ("group", pa.string()),  # of near-duplicates: the identity of one of them; of most images, their own
        ("dhash", pa.int64()),
        ("annotated", pa.bool_()),
    ]
)
"""Questions that may still be accepted, with their answers and image."""

_QUESTION_CONTENT = ["image", "question", "split", "question_type", "answer_type", "paraphrase_of", "answers"]
_ANNOTATION_CONTENT = ["question_type", "answer_type", "answers"]
_ABSENT = ["image_missing", "image_path_absolute", "image_path_drive"]
"""Rules that say no more than that an image is not there."""

VERDICT = ["source", "image", "image_sha256", "identity", "group", "dhash", "image_rule", "image_reason", "image_fix"]
"""What is read of a verdict."""


class Merged(NamedTuple):
    """What became of a bucket."""

    questions: pa.Table
    """`MERGED`, in the order of question_id."""
    rejects: pa.Table
    """`schemas.REJECTS`: rows whose fate is settled."""
    joined: dict[str, int]
    """Annotations that became part of a question, by source."""


def merge_bucket(
    questions: pa.Table, annotations: pa.Table, verdicts: pa.Table, mends: pa.Table, *, images_required: bool
) -> Merged:
    """Settle what all rows of the same question id can tell.

    Args:
        questions: `QUESTION_RECORDS` with `source`.
        annotations: `ANNOTATION_RECORDS` with `source`.
        verdicts: `image_verdicts.JUDGED` on the images of these questions, mended ones as well; others do no harm.
        mends: `resolution.MENDS`, as well.
        images_required: Whether a question without image is rejected.
    """
    asked = _sort(_mend_images(questions, mends), _QUESTION_CONTENT)
    asked = asked.with_columns(settle("answers_in_rows", pl.col("native_id").is_null() & pl.col("differs")))
    asked = _settle_duplicates(asked, "duplicate_row", "duplicate_id")
    told = _settle_duplicates(_sort(annotations, _ANNOTATION_CONTENT), "duplicate_annotation", "annotation_conflict")
    known = asked.select("question_id").unique().with_columns(asked=True)
    told = told.join(known, on="question_id", how="left", maintain_order="left")
    told = told.with_columns(settle("annotation_orphan", pl.col("asked").is_null()))
    asked = _join_annotations(asked, told)
    asked = _join_images(asked, verdicts, images_required=images_required)
    used = told.filter(pl.col("fate").is_null())
    return Merged(
        to_arrow(asked.filter(pl.col("fate").is_null()), MERGED),
        pa.concat_tables([take_settled(asked, "question"), take_settled(told, "annotation")]),
        dict(used.group_by("source").len().sort("source").iter_rows()),
    )


def _mend_images(questions: pa.Table, mends: pa.Table) -> pa.Table:
    """Name the file instead of the reference that means it: two spellings of one file are one image."""
    if not mends.num_rows:
        return questions
    frame = from_arrow(questions).join(from_arrow(mends), on=["source", "image"], how="left", maintain_order="left")
    is_mended = pl.col("file").is_not_null()
    repairs = pl.when(is_mended).then(pl.concat_list("repairs", "file_repairs")).otherwise("repairs")
    return to_arrow(frame.with_columns(image=pl.coalesce("file", "image"), repairs=repairs), questions.schema)


def _sort(table: pa.Table, content: list[str]) -> pl.DataFrame:
    """Rows in a total order, by question id and then by place.

    Adds `again`: the id is that of the row before; and `differs`: the rows of this id say different things.
    """
    frame = from_arrow(table)
    frame = frame.with_columns(content=hash_some_rows(table, content, frame["question_id"].is_duplicated()))
    places = [pl.col("locator").struct.field(name) for name in ("file", "record", "item")]
    frame = frame.with_columns(places).sort(["question_id", "source", "file", "record", "item"])
    frame = frame.with_columns(again=(pl.col("question_id") == pl.col("question_id").shift()).fill_null(value=False))
    changed = frame.filter(pl.col("again") & (pl.col("content") != pl.col("content").shift()))
    return open_fates(frame.with_columns(differs=pl.col("question_id").is_in(changed["question_id"].implode())))


def _settle_duplicates(frame: pl.DataFrame, equal: str, different: str) -> pl.DataFrame:
    """Rows of one question id: equal ones are a row and its duplicates; if they differ, none can be trusted."""
    return frame.with_columns(settle(different, pl.col("differs"))).with_columns(settle(equal, pl.col("again")))


def _join_annotations(asked: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """Give each question its annotation's answers and types; answers that a person has corrected stay."""
    used = told.filter(pl.col("fate").is_null())
    answers = used.select("question_id", *[pl.col(name).alias(f"told_{name}") for name in _ANNOTATION_CONTENT])
    disputed = told.filter(pl.col("rule") == "annotation_conflict").select("question_id").unique()
    asked = asked.join(answers, on="question_id", how="left", maintain_order="left")
    asked = asked.join(disputed.with_columns(disputed=True), on="question_id", how="left", maintain_order="left")
    asked = asked.with_columns(corrected=has_repair(CORRECTED_ANSWERS))
    told_answers = pl.when(~pl.col("corrected")).then(pl.col("told_answers"))
    told_types = [pl.coalesce(f"told_{name}", name).alias(name) for name in ("question_type", "answer_type")]
    asked = asked.with_columns(pl.coalesce(told_answers, "answers").alias("answers"), *told_types)
    asked = asked.with_columns(settle("annotation_conflict", pl.col("disputed") & ~pl.col("corrected")))
    return asked.with_columns(annotated=pl.col("answers").is_not_null())


def _join_images(asked: pl.DataFrame, verdicts: pa.Table, *, images_required: bool) -> pl.DataFrame:
    """Give each question its image, or the reason why it has none."""
    known = from_arrow(verdicts.select(VERDICT))
    asked = asked.join(known, on=["source", "image"], how="left", maintain_order="left")
    unusable = pl.col("image_rule").is_not_null()
    if not images_required:
        unusable &= ~pl.col("image_rule").is_in(_ABSENT)
    told = {"rule": pl.col("image_rule"), "reason": pl.col("image_reason"), "fix": pl.col("image_fix")}
    return asked.with_columns(settle_as(unusable, {"fate": pl.lit("rejected"), **told}))
