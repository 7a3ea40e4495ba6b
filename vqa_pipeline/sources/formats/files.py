"""How formats find the files that their settings name, and go through them."""

from __future__ import annotations

import glob
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field

from vqa_pipeline.errors import SourceError
from vqa_pipeline.schemas import Split
from vqa_pipeline.sources.archives import ArchiveError, is_archive
from vqa_pipeline.sources.containers import MARK, is_junk, list_folder, list_members, open_content, split_member
from vqa_pipeline.sources.delimited_records import DelimitedError
from vqa_pipeline.sources.encodings import read_as_utf_8
from vqa_pipeline.sources.json_structure import JsonError
from vqa_pipeline.sources.settings import SourcePath, Splits
from vqa_pipeline.sources.signatures import UnreadableFile, refuse_by_content
from vqa_pipeline.sources.split_words import find_split_word

Item = TypeVar("Item")

_START = 512

Paths = SourcePath | Annotated[tuple[SourcePath, ...], Field(min_length=1)]
"""One path or glob, or several."""

FILES = "Files, folders, archives or globs, relative to the project; `train.zip!/*.json` names members of an archive."
"""What a setting of files with rows says of itself."""


def find_paths(
    source: str, setting: str, patterns: Paths, root: Path, *, whole: bool = False, without: str | None = None
) -> list[Path]:
    """The files that a setting names, in its order; a glob's, folder's or archive's in alphabetical order.

    A folder stands for the files with rows in it and below, an archive for its members with rows, and
    `train.zip!/annotations/*.json` for the members that the pattern fits: see `containers`. What is no data, such as
    `Thumbs.db`, is only taken when it is named.

    Args:
        source: Name of the source.
        setting: Name of the setting.
        patterns: What it says.
        root: Where relative paths start.
        whole: Take archives as they are: the format reads them itself.
        without: A file that is left out: corrections lie beside the rows that they correct, and are none of them.

    Raises:
        SourceError: a path or glob matches no file, a folder or archive holds none with rows, or an archive may not be
            read.
    """
    found: dict[Path, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        outer, member = _split_pattern(pattern, root)
        with reading(source, setting, _make_plain(root / outer)):
            files = [path for path in _list_files(outer, root) if not _is_same(path, root, without)]
        chosen = files if whole else [path for file in files for path in _list_inside(source, setting, file, member)]
        if not chosen:
            reason, fix = _explain_nothing(outer, member, files, root)
            fix = fix.replace("{setting}", setting)
            raise SourceError(source, setting, _make_plain(root / pattern), reason, fix)
        _check_names(source, setting, chosen)
        found |= dict.fromkeys(chosen)
    return list(found)


def _is_same(path: Path, root: Path, other: str | None) -> bool:
    """Whether a path is another file's too; the disk is asked only where the names agree."""
    return other is not None and path.name == Path(other).name and path.resolve() == (root / other).resolve()


def _check_names(source: str, setting: str, paths: list[Path]) -> None:
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError as error:  # it could stand in no locator
            reason, fix = "has a name that is not UTF-8", "Rename it; in an archive, pack it again."
            raise SourceError(source, setting, ascii(str(path)), reason, fix) from error


def _split_pattern(pattern: str, root: Path) -> tuple[str, str | None]:
    """The part that names files, and the part after the mark that names members."""
    outer, mark, member = pattern.partition(MARK)
    return (outer, member) if mark and not (root / pattern).exists() else (pattern, None)


def _list_files(pattern: str, root: Path) -> list[Path]:
    """The file of this name, brackets and stars included, or a folder's; else what the glob matches."""
    path = _make_plain(root / pattern)
    if path.is_dir():
        return list_folder(path)
    if path.exists():
        return [path]
    matches = (_make_plain(root / match) for match in glob.glob(pattern, root_dir=root, recursive=True))  # noqa: PTH207 - the pattern may be absolute
    return sorted(match for match in matches if match.is_file() and not is_junk(match.name))


def _list_inside(source: str, setting: str, file: Path, member: str | None) -> list[Path]:
    """The members of an archive, or the file itself."""
    with reading(source, setting, file):
        members = list_members(file, member)
        if members is None and member is not None:
            raise UnreadableFile("is no archive, and has no members", f"Correct `{setting}`.")
    return [file] if members is None else members


def _explain_nothing(pattern: str, member: str | None, files: list[Path], root: Path) -> tuple[str, str]:
    """Why a pattern names no file, and what to do about it."""
    if files and member is not None:
        return f"has no member that fits {member!r}", "Correct `{setting}`."
    if files or (root / pattern).is_dir():
        mark = MARK if files else "/"
        return "holds no files of rows, by their names", f"Name them: `{{setting}}: {pattern.rstrip('/')}{mark}*.txt`."
    if glob.glob(pattern, root_dir=root, recursive=True):  # noqa: PTH207 - the pattern may be absolute
        return "matches folders, but no file", f"Name the files in them: `{{setting}}: {pattern}/*.json`."
    return "no such file", "Correct `{setting}`, or bring the file."


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
    folders = [split_member(path)[0].parent for path in files]
    return Path(os.path.commonpath([*folders, image_root] if image_root else folders))


def name_file(path: Path, base: Path) -> str:
    """A file's name in locators: its path relative to the source's base, `/` between parts."""
    return path.relative_to(base).as_posix()


def declare_splits(splits: Splits, files: list[Path], image_root: Path | None, root: Path) -> dict[str, Split | None]:
    """The split that each file's name, or else its folder's, declares, by the file's name in locators.

    Folders above `root`, where the settings' paths start, say nothing of the data; nor do those that all files and
    images of a source elsewhere have in common.
    """
    if splits != "declared":
        return {}
    base = find_base(files, image_root)
    below = {path: path.relative_to(root if path.is_relative_to(root) else base).as_posix() for path in files}
    return {name_file(path, base): find_split_word(told) for path, told in below.items()}


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
    with open_content(path) as file:
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
    except ArchiveError as error:
        raise SourceError(source, setting, path, str(error), "Write or download it again.") from error
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, UnicodeError) as error:
        is_denied = isinstance(error, OSError) and error.errno is not None
        fix = "Check the file and its rights." if is_denied else "It is damaged: download or copy it again."
        raise SourceError(source, setting, path, f"cannot be read ({error})", fix) from error
