"""A dataset joined with its images, as Hugging Face's `datasets` loads it: Parquet by split, images as images, a card.

Reads a published version; writes a folder that is whole or not there. Memory is bounded by a share of the questions and
the images of a row group, however many there are.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.files import make_folder
from vqa_pipeline.progress import Progress, count_items, follow, silent
from vqa_pipeline.reporting.dataset_card import joined_card
from vqa_pipeline.reporting.images import read_images
from vqa_pipeline.schemas import IMAGES, QUESTIONS, SPLITS, Split

QUESTIONS_PER_SHARE = 200_000
"""Questions in memory at once."""

FILE_BYTES = 500 << 20
"""A file of the series is closed when its images have as many bytes."""

_ROWS_PER_GROUP = 100
_DIGEST_DIGITS = 8


def describe_feature(kind: pa.DataType) -> dict[str, Any]:
    """An Arrow type as `datasets` writes it into the metadata of a file."""
    if pa.types.is_list(kind):
        return {"feature": describe_feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: describe_feature(field.type) for field in kind}
    return {"dtype": str(kind), "_type": "Value"}


def _build_schema() -> pa.Schema:
    fields = [
        field.with_name("image_reference") if field.name == "image" else field.with_nullable(True)
        for field in QUESTIONS
    ]
    schema = pa.schema([*fields, IMAGES.field("image")])
    features = {field.name: describe_feature(field.type) for field in schema} | {"image": {"_type": "Image"}}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


JOINED = _build_schema()
"""One row per question: the columns of `schemas.QUESTIONS`, its image reference as `image_reference`, and `image`, the
original file's bytes, null where there is none. Ordered by image, then by question_id."""


def export_dataset(
    facts: Mapping[str, Any],
    questions: Mapping[Split, Sequence[Path]],
    packs: Sequence[Path],
    output: Path,
    *,
    questions_per_share: int = QUESTIONS_PER_SHARE,
    file_bytes: int = FILE_BYTES,
    progress: Progress = silent,
) -> dict[Split, int]:
    """Write the joined dataset into a folder that does not exist yet, or is empty; returns its questions by split.

    Args:
        facts: Numbers and details of the dataset's manifest, and `name`; they are told in its card.
        questions: Files with `schemas.QUESTIONS` by split.
        packs: Files with `schemas.IMAGES`.
        output: The folder.
        questions_per_share: How many questions are in memory at once, about.
        file_bytes: Size of the images in a file, about.
        progress: Is told how many questions are written.

    Raises:
        SettingsError: there is something in the folder.
        DiskError: the folder cannot be made.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise SettingsError("OUT", f"{output} is not empty", "Name a folder that does not exist yet.")
    make_folder(output.parent)
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "data").mkdir(parents=True)
    counts: dict[Split, int] = {}
    for split in SPLITS:
        series = _Series(unfinished / "data", split, file_bytes)
        tables = _join(questions.get(split, ()), packs, questions_per_share)
        total = facts["num_questions_by_split"][split]
        for table in follow(tables, progress, f"writing {split}", total, "questions", count_items):
            series.write(table)
        series.close()
        if series.num_rows:
            counts[split] = series.num_rows
    (unfinished / "README.md").write_text(joined_card(facts, list(counts)), encoding="utf-8")
    if output.is_dir():
        output.rmdir()
    unfinished.rename(output)
    return counts


def _join(files: Sequence[Path], packs: Sequence[Path], questions_per_share: int) -> Iterator[pa.Table]:
    """The questions in row groups, each with the bytes of their images; both are in the order of image digests."""
    if not files:
        return
    asked = pl.scan_parquet(list(files))
    num_shares = max(1, -(-asked.select(pl.len()).collect().item() // questions_per_share))
    for share in range(num_shares):
        low, high = _place(share, num_shares), _place(share + 1, num_shares)
        digest = pl.col("image_sha256")
        yield from _add_images(asked.filter(digest >= low, digest < high), packs)
    yield from _add_images(asked.filter(pl.col("image_sha256").is_null()), packs)


def _place(share: int, num_shares: int) -> str:
    """Where a share of all digests begins; behind the last share, a text that is greater than any digest."""
    return f"{share * 16**_DIGEST_DIGITS // num_shares:0{_DIGEST_DIGITS}x}" if share < num_shares else "g"


def _add_images(asked: pl.LazyFrame, packs: Sequence[Path]) -> Iterator[pa.Table]:
    frame = asked.sort("image_sha256", "question_id").collect()
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    for begin in range(0, table.num_rows, _ROWS_PER_GROUP):
        group = table.slice(begin, _ROWS_PER_GROUP)
        digests = group["image_sha256"].to_pylist()
        files = read_images(packs, sorted({digest for digest in digests if digest is not None}))
        images = [None if digest is None else {"bytes": files[digest], "path": digest} for digest in digests]
        columns = [*(group[field.name] for field in QUESTIONS), pa.array(images, JOINED.field("image").type)]
        yield pa.Table.from_arrays(
            [column.cast(field.type) for column, field in zip(columns, JOINED, strict=True)], schema=JOINED
        )


class _Series:
    """The files of a split, one after another."""

    def __init__(self, folder: Path, split: Split, file_bytes: int) -> None:
        self._folder, self._split, self._file_bytes = folder, split, file_bytes
        self._writer: pq.ParquetWriter | None = None
        self._num_files = self._size = self.num_rows = 0

    def write(self, table: pa.Table) -> None:
        """Write a row group, in a new file when the last one is full."""
        if self._size >= self._file_bytes:
            self.close()
        if self._writer is None:
            path = self._folder / f"{self._split}-{self._num_files:05d}.parquet"
            self._writer = pq.ParquetWriter(path, JOINED, compression="zstd", compression_level=1)
            self._num_files, self._size = self._num_files + 1, 0
        self._writer.write_table(table)
        self._size += table["image"].nbytes
        self.num_rows += table.num_rows

    def close(self) -> None:
        """Finish the file at hand."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
