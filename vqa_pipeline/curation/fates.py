"""The rules that need more than one row, and how a row gets its fate: once, by the first rule that applies."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl
import pyarrow as pa

from vqa_pipeline.schemas import REJECTS, Fate

COLUMNS = ("fate", "rule", "reason", "fix")


class Rule(NamedTuple):
    """What a rule makes of a row, and what it tells people."""

    fate: Fate
    reason: str
    fix: str


RULES: dict[str, Rule] = {
    "duplicate_row": Rule("duplicate", "another row says the same", "Nothing to do: the question is kept once."),
    "duplicate_id": Rule("rejected", "different rows claim the same question id", "Give each row an id of its own."),
    "answers_in_rows": Rule(
        "rejected",
        "rows without an id ask the same about the same image and differ in the rest",
        "Put all answers of a question into one row, as a list or with `answer_separator`, or map an id in `columns`.",
    ),
    "duplicate_annotation": Rule("duplicate", "another annotation says the same", "Nothing to do: it is used once."),
    "annotation_conflict": Rule("rejected", "two annotations of this question differ", "Keep one of them."),
    "annotation_orphan": Rule("rejected", "no valid question has this id", "Bring or mend the question."),
    "annotation_missing": Rule(
        "rejected",
        "it has no answer, though others of its source and split have",
        "Bring the answer, or remove the row.",
    ),
    "leakage": Rule(
        "excluded",
        "its image, or a near-duplicate of it, is also in a split nearer to the test",
        "Nothing to do: `dataset.leakage` asks for it.",
    ),
    "duplicate_question": Rule(
        "duplicate",
        "the same question with the same answers is asked about this image",
        "Nothing to do: it is kept once.",
    ),
}


def open_fates(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the columns of a fate, all null: nothing is settled."""
    return frame.with_columns([pl.lit(None, pl.String).alias(name) for name in COLUMNS])


def settle(rule: str, where: pl.Expr, culprit: pl.Expr | None = None) -> list[pl.Expr]:
    """Give the rows where a condition holds their fate by a rule; the reason names the culprit where there is one."""
    fate, reason, fix = map(pl.lit, RULES[rule])
    if culprit is not None:
        reason = pl.format("{}: {}", reason, culprit)
    return settle_as(where, dict(zip(COLUMNS, (fate, pl.lit(rule), reason, fix), strict=True)))


def settle_as(where: pl.Expr, values: dict[str, pl.Expr]) -> list[pl.Expr]:
    """Give the rows where a condition holds, and is not null, a fate; rows whose fate is settled keep it."""
    unsettled = pl.col("fate").is_null() & where
    return [pl.when(unsettled).then(value).otherwise(pl.col(name)).alias(name) for name, value in values.items()]


def has_repair(kind: str) -> pl.Expr:
    """Whether a repair of some kind was made to a row."""
    return pl.col("repairs").list.eval(pl.element().struct.field("kind") == kind).list.any()


def take_settled(frame: pl.DataFrame, kind: str) -> pa.Table:
    """The rows whose fate is settled, as `schemas.REJECTS`; annotations name no image."""
    settled = frame.filter(pl.col("fate").is_not_null()).with_columns(kind=pl.lit(kind))
    if "image" not in settled.columns:
        settled = settled.with_columns(image=pl.lit(None, pl.String))
    return to_arrow(settled, REJECTS)


def to_arrow(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """A polars frame as the Arrow table that a schema names."""
    return frame.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)


def from_arrow(table: pa.Table) -> pl.DataFrame:
    """An Arrow table as a polars frame."""
    frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError(f"a table expected, not {type(frame).__name__}")
    return frame
