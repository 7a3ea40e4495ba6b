"""How formats find the files that their settings name. Reads folders, not files."""

from __future__ import annotations

import glob
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field

from vqa_pipeline.errors import SourceError
from vqa_pipeline.files import open_file
from vqa_pipeline.sources.archives import is_archive
from vqa_pipeline.sources.delimited_records import DelimitedError
from vqa_pipeline.sources.encodings import read_as_utf_8
from vqa_pipeline.sources.json_records import JsonError
from vqa_pipeline.sources.settings import SourcePath
from vqa_pipeline.sources.signatures import UnreadableFile, refuse_by_content

Item = TypeVar("Item")

_START = 256

_SUFFIXES_OF_ROWS = {".csv", ".gz", ".gzip", ".json", ".jsonl", ".ndjson", ".parquet", ".tab", ".tsv", ".txt"}

Paths = SourcePath | Annotated[tuple[SourcePath, ...], Field(min_length=1)]
"""One path or glob, or several."""


def find_paths(source: str, setting: str, patterns: Paths, root: Path) -> list[Path]:
    """The files that a setting names, in its order; a glob's in alphabetical order.

    Raises:
        SourceError: a name or glob matches no file.
    """
    found: dict[Path, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matches = _expand(pattern, root)
        files = [path for path in matches if path.is_file()]
        if not files:
            reason, fix = "no such file", f"Correct `{setting}`, or bring the file."
            folders = [path for path in matches if path.is_dir()]
            if folders:
                reason = "is a folder, not a file" if (root / pattern).is_dir() else "matches folders, but no file"
                fix = f"Name the files in it, such as `{setting}: {pattern.rstrip('/')}/{_suggest_glob(folders)}`."
            raise SourceError(source, setting, _make_plain(root / pattern), reason, fix)
        found |= dict.fromkeys(files)
    return list(found)


def _expand(pattern: str, root: Path) -> list[Path]:
    """The path itself where there is one of this name, brackets and stars included; else what the glob matches."""
    if (root / pattern).exists():
        return [_make_plain(root / pattern)]
    return sorted(_make_plain(root / match) for match in glob.glob(pattern, root_dir=root, recursive=True))  # noqa: PTH207 - the pattern may be absolute


def _suggest_glob(folders: list[Path]) -> str:
    """The glob of the commonest kind of file with rows in these folders."""
    files = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
    suffixes = Counter(path.suffix for path in files if path.suffix.lower() in _SUFFIXES_OF_ROWS)
    return f"*{suffixes.most_common(1)[0][0]}" if suffixes else "*"


def _make_plain(path: Path) -> Path:
    """Absolute and without `..`, links left as they are: places in a source are compared as text."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


def find_folder(source: str, setting: str, folder: SourcePath | None, root: Path) -> Path | None:
    """The folder that a setting names, or None when it names none.

    Raises:
        SourceError: there is no such folder.
    """
    if folder is None:
        return None
    path = _make_plain(root / folder)
    if not path.is_dir():
        raise SourceError(source, setting, path, "no such folder", f"Correct `{setting}`, or bring the folder.")
    return path


def find_image_root(source: str, image_root: SourcePath | None, root: Path) -> Path | None:
    """The folder, or zip or uncompressed tar archive, that `image_root` names, or None when it names none.

    Raises:
        SourceError: there is no such folder, and no such archive.
    """
    if image_root is None or not (root / image_root).is_file():
        return find_folder(source, "image_root", image_root, root)
    path = _make_plain(root / image_root)
    with reading(source, "image_root", path):
        if is_archive(path):
            return path
    reason = "is neither a folder nor a zip or tar archive that single images can be read from"
    raise SourceError(source, "image_root", path, reason, "Name the folder of the images; decompress a tar.gz first.")


def find_base(files: list[Path], image_root: Path | None) -> Path:
    """The folder that a source's files and images have in common.

    Locators and digests are relative to it, so that moving the data as a whole changes nothing.
    """
    folders = [path.parent for path in files]
    return Path(os.path.commonpath([*folders, image_root] if image_root else folders))


def name_file(path: Path, base: Path) -> str:
    """A file's name in locators: its path relative to the source's base, `/` between parts."""
    return path.relative_to(base).as_posix()


def read_each(
    source: str,
    setting: str,
    paths: list[Path],
    base: Path,
    split: Callable[[BufferedReader], Iterator[Item]],
    most: int | None = None,
) -> Iterator[tuple[str, int, Item]]:
    """What `split` finds in the files that a setting names, one file after another; of each at most the first `most`.

    Yields:
        The file's name in locators, the number of the item in its file, and the item.

    Raises:
        SourceError: a file cannot be read, or `split` says that it is not of its format.
    """
    for path in paths:
        name = name_file(path, base)
        with reading(source, setting, path), open_rows(path) as file:
            for number, item in enumerate(islice(split(file), most)):
                yield name, number, item


@contextmanager
def open_rows(path: Path) -> Iterator[BufferedReader]:
    """A file with rows, decompressed and, where it is text, as UTF-8.

    Raises:
        UnreadableFile: no rows are read from such files, a pickle for example.
    """
    with open_file(path) as file:
        refuse_by_content(file.read(_START))
        file.seek(0)
        yield read_as_utf_8(file)


@contextmanager
def reading(source: str, setting: str, path: Path) -> Iterator[None]:
    """Turn what goes wrong with a whole file into a `SourceError` that names it."""
    try:
        yield
    except JsonError as error:
        raise SourceError(
            source, setting, path, f"is not JSON of this format: {error}", "Mend or re-export it."
        ) from error
    except UnreadableFile as error:
        raise SourceError(source, setting, path, error.reason, error.fix) from error
    except DelimitedError as error:
        raise SourceError(source, setting, path, error.reason, "Mend the row.", line=error.line) from error
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise SourceError(
            source, setting, path, f"cannot be read ({error})", "Check the file and its rights."
        ) from error
