"""What a new dataset has otherwise than the one before: rows, answers, images, and the fields of the raw records.

Reads the questions of both and changes nothing. What it finds depends on what was there before, so it is no part of a
dataset's content: it belongs into the manifest, never into the data version or a file.

Rows are compared by 64-bit hashes of what they say, a part of the ids at a time, so that memory does not grow with the
dataset. Two ids of twenty million have the same hash with a probability of 1 in 100,000; then a count is off by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl
from pydantic import Field

from vqa_pipeline.curation.fates import from_arrow
from vqa_pipeline.curation.record_fields import Fields, find_main_kind, is_usual
from vqa_pipeline.schemas import QUESTIONS, Frozen

_ROWS_AT_ONCE = 4_000_000
_SAID = {
    "num_reworded": pl.col("question"),
    "num_reanswered": pl.col("answers"),
    "num_images_replaced": pl.col("image_sha256"),
    "num_moved": pl.col("split"),
}
"""What is compared of a question that both have, by the field of `SourceChanges` that counts it."""


_LOST = {
    "num_removed": "are gone",
    "num_reworded": "have another text",
    "num_reanswered": "have other answers",
    "num_images_replaced": "have another image",
    "num_moved": "are in another split",
}
_MANY = 0.1
"""Share of the questions before of which it is told that they are gone or different."""
_MANY_NEW = 0.05
_LARGE_SHIFT = 0.1
"""Of the total variation distance: a tenth of all answers would have to change to bring the old shares back."""


COUNTED = ("num_added", "num_removed", *_SAID)
"""Fields of `SourceChanges` that are 0 where nothing changed."""


class SourceChanges(Frozen):
    """Of one source's questions, by their ids."""

    num_before: int
    num_now: int
    num_added: int
    num_removed: int
    num_reworded: int = Field(description="Questions in both, with another text.")
    num_reanswered: int = Field(description="Questions in both, with other answers.")
    num_images_replaced: int = Field(description="Questions in both, about an image of other bytes.")
    num_moved: int = Field(description="Questions in both, in another split.")


class FieldChange(Frozen):
    """A field of a source's raw records that is not what it was."""

    source: str
    field: str = Field(description="Kind of record and name, such as `question.answers`.")
    before: str = Field(description="What it mostly held: text, number, list, …")
    now: str | None = Field(description="null: it is not there any more.")

    def describe(self) -> str:
        """One clause, such as `radiology: question.answer was text, is a list now`."""
        now = "is gone" if self.now is None else f"is {self.now} now"
        return f"{self.source}: `{self.field}` was {self.before}, {now}"


class DatasetChanges(Frozen):
    """What changed since the version before."""

    since: str = Field(description="Version of the dataset before.")
    sources: dict[str, SourceChanges]
    new_answer_fraction: float = Field(
        ge=0, le=1, description="Share of the annotated questions whose most common answer none had before."
    )
    answer_shift: float = Field(
        ge=0, le=1, description="Total variation distance between the most common answers before and now; 0: as before."
    )
    fields: tuple[FieldChange, ...] = ()

    def count(self, name: str) -> int:
        """The sum over all sources of a field of `SourceChanges`."""
        return sum(int(getattr(one, name)) for one in self.sources.values())


def find_drift(changes: DatasetChanges) -> list[str]:
    """What changed so much that a person should look at it, and what to do; empty: nothing did."""
    before = max(1, changes.count("num_before"))
    problems = [
        f"{changes.count(name):,} of {before:,} questions {words}"
        for name, words in _LOST.items()
        if changes.count(name) > _MANY * before
    ]
    if changes.answer_shift > _LARGE_SHIFT:
        problems.append(f"the most common answers shifted by {changes.answer_shift:.2f} (of at most 1)")
    if changes.new_answer_fraction > _MANY_NEW:
        problems.append(f"{changes.new_answer_fraction:.0%} of the questions have an answer that none had before")
    problems += [one.describe() for one in changes.fields]
    if not problems:
        return []
    return [*problems, "look at what changed on the page of `dataset`; if it is meant, nothing needs to be done"]


