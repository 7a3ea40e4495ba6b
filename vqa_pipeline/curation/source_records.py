"""A source as the plan takes it: the records that `records` wrote, and where their images come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from vqa_pipeline.curation.image_roots import ImageRoot, open_images


@dataclass(frozen=True)
class SourceRecords:
    """Where a source's records lie. A value: processes are given it."""

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

    def list_files(self, kind: str) -> list[Path]:
        """Files of `questions`, `annotations` or `rejects`."""
        return sorted(self.folder.glob(f"{kind}-*.parquet"))

    def list_references(self) -> list[str]:
        """The distinct image references, sorted."""
        distinct: set[str] = set()
        for path in self.list_files("questions"):
            distinct.update(pq.read_table(path, columns=["image"])["image"].unique().to_pylist())
        return sorted(distinct)
