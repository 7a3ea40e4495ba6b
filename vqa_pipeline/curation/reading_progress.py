"""How far the reading of a source is, in bytes of its files, told from the places of the records read.

Formats read their files in ways of their own; a record's locator is what they have in common. Looks at the files' sizes
only.
"""

from __future__ import annotations

from pathlib import Path

from vqa_pipeline.progress import Progress
from vqa_pipeline.schemas import Locator
from vqa_pipeline.sources.containers import measure_content, measure_file
from vqa_pipeline.sources.formats import Source, get_format
from vqa_pipeline.sources.formats.files import find_base, name_file


class ReadingProgress:
    """Tells a `Progress` where the record at hand lies.

    Exact where locators have byte offsets; else, and inside an archive, a file counts when the next one begins.
    """

    def __init__(self, source: Source, root: Path, progress: Progress) -> None:
        chosen = get_format(source)
        paths = chosen.find_files(source, root)
        base = find_base(paths, chosen.find_image_root(source, root))
        self._task, self._progress = f"reading {source.name}", progress
        self._paths = {name_file(path, base): path for path in paths}
        self._sizes = {name: measure_file(path) for name, path in self._paths.items()}
        self._total = sum(self._sizes.values())
        self._before, self._file, self._shrink = 0, "", 1.0

    def reach(self, locator: Locator) -> None:
        """A record was read."""
        if locator.file != self._file:
            self._enter(locator.file)
        inside = int((locator.byte_offset or 0) * self._shrink)
        place = self._before + min(inside, self._sizes.get(self._file, 0))
        self._progress(self._task, min(place, max(0, self._total - 1)), self._total, "bytes")

    def _enter(self, file: str) -> None:
        self._before += self._sizes.get(self._file, 0)
        self._file = file
        path = self._paths.get(file)
        self._shrink = self._sizes[file] / max(1, measure_content(path)) if path else 0.0

    def end(self) -> None:
        """Everything was read."""
        self._progress(self._task, self._total, self._total, "bytes")
