"""The plan: pure tasks over buckets, with files between them, from every source's records to the dataset.

    images (`image_plan`)
        ─► exchange ─► merge, per bucket of question ids
        ─► exchange ─► census ─► finalize, per bucket of images and their near-duplicates ─► packs

Tasks run through one `map_tasks(function, items)` (`tasks`). The same bytes come out however it runs them, and memory
is bounded by a bucket and by the distinct references to images that there are.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from vqa_pipeline.curation.buckets import choose_num_buckets, read_bucket, write_buckets
from vqa_pipeline.curation.digest import format_digest, sum_rows
from vqa_pipeline.curation.exchange import choose_num_spans, name_bucket, write_span
from vqa_pipeline.curation.finalize import Census, Leak, finalize_bucket, take_census
from vqa_pipeline.curation.image_plan import IMAGE_FACTS, ImagePlan
from vqa_pipeline.curation.ledger import Ledger, SourceLedger, arrange_fates
from vqa_pipeline.curation.merge import MERGED, merge_bucket
from vqa_pipeline.curation.near_duplicates import Pairs
from vqa_pipeline.curation.settings import DatasetSettings
from vqa_pipeline.curation.source_records import SourceRecords
from vqa_pipeline.curation.summary import DatasetSummary, count_files
from vqa_pipeline.curation.tables import write_table
from vqa_pipeline.curation.tasks import MapTasks, Result, run_in_order
from vqa_pipeline.progress import Progress, count_one, follow, silent
from vqa_pipeline.schemas import (
    ANNOTATION_RECORDS,
    QUESTION_RECORDS,
    QUESTIONS,
    REJECTS,
    SPLITS,
    Fate,
    Split,
)

_RECORDS = {
    kind: schema.append(pa.field("source", pa.string()))
    for kind, schema in (("questions", QUESTION_RECORDS), ("annotations", ANNOTATION_RECORDS))
}
"""Kinds of records, as `merge` takes them."""

_LISTED_LEAKS = 100
_CONTENT = [name for name in QUESTIONS.names if name not in {"locator", "repairs"}]


class Known(NamedTuple):
    """What earlier runs left, so that this one need not do it again."""

    packs: Sequence[Path] = ()
    """Image packs; what they hold is not packed again."""
    images: Path | None = None
    """What a run with the same checks found out about images, to be used and replaced; None: nothing is remembered."""


def build_dataset(
    sources: Sequence[SourceRecords],
    settings: DatasetSettings,
    known: Known,
    scratch: Path,
    output: Path,
    map_tasks: MapTasks = run_in_order,
    progress: Progress = silent,
) -> DatasetSummary:
    """Join, check, deduplicate and split the records of all sources.

    Args:
        sources: The sources' records.
        settings: Splits, leakage, whether images are required.
        known: What earlier runs left.
        scratch: A folder of this plan's own; emptied at the start and removed at the end.
        output: An empty folder: `questions/`, `rejects/`, `images.parquet`, `near_duplicates.parquet`, `ledger.json`,
            and `packs/` come into it.
        map_tasks: Runs tasks.
        progress: Is told how many images are checked and packed, and how many buckets are joined and written.

    Raises:
        SourceChanged: an image changed or went away while it was read, or between its check and its packing.
        SourceError: an image cannot be read for a reason that says nothing about it.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    images = ImagePlan(tuple(sources), scratch, output, known.images or scratch / "known_images.arrow")
    parts = images.resolve()
    checked = map_tasks(images.check, enumerate(parts))
    num_files = sum(len(files) for *_, files in parts)
    sum(follow(checked, progress, "checking images", num_files, "images", int))
    pairs = images.relate(settings.near_duplicate_distance)
    plan = _Plan(images, settings)
    buckets, spans = range(plan.num_buckets), range(plan.num_spans)

    def run_all(task: Callable[[Any], Result], items: Collection[Any], name: str, unit: str) -> list[Result]:
        return list(follow(map_tasks(task, items), progress, name, len(items), unit, count_one))

    run_all(plan.exchange_records, list(product(_RECORDS, spans)), "sorting records", "parts")
    joined = run_all(plan.merge, buckets, "joining questions", "buckets")
    plan.discard(*_RECORDS)
    run_all(plan.exchange_merged, spans, "sorting questions", "parts")
    plan.discard("merged")
    census = take_census(plan.read_merged(["source", "split", "annotated"]), settings)
    written = run_all(partial(plan.finalize, census=census), buckets, "writing questions", "buckets")
    plan.write_rejects()
    facts, packs = images.pack(known.packs, progress)
    summary = _summarize(plan, census, joined, written, facts, packs, pairs)
    (output / "ledger.json").write_text(json.dumps(summary.ledger.model_dump(mode="json"), indent=1, sort_keys=True))
    shutil.rmtree(scratch)
    return summary


class _Written(NamedTuple):
    """What a bucket of images tells while it is in memory."""

    leaks: list[Leak]
    digest_sum: int
    """Of the accepted questions' content."""
    num_annotated: Counter[Split]