def compare_datasets(
    before: Path, now: Path, since: str, fields: Mapping[str, tuple[Fields, Fields]], rows_at_once: int = _ROWS_AT_ONCE
) -> DatasetChanges:
    """Compare two datasets.

    Args:
        before: Folder of the version before.
        now: Folder of the new one.
        since: Id of the version before.
        fields: By source that both have, the fields of its raw records before and now.
        rows_at_once: About how many rows of each are in memory.
    """
    scans = [_scan(before), _scan(now)]
    num_rows = max(scan.select(pl.len()).collect().item() for scan in scans)
    num_parts = max(1, -(-num_rows // rows_at_once))
    counts: dict[str, Counter[str]] = {}
    for part in range(num_parts):
        rows_before, rows_now = (_read_part(scan, part, num_parts) for scan in scans)
        _count_part(rows_before, rows_now, counts)
    answers_before, answers_now = map(_count_answers, scans)
    return DatasetChanges(
        since=since,
        sources={name: _describe(counts[name]) for name in sorted(counts)},
        new_answer_fraction=_share_unknown(answers_before, answers_now),
        answer_shift=_measure_shift(answers_before, answers_now),
        fields=tuple(_compare_fields(fields)),
    )


def _scan(dataset: Path) -> pl.LazyFrame:
    files = sorted((dataset / "questions").glob("*.parquet"))
    return pl.scan_parquet(files) if files else from_arrow(QUESTIONS.empty_table()).lazy()


def _read_part(scan: pl.LazyFrame, part: int, num_parts: int) -> pl.DataFrame:
    """A part of the questions, by the hash of their ids: `id`, `source` and the hash of each thing said."""
    hashes = {name: said.hash() for name, said in _SAID.items()}
    rows = scan.select(pl.col("question_id").hash().alias("id"), pl.col("source").cast(pl.Categorical), **hashes)
    return rows.filter(pl.col("id") % num_parts == part).collect(engine="streaming")


def _count_part(before: pl.DataFrame, now: pl.DataFrame, counts: dict[str, Counter[str]]) -> None:
    both = before.join(now, on="id", how="inner", suffix="_now")
    changed = [(pl.col(name) != pl.col(f"{name}_now")).sum().alias(name) for name in _SAID]
    told = {
        "num_before": before.group_by("source").len(),
        "num_now": now.group_by("source").len(),
        "num_added": now.join(before, on="id", how="anti").group_by("source").len(),
        "num_removed": before.join(now, on="id", how="anti").group_by("source").len(),
    }
    for name, rows in told.items():
        for source, count in rows.iter_rows():
            counts.setdefault(source, Counter())[name] += count
    for row in both.group_by("source").agg(changed).iter_rows(named=True):
        counts.setdefault(row.pop("source"), Counter()).update(row)


def _describe(counts: Counter[str]) -> SourceChanges:
    return SourceChanges(**{name: counts[name] for name in SourceChanges.model_fields})


def _count_answers(scan: pl.LazyFrame) -> Counter[str]:
    rows = scan.select("most_common_answer").drop_nulls().group_by("most_common_answer").len()
    return Counter(dict(rows.collect(engine="streaming").iter_rows()))


def _share_unknown(before: Counter[str], now: Counter[str]) -> float:
    return sum(count for answer, count in now.items() if answer not in before) / max(1, now.total())


def _measure_shift(before: Counter[str], now: Counter[str]) -> float:
    """Half the sum of the differences of the answers' shares; 0 where there is nothing to compare."""
    if not before or not now:
        return 0.0
    shares = (abs(before[answer] / before.total() - now[answer] / now.total()) for answer in before.keys() | now.keys())
    return min(1.0, round(sum(shares) / 2, 9))


def _compare_fields(fields: Mapping[str, tuple[Fields, Fields]]) -> Iterable[FieldChange]:
    """Fields that most records had and that are gone, or hold something else."""
    for source, (before, now) in sorted(fields.items()):
        for name, kinds in sorted(before.items()):
            kind, new = find_main_kind(kinds), find_main_kind(now.get(name, {}))
            if kind is not None and kind != new and is_usual(kinds, before, name):
                yield FieldChange(source=source, field=name, before=kind, now=new)
