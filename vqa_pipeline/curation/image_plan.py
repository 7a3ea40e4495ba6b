"""The plan's part about images: what each reference means, what is wrong with it, which images are nearly the same.

    resolve references ─► check images ─► relate ─► (the questions are joined) ─► pack what accepted questions show

Only sources with images take part. What is found lies in two lookups, and a task is given what is about its questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vqa_pipeline.curation import image_checks
from vqa_pipeline.curation.image_roots import ImageRoot
from vqa_pipeline.curation.image_verdicts import JUDGED, append_groups, identify, miss_images
from vqa_pipeline.curation.known_images import read_known_images, view_fixed, write_known_images
from vqa_pipeline.curation.lookup import find_rows, read_lookup, write_lookup
from vqa_pipeline.curation.merge import VERDICT
from vqa_pipeline.curation.near_duplicates import NO_PAIRS, Pairs, find_pairs, name_groups, tabulate_pairs
from vqa_pipeline.curation.resolution import MENDS, resolve_references
from vqa_pipeline.curation.source_records import SourceRecords
from vqa_pipeline.curation.tables import write_table
from vqa_pipeline.progress import Progress, count_one, follow
from vqa_pipeline.schemas import NEAR_DUPLICATES

IMAGE_FACTS = pa.schema([image_checks.VERDICTS.field(name) for name in image_checks.FACTS])
"""`dataset`, file `images.parquet`: one row per accepted image, ordered by sha256; the bytes are in the packs."""

_FILES_PER_TASK = 512
_ROWS_AT_ONCE = 10_000

Part = tuple[SourceRecords, ImageRoot, list[str]]
"""Some images of a source, by name."""


@dataclass(frozen=True)
class ImagePlan:
    """Where the files about images lie, and the tasks."""

    sources: tuple[SourceRecords, ...]
    scratch: Path
    output: Path
    known: Path
    """What an earlier run found out about images, to be used and replaced."""

    @property
    def _verdicts(self) -> Path:
        return self.scratch / "verdicts.arrow"

    @property
    def _mends(self) -> Path:
        return self.scratch / "mends.arrow"

    def resolve(self) -> list[Part]:
        """Write verdicts on references that mean no image; the images of all others, in parts of one task each.

        All at once and not in tasks: the names of an image root are many to send, and comparing with them is quick.
        """
        parts: list[Part] = []
        mends: list[pa.Table] = []
        for source in self.sources:
            root = source.images
            if root is None:
                continue
            found = resolve_references(source.name, root, source.list_references())
            self._write_verdicts(source, found.verdicts, f"refused-{source.name}")
            mends.append(found.mends)
            starts = range(0, len(found.files), _FILES_PER_TASK)
            parts += [(source, root, found.files[at : at + _FILES_PER_TASK]) for at in starts]
        write_lookup(mends, MENDS, "image", self._mends)
        return parts

    def check(self, item: tuple[int, Part]) -> int:
        """Task: verdicts on some images of a source; returns how many they are."""
        number, (source, root, names) = item
        known = read_known_images(self.known, image_checks.DECODED)
        self._write_verdicts(source, image_checks.check_images(source.name, root, names, known), f"{number:05d}")
        return len(names)

    def _write_verdicts(self, source: SourceRecords, verdicts: pa.Table, name: str) -> None:
        identified = identify(verdicts, source.image_root.name if source.image_root else "")
        write_table(identified, identified.schema, self.scratch / "checked" / f"{name}.parquet")

    def relate(self, max_distance: int | None) -> Pairs:
        """Remember what was decoded, find near-duplicates, and bring all verdicts together, each with its group."""
        checked = sorted((self.scratch / "checked").glob("*.parquet"))
        decoded = image_checks.collect_decoded(checked)
        write_known_images(decoded, self.known)
        images, pairs = decoded["image_sha256"].to_pylist(), NO_PAIRS
        if max_distance is not None:
            colours = view_fixed(decoded["colours"], image_checks.COLOUR_BYTES)
            pairs = find_pairs(decoded["dhash"].to_numpy(), colours, max_distance)
        write_table(tabulate_pairs(images, pairs), NEAR_DUPLICATES, self.output / "near_duplicates.parquet")
        groups = name_groups(images, pairs)
        verdicts = (append_groups(pq.read_table(path), groups) for path in checked)
        write_lookup(verdicts, JUDGED, "image", self._verdicts)
        return pairs

    def find(self, questions: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Verdicts (columns `merge.VERDICT`) and mends (`resolution.MENDS`) of the images of some questions."""
        verdicts: list[pa.Table] = []
        references: list[str] = []
        for source in self.sources:
            own = questions.filter(pc.equal(questions["source"], source.name))["image"].unique().to_pylist()
            if source.images is None:
                verdicts.append(miss_images(source.name, own).select(VERDICT))
            else:
                references += own
        mends = find_rows(self._mends, references, MENDS.names)
        verdicts.append(find_rows(self._verdicts, [*references, *mends["file"].to_pylist()], VERDICT))
        return pa.concat_tables(verdicts), mends

    def list_looked_for(self) -> dict[str, dict[str, str | None]]:
        """By source, the references that did not name a file, and the file that each was taken to mean."""
        found: dict[str, dict[str, str | None]] = {source.name: {} for source in self.sources}
        verdicts = read_lookup(self._verdicts, ["source", "image", "image_rule"])
        for row in verdicts.filter(pc.is_in(verdicts["image_rule"], image_checks.NOT_FOUND)).to_pylist():
            found[row["source"]][row["image"]] = None
        for row in read_lookup(self._mends, ["source", "image", "file"]).to_pylist():
            found[row["source"]][row["image"]] = row["file"]
        return found

    def pack(self, known_packs: Sequence[Path], progress: Progress) -> tuple[pa.Table, list[Path]]:
        """Facts of all images of accepted questions, and new packs for those that no known pack holds."""
        files = sorted((self.output / "questions").glob("*.parquet"))
        used = [pq.read_table(path, columns=["image_sha256"])["image_sha256"].unique() for path in files]
        verdicts = read_lookup(self._verdicts, ["source", "image", *IMAGE_FACTS.names])
        shown = pc.is_in(verdicts["image_sha256"], pa.chunked_array(used, pa.string()).drop_null())
        found = verdicts.filter(shown).combine_chunks()
        _, first = np.unique(view_fixed(found["image_sha256"], 64).view("S64").ravel(), return_index=True)
        found = found.take(pa.array(first))
        facts = found.select(IMAGE_FACTS.names)
        write_table(facts, IMAGE_FACTS, self.output / "images.parquet")
        is_packed = pc.is_in(
            found["image_sha256"], pa.array(sorted(image_checks.read_packed(known_packs)), pa.string())
        )
        new = found.filter(pc.invert(is_packed))
        told = follow(self._list_found(new), progress, "packing images", new.num_rows, "images", count_one)
        return facts, image_checks.write_packs(told, self.output / "packs")

    def _list_found(self, images: pa.Table) -> Iterator[image_checks.Found]:
        roots = {source.name: root for source in self.sources if (root := source.images) is not None}
        for batch in images.to_batches(_ROWS_AT_ONCE):
            for row in batch.to_pylist():
                source, name = row.pop("source"), row.pop("image")
                yield image_checks.Found(row, source, roots[source], name)
