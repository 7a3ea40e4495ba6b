"""How formats find the files that their settings name. Reads folders, not files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vqa_pipeline.errors import SourceError
from vqa_pipeline.sources.json_records import JsonError
from vqa_pipeline.sources.settings import SourcePath

Paths = SourcePath | tuple[SourcePath, ...]


def find_paths(source: str, setting: str, patterns: Paths, root: Path) -> list[Path]:
    """The files that a setting names, in its order; a glob's in alphabetical order.

    Raises:
        SourceError: a name or glob matches no file.
    """
    named = [patterns] if isinstance(patterns, str) else list(patterns)
    found: list[Path] = []
    for pattern in named:
        matches = sorted(Path(match) for match in glob.glob(str(root / pattern), recursive=True))  # noqa: PTH207 - a pattern may be absolute
        files = [path for path in matches if path.is_file()]
        if not files:
            raise SourceError(
                source, setting, root / pattern, "no such file", f"Correct `{setting}`, or bring the file."
            )
        found += [path for path in files if path not in found]
    return found


def find_folder(source: str, setting: str, folder: SourcePath | None, root: Path) -> Path | None:
    """The folder that a setting names, or None when it names none.

    Raises:
        SourceError: there is no such folder.
    """
    if folder is None:
        return None
    path = root / folder
    if not path.is_dir():
        raise SourceError(source, setting, path, "no such folder", f"Correct `{setting}`, or bring the folder.")
    return path


def find_base(files: list[Path], image_root: Path | None) -> Path:
    """The folder that a source's files and images have in common.

    Locators and digests are relative to it, so that moving the data as a whole changes nothing.
    """
    folders = [path.parent for path in files]
    return Path(os.path.commonpath([*folders, image_root] if image_root else folders))


def name_file(path: Path, base: Path) -> str:
    """A file's name in locators: its path relative to the source's base, `/` between parts."""
    return path.relative_to(base).as_posix()


@contextmanager
def reading(source: str, setting: str, path: Path) -> Iterator[None]:
    """Turn what goes wrong with a whole file into a `SourceError` that names it."""
    try:
        yield
    except JsonError as error:
        raise SourceError(
            source, setting, path, f"is not JSON of this format: {error}", "Mend or re-export it."
        ) from error
    except (OSError, EOFError, UnicodeError) as error:
        raise SourceError(
            source, setting, path, f"cannot be read ({error})", "Check the file and its rights."
        ) from error
