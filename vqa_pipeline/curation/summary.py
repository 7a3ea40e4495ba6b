"""What came out of a run of the plan, counted in the files that it wrote: for the manifest, the gates and the pages."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from vqa_pipeline.curation.finalize import Leak
from vqa_pipeline.curation.ledger import Ledger, tell_rules
from vqa_pipeline.schemas import Fate, Split


@dataclass(frozen=True)
class DatasetSummary:
    """What came out."""

    ledger: Ledger
    num_questions_by_split: dict[Split, int]
    num_annotated_by_split: dict[Split, int]
    num_images: int
    num_questions_without_image: int
    carved: tuple[Split, ...]
    """Splits that no question had, carved from train by image."""
    num_leaking_images: int
    """Images in more than one split."""
    num_leaking_groups: int
    """Groups of near-duplicates in more than one split."""
    leaks: tuple[Leak, ...]
    """The first of both, by image."""
    num_near_duplicates: int
    """Pairs of them."""
    num_pairs_not_compared: int
    """Pairs of images that could be near-duplicates and were not compared: too many images look alike."""
    images_looked_for: dict[str, dict[str, str | None]]
    """By source, references that name no file as they are, and the file that each was taken to mean; None: none."""
    reasons: dict[str, str]
    """By rule, why one of its rejected rows was rejected."""
    repairs_by_kind: dict[str, int]
    alterations_by_kind: dict[str, int]
    """Accepted images, by what was done to them on the way to RGB."""
    data_version: str
    new_packs: tuple[Path, ...] = field(default=())
    """Packs of images that no earlier pack holds."""

    def count(self) -> dict[str, float | int | None]:
        """The headline counts."""
        return {
            "num_rows": self.ledger.num_rows,
            "num_questions": sum(self.num_questions_by_split.values()),
            "num_images": self.num_images,
            **{f"num_questions_{split}": count for split, count in self.num_questions_by_split.items()},
            **{f"num_{fate}": self.ledger.count(fate) for fate in ("duplicate", "rejected", "excluded")},
            "num_questions_without_image": self.num_questions_without_image,
            "num_near_duplicates": self.num_near_duplicates,
            "num_pairs_not_compared": self.num_pairs_not_compared,
            "num_leaking_images": self.num_leaking_images,
            "num_leaking_groups": self.num_leaking_groups,
        }

    def tell_rejects(self) -> str:
        """The most frequent rules of rejected rows, with a reason of the first; empty when there are none.

        Orphans come last of equals: an annotation loses its question because that was rejected.
        """
        rules = self.ledger.count_rules("rejected")
        if not rules:
            return ""
        first = min(rules, key=lambda rule: (-rules[rule], rule == "annotation_orphan", rule))
        return f"{tell_rules(rules)} (such as: {self.reasons[first]:.200})"

    def tell_leaks(self) -> str:
        """What leaks, such as `3 images and 2 groups of near-duplicates are`."""
        images, groups = self.num_leaking_images, self.num_leaking_groups
        told = [f"{images} image{'s' * (images > 1)}"] * (images > 0)
        told += [f"{groups} group{'s' * (groups > 1)} of near-duplicates"] * (groups > 0)
        return " and ".join(told) + (" is" if images + groups == 1 else " are")

    def describe(self) -> dict[str, Any]:
        """What the manifest keeps beside counts and files, as JSON."""
        return {
            "ledger": self.ledger.model_dump(mode="json"),
            "num_questions_by_split": self.num_questions_by_split,
            "num_annotated_by_split": self.num_annotated_by_split,
            "carved": list(self.carved),
            "leaks": [leak.model_dump(mode="json") for leak in self.leaks],
            "repairs_by_kind": self.repairs_by_kind,
            "alterations_by_kind": self.alterations_by_kind,
        }


class FileCounts(NamedTuple):
    """What a dataset's files hold."""

    fates: Counter[tuple[str, Fate, str]]
    """Rows by source, fate and rule; the rule of accepted ones is empty."""
    splits: Counter[Split]
    """Accepted questions."""
    repairs: Counter[str]
    """Repairs of accepted questions, by kind."""
    num_without_image: int
    reasons: dict[str, str]
    """By rule, why its first rejected row was rejected."""


def count_files(dataset: Path) -> FileCounts:
    """Count `questions/` and `rejects/` as they are: what a task said it wrote is no proof."""
    found = FileCounts(Counter(), Counter(), Counter(), 0, {})
    num_without_image = 0
    for path in sorted((dataset / "questions").glob("*.parquet")):
        table = pq.read_table(path, columns=["source", "split", "image_sha256", "repairs"])
        for source, count in Counter(table["source"].to_pylist()).items():
            found.fates[source, "accepted", ""] += count
        found.splits.update(table["split"].to_pylist())
        found.repairs.update(repair["kind"] for repair in pa.compute.list_flatten(table["repairs"]).to_pylist())
        num_without_image += table["image_sha256"].null_count
    for path in sorted((dataset / "rejects").glob("*.parquet")):
        for row in pq.read_table(path, columns=["source", "fate", "rule", "reason"]).to_pylist():
            found.fates[row["source"], row["fate"], row["rule"]] += 1
            if row["fate"] == "rejected":
                found.reasons.setdefault(row["rule"], row["reason"])
    return found._replace(num_without_image=num_without_image)
