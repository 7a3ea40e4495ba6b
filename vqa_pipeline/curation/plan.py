"""The plan: pure tasks over buckets, with files between them, from every source's records to the dataset.

    resolve references ─► check images ─► near-duplicates
        ─► exchange ─► merge, per bucket of question ids
        ─► exchange ─► census ─► finalize, per bucket of images and their near-duplicates ─► packs

Tasks run through one `map_tasks(function, items)` (`tasks`). The same bytes come out however it runs them, and memory
is bounded by a bucket and by the distinct references to images that there are.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from vqa_pipeline.curation import image_checks
from vqa_pipeline.curation.buckets import choose_num_buckets, read_bucket, write_buckets
from vqa_pipeline.curation.digest import format_digest, sum_rows
from vqa_pipeline.curation.exchange import choose_num_spans, name_bucket, write_span
from vqa_pipeline.curation.finalize import Census, Leak, finalize_bucket, take_census
from vqa_pipeline.curation.image_roots import ImageRoot, open_images
from vqa_pipeline.curation.image_verdicts import JUDGED, append_groups, identify, miss_images
from vqa_pipeline.curation.known_images import read_known_images, view_fixed, write_known_images
from vqa_pipeline.curation.ledger import Ledger, SourceLedger, arrange_fates
from vqa_pipeline.curation.lookup import find_rows, read_lookup, write_lookup
from vqa_pipeline.curation.merge import MERGED, VERDICT, merge_bucket
from vqa_pipeline.curation.near_duplicates import NO_PAIRS, Pairs, find_pairs, name_groups, tabulate_pairs
from vqa_pipeline.curation.resolution import MENDS, resolve_references
from vqa_pipeline.curation.settings import DatasetSettings
from vqa_pipeline.curation.summary import DatasetSummary, count_files
from vqa_pipeline.curation.tasks import MapTasks, Result, run_in_order
from vqa_pipeline.progress import Progress, count_one, follow, silent
from vqa_pipeline.schemas import (
    ANNOTATION_RECORDS,
    NEAR_DUPLICATES,
    QUESTION_RECORDS,
    QUESTIONS,
    REJECTS,
    SPLITS,
    Fate,
    Split,
)

IMAGE_FACTS = pa.schema([image_checks.VERDICTS.field(name) for name in image_checks.FACTS])
"""`dataset`, file `images.parquet`: one row per accepted image, ordered by sha256; the bytes are in the packs."""

_RECORDS = {
    kind: schema.append(pa.field("source", pa.string()))
    for kind, schema in (("questions", QUESTION_RECORDS), ("annotations", ANNOTATION_RECORDS))
}
"""Kinds of records, as `merge` takes them."""

_FILES_PER_TASK = 512
_ROWS_PER_GROUP = 10_000
_LISTED_LEAKS = 100
_CONTENT = [name for name in QUESTIONS.names if name not in {"locator", "repairs"}]


@dataclass(frozen=True)
class SourceRecords:
    """A source as the plan takes it."""

    name: str
    folder: Path
    """Records and rejects, as `records.validate_source` wrote them."""
    image_root: Path | None
    """Folder or archive that the settings name."""
    num_question_records: int
    num_annotation_records: int

    @property
    def images(self) -> ImageRoot | None:
        """Where its images come from."""
        return open_images(self.image_root, self.folder)


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
    plan = _Plan(tuple(sources), settings, scratch, output, known.images or scratch / "known_images.arrow")
    parts = plan.resolve()
    checked = map_tasks(plan.check, enumerate(parts))
    num_files = sum(len(files) for *_, files in parts)
    sum(follow(checked, progress, "checking images", num_files, "images", int))
    pairs = plan.relate_images()
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
    facts, packs = plan.pack_images(known.packs, progress)
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

    sources: tuple[SourceRecords, ...]
    settings: DatasetSettings
    scratch: Path
    output: Path
    known_images: Path

    @property
    def verdicts(self) -> Path:
        return self.scratch / "verdicts.arrow"

    @property
    def mends(self) -> Path:
        return self.scratch / "mends.arrow"

    @property
    def num_buckets(self) -> int:
        return choose_num_buckets(sum(source.num_question_records for source in self.sources))

    @property
    def num_spans(self) -> int:
        return choose_num_spans(self.num_buckets)

    def resolve(self) -> list[tuple[SourceRecords, ImageRoot, list[str]]]:
        """Write verdicts on references that mean no image; the images of all others, in parts of one task each.

        All at once and not in tasks: the names of an image root are many to send, and comparing with them is quick.
        """
        parts: list[tuple[SourceRecords, ImageRoot, list[str]]] = []
        mends: list[pa.Table] = []
        for source in self.sources:
            root = source.images
            if root is None:
                continue
            found = resolve_references(source.name, root, _list_references(source))
            self._write_verdicts(source, found.verdicts, f"refused-{source.name}")
            mends.append(found.mends)
            starts = range(0, len(found.files), _FILES_PER_TASK)
            parts += [(source, root, found.files[at : at + _FILES_PER_TASK]) for at in starts]
        write_lookup(mends, MENDS, "image", self.mends)
        return parts

    def check(self, item: tuple[int, tuple[SourceRecords, ImageRoot, list[str]]]) -> int:
        """Task: verdicts on some images of a source; returns how many they are."""
        number, (source, root, names) = item
        known = read_known_images(self.known_images, image_checks.DECODED)
        self._write_verdicts(source, image_checks.check_images(source.name, root, names, known), f"{number:05d}")
        return len(names)

    def _write_verdicts(self, source: SourceRecords, verdicts: pa.Table, name: str) -> None:
        identified = identify(verdicts, source.image_root.name if source.image_root else "")
        _write(identified.schema, [identified], self.scratch / "checked" / f"{name}.parquet")

    def relate_images(self) -> Pairs:
        """Remember what was decoded, find near-duplicates, and bring all verdicts together, each with its group."""
        checked = sorted((self.scratch / "checked").glob("*.parquet"))
        decoded = image_checks.collect_decoded(checked)
        write_known_images(decoded, self.known_images)
        images, distance = decoded["image_sha256"].to_pylist(), self.settings.near_duplicate_distance
        pairs = NO_PAIRS
        if distance is not None:
            colours = view_fixed(decoded["colours"], image_checks.COLOUR_BYTES)
            pairs = find_pairs(decoded["dhash"].to_numpy(), colours, distance)
        _write(NEAR_DUPLICATES, [tabulate_pairs(images, pairs)], self.output / "near_duplicates.parquet")
        groups = name_groups(images, pairs)
        verdicts = (append_groups(pq.read_table(path), groups) for path in checked)
        write_lookup(verdicts, JUDGED, "image", self.verdicts)
        return pairs

    def exchange_records(self, part: tuple[str, int]) -> None:
        """Task: records of one kind and of a span of buckets of question ids."""
        kind, span = part
        write_span(
            self._read_records(kind, span), "question_id", span, self.num_buckets, _RECORDS[kind], self.scratch / kind
        )

    def _read_records(self, kind: str, span: int) -> Iterator[pa.Table]:
        schema = _RECORDS[kind].remove(_RECORDS[kind].get_field_index("source"))
        for source in self.sources:
            for path in sorted(source.folder.glob(f"{kind}-*.parquet")):
                table = read_bucket([path], "question_id", span, self.num_spans, schema)
                yield table.append_column("source", pa.repeat(pa.scalar(source.name), table.num_rows))

    def merge(self, bucket: int) -> dict[str, int]:
        """Task: one bucket of question ids."""
        questions, annotations = (pq.read_table(name_bucket(self.scratch / kind, bucket)) for kind in _RECORDS)
        merged = merge_bucket(
            questions, annotations, *self._find_images(questions), images_required=self.settings.images_required
        )
        write_buckets(merged.questions, "group", name_bucket(self.scratch / "merged", bucket), self.num_spans)
        _write(REJECTS, [merged.rejects], self.scratch / "rejects" / f"merge-{bucket:05d}.parquet")
        return merged.joined

    def _find_images(self, questions: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Verdicts and mends of the images of some questions."""
        verdicts: list[pa.Table] = []
        references: list[str] = []
        for source in self.sources:
            own = questions.filter(pa.compute.equal(questions["source"], source.name))["image"].unique().to_pylist()
            if source.images is None:
                verdicts.append(miss_images(source.name, own).select(VERDICT))
            else:
                references += own
        mends = find_rows(self.mends, references, MENDS.names)
        verdicts.append(find_rows(self.verdicts, [*references, *mends["file"].to_pylist()], VERDICT))
        return pa.concat_tables(verdicts), mends

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
                _write(QUESTIONS, [part], self.output / "questions" / f"{split}-{bucket:05d}.parquet")
        _write(REJECTS, [final.rejects], self.scratch / "rejects" / f"finalize-{bucket:05d}.parquet")
        annotated = final.questions.filter(pa.compute.is_valid(final.questions["answers"]))["split"]
        return _Written(final.leaks, sum_rows(final.questions, _CONTENT), Counter(annotated.to_pylist()))

    def list_looked_for(self) -> dict[str, dict[str, str | None]]:
        """By source, the references that did not name a file, and the file that each was taken to mean."""
        found: dict[str, dict[str, str | None]] = {source.name: {} for source in self.sources}
        verdicts = read_lookup(self.verdicts, ["source", "image", "image_rule"])
        for row in verdicts.filter(pa.compute.is_in(verdicts["image_rule"], image_checks.NOT_FOUND)).to_pylist():
            found[row["source"]][row["image"]] = None
        for row in read_lookup(self.mends, ["source", "image", "file"]).to_pylist():
            found[row["source"]][row["image"]] = row["file"]
        return found

    def read_merged(self, columns: list[str]) -> Iterator[pa.Table]:
        """Some columns of every merged question, file by file."""
        for path in sorted((self.scratch / "grouped").glob("*.parquet")):
            yield pq.read_table(path, columns=columns)

    def read_questions(self, columns: list[str]) -> Iterator[pa.Table]:
        """Some columns of every accepted question, file by file."""
        for path in sorted((self.output / "questions").glob("*.parquet")):
            yield pq.read_table(path, columns=columns)

    def discard(self, *names: str) -> None:
        """Delete folders of files between tasks that are read."""
        for name in names:
            shutil.rmtree(self.scratch / name)

    def write_rejects(self) -> None:
        """Bring the rejects of all tasks and of the records together, one numbered file per part that has any."""
        records = [path for source in self.sources for path in sorted(source.folder.glob("rejects-*.parquet"))]
        number = 0
        for path in [*records, *sorted((self.scratch / "rejects").glob("*.parquet"))]:
            table = pq.read_table(path)
            if table.num_rows:
                _write(REJECTS, [table], self.output / "rejects" / f"rejects-{number:05d}.parquet")
                number += 1

    def pack_images(self, known_packs: Sequence[Path], progress: Progress) -> tuple[pa.Table, list[Path]]:
        """Facts of all accepted images, and new packs for those that no known pack holds."""
        used = {sha for table in self.read_questions(["image_sha256"]) for sha in table["image_sha256"].to_pylist()}
        used.discard(None)
        packed = image_checks.read_packed(known_packs)
        roots = {source.name: source.images for source in self.sources}
        found: dict[str, image_checks.Found] = {}
        verdicts = read_lookup(self.verdicts, JUDGED.names)
        for row in verdicts.filter(pa.compute.is_valid(verdicts["image_sha256"])).to_pylist():
            root = roots[row["source"]]
            if row["image_sha256"] in used and root is not None:
                facts = {name: row[name] for name in image_checks.FACTS}
                found.setdefault(row["image_sha256"], image_checks.Found(facts, row["source"], root, row["image"]))
        ordered = [found[sha] for sha in sorted(found)]
        new = [image for image in ordered if image.facts["image_sha256"] not in packed]
        table = pa.Table.from_pylist([image.facts for image in ordered], IMAGE_FACTS)
        _write(IMAGE_FACTS, [table], self.output / "images.parquet")
        told = follow(new, progress, "packing images", len(new), "images", count_one)
        return table, image_checks.write_packs(told, self.output / "packs")


def _list_references(source: SourceRecords) -> list[str]:
    """The distinct image references of a source, sorted."""
    distinct: set[str] = set()
    for path in sorted(source.folder.glob("questions-*.parquet")):
        distinct.update(pq.read_table(path, columns=["image"])["image"].to_pylist())
    return sorted(distinct)


def _write(schema: pa.Schema, tables: Iterable[pa.Table], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
        for table in tables:
            writer.write_table(table, _ROWS_PER_GROUP)


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
        images_looked_for=plan.list_looked_for(),
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
