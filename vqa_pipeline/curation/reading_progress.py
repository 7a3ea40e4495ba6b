"""How far the reading of a source is, in bytes of its files, told from the places of the records read.

Formats read their files in ways of their own; a record's locator is what they have in common. Looks at the files' sizes
only.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vqa_pipeline.progress import Progress
from vqa_pipeline.schemas import Locator
from vqa_pipeline.sources.containers import measure_content, measure_file
from vqa_pipeline.sources.formats import Source, get_format
from vqa_pipeline.sources.formats.files import find_base, name_file


class ReadingProgress:
    """Tells a `Progress` where the record at hand lies.

    Exact where locators have byte offsets, and close in Parquet, whose rows are counted; else, as for a tar file of
    pictures, a file counts when the next one begins.
    """

    def __init__(self, source: Source, root: Path, progress: Progress) -> None:
        chosen = get_format(source)
        paths = chosen.find_files(source, root)
        base = find_base(paths, chosen.find_image_root(source, root))
        self._task, self._progress = f"reading {source.name}", progress
        self._paths = {name_file(path, base): path for path in paths}
        self._sizes = {name: measure_file(path) for name, path in self._paths.items()}
        self._total = sum(self._sizes.values())
        self._before, self._file, self._scale = 0, "", 0.0

    def reach(self, locator: Locator) -> None:
        """A record was read."""
        if locator.file != self._file:
            self._enter(locator.file, has_offsets=locator.byte_offset is not None)
        place = locator.record if locator.byte_offset is None else locator.byte_offset
        inside = int(place * self._scale)
        done = self._before + min(inside, self._sizes.get(self._file, 0))
        self._progress(self._task, min(done, max(0, self._total - 1)), self._total, "bytes")

    def _enter(self, file: str, *, has_offsets: bool) -> None:
        self._before += self._sizes.get(self._file, 0)
        self._file = file
        path = self._paths.get(file)
        units = None if path is None else _count_units(path, has_offsets=has_offsets)
        self._scale = self._sizes[file] / units if units else 0.0

    def end(self) -> None:
        """Everything was read."""
        self._progress(self._task, self._total, self._total, "bytes")


def _count_units(path: Path, *, has_offsets: bool) -> int | None:
    """Bytes of the content, or rows of Parquet: what places in a file are counted in; None: they are not known."""
    if has_offsets:
        return measure_content(path)
    try:
        return int(pq.ParquetFile(path).metadata.num_rows)
    except (OSError, pa.ArrowException):
        return None