@dataclass(frozen=True)
class _Plan:
    """Where the plan's files lie, and its tasks."""

    images: ImagePlan
    settings: DatasetSettings

    @property
    def sources(self) -> tuple[SourceRecords, ...]:
        return self.images.sources

    @property
    def scratch(self) -> Path:
        return self.images.scratch

    @property
    def output(self) -> Path:
        return self.images.output

    @property
    def num_buckets(self) -> int:
        return choose_num_buckets(sum(source.num_question_records for source in self.sources))

    @property
    def num_spans(self) -> int:
        return choose_num_spans(self.num_buckets)

    def exchange_records(self, part: tuple[str, int]) -> None:
        """Task: records of one kind and of a span of buckets of question ids."""
        kind, span = part
        write_span(
            self._read_records(kind, span), "question_id", span, self.num_buckets, _RECORDS[kind], self.scratch / kind
        )

    def _read_records(self, kind: str, span: int) -> Iterator[pa.Table]:
        schema = _RECORDS[kind].remove(_RECORDS[kind].get_field_index("source"))
        for source in self.sources:
            for path in source.list_files(kind):
                table = read_bucket([path], "question_id", span, self.num_spans, schema)
                yield table.append_column("source", pa.repeat(pa.scalar(source.name), table.num_rows))

    def merge(self, bucket: int) -> dict[str, int]:
        """Task: one bucket of question ids."""
        questions, annotations = (pq.read_table(name_bucket(self.scratch / kind, bucket)) for kind in _RECORDS)
        merged = merge_bucket(
            questions, annotations, *self.images.find(questions), images_required=self.settings.images_required
        )
        write_buckets(merged.questions, "group", name_bucket(self.scratch / "merged", bucket), self.num_spans)
        write_table(merged.rejects, REJECTS, self.scratch / "rejects" / f"merge-{bucket:05d}.parquet")
        return merged.joined

    def exchange_merged(self, span: int) -> None:
        """Task: merged questions of a span of buckets of images and their near-duplicates."""
        files = sorted((self.scratch / "merged").glob("*.parquet"))
        tables = (read_bucket([path], "group", span, self.num_spans, MERGED) for path in files)
        write_span(tables, "group", span, self.num_buckets, MERGED, self.scratch / "grouped")

    def finalize(self, bucket: int, census: Census) -> _Written:
        """Task: one bucket of images and their near-duplicates."""
        merged = pq.read_table(name_bucket(self.scratch / "grouped", bucket))
        final = finalize_bucket(merged, self.settings, census)
        for split in SPLITS:
            part = final.questions.filter(pa.compute.equal(final.questions["split"], split))
            if part.num_rows:
                write_table(part, QUESTIONS, self.output / "questions" / f"{split}-{bucket:05d}.parquet")
        write_table(final.rejects, REJECTS, self.scratch / "rejects" / f"finalize-{bucket:05d}.parquet")
        annotated = final.questions.filter(pa.compute.is_valid(final.questions["answers"]))["split"]
        return _Written(final.leaks, sum_rows(final.questions, _CONTENT), Counter(annotated.to_pylist()))

    def read_merged(self, columns: list[str]) -> Iterator[pa.Table]:
        """Some columns of every merged question, file by file."""
        for path in sorted((self.scratch / "grouped").glob("*.parquet")):
            yield pq.read_table(path, columns=columns)

    def discard(self, *names: str) -> None:
        """Delete folders of files between tasks that are read."""
        for name in names:
            shutil.rmtree(self.scratch / name)

    def write_rejects(self) -> None:
        """Bring the rejects of all tasks and of the records together, one numbered file per part that has any."""
        records = [path for source in self.sources for path in source.list_files("rejects")]
        number = 0
        for path in [*records, *sorted((self.scratch / "rejects").glob("*.parquet"))]:
            table = pq.read_table(path)
            if table.num_rows:
                write_table(table, REJECTS, self.output / "rejects" / f"rejects-{number:05d}.parquet")
                number += 1


def _summarize(
    plan: _Plan,
    census: Census,
    joined: Sequence[dict[str, int]],
    written: Sequence[_Written],
    facts: pa.Table,
    packs: Sequence[Path],
    pairs: Pairs,
) -> DatasetSummary:
    """Bring together what the files, the tasks and the plan tell."""
    found = count_files(plan.output)
    annotated: Counter[Split] = Counter()
    for bucket in written:
        annotated.update(bucket.num_annotated)
    leaks = sorted(
        (leak for bucket in written for leak in bucket.leaks), key=lambda leak: (leak.image, leak.near or "")
    )
    return DatasetSummary(
        ledger=_draw_up_ledger(plan.sources, joined, found.fates),
        num_questions_by_split={split: found.splits[split] for split in SPLITS},
        num_annotated_by_split={split: annotated[split] for split in SPLITS},
        num_images=facts.num_rows,
        num_questions_without_image=found.num_without_image,
        carved=tuple(split for split in SPLITS if split in census.missing),
        num_leaking_images=sum(leak.near is None for leak in leaks),
        num_leaking_groups=sum(leak.near is not None for leak in leaks),
        leaks=tuple(leaks[:_LISTED_LEAKS]),
        num_near_duplicates=len(pairs.distance),
        num_pairs_not_compared=pairs.num_not_compared,
        images_looked_for=plan.images.list_looked_for(),
        reasons=found.reasons,
        repairs_by_kind=dict(sorted(found.repairs.items())),
        alterations_by_kind=dict(sorted(Counter(pa.compute.list_flatten(facts["alterations"]).to_pylist()).items())),
        data_version=format_digest(sum(bucket.digest_sum for bucket in written), sum_rows(facts, IMAGE_FACTS.names)),
        new_packs=tuple(packs),
    )


def _draw_up_ledger(
    sources: Sequence[SourceRecords], joined: Sequence[dict[str, int]], fates: Counter[tuple[str, Fate, str]]
) -> Ledger:
    counted = arrange_fates(fates)
    used: Counter[str] = Counter()
    for counts in joined:
        used.update(counts)
    return Ledger(
        sources={
            source.name: SourceLedger(
                num_question_records=source.num_question_records,
                num_annotation_records=source.num_annotation_records,
                num_joined_annotations=used[source.name],
                fates=counted.get(source.name, {}),
            )
            for source in sources
        }
    )
