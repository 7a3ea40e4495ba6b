"""What a source's files are right now: sizes, times and digests. Bytes are read only where size or time moved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from vqa_pipeline.errors import SourceChanged, SourceError
from vqa_pipeline.files import FileStat, digest_file, list_tree, read_stat
from vqa_pipeline.progress import Progress, follow, silent
from vqa_pipeline.sources.containers import count_junk, open_content, split_member
from vqa_pipeline.sources.encodings import Encoding, find_encoding
from vqa_pipeline.sources.formats import Source, get_format
from vqa_pipeline.sources.formats.files import find_base, find_paths, name_file, reading
from vqa_pipeline.sources.formats.split_lists import find_split_lists


class FileState(NamedTuple):
    """A file as it was when it was looked at."""

    size: int
    modified_ns: int
    sha256: str


Keep = Callable[[Mapping[str, FileState]], None]
"""Remembers states for the next look."""


def forget(_states: Mapping[str, FileState]) -> None:
    """Remember nothing."""


class _Since(NamedTuple):
    """What was digested since something was kept."""

    num_bytes: int = 0
    num_files: int = 0


_KEPT_EVERY = _Since(1 << 30, 10_000)
"""Seconds of work; writing what is known takes a fraction of one."""


class FilesSummary(NamedTuple):
    """What the files with rows are."""

    num_files: int
    """Files and members of archives that rows were read from."""
    num_junk_files: int
    """Files in their folders and archives that are no data (`containers.is_junk`)."""
    encodings: dict[str, Encoding]
    """By name in locators, of the texts that are not plain UTF-8."""


def source_base(source: Source, root: Path) -> Path:
    """The folder that a source's files have in common.

    Raises:
        SourceError: a file or folder that the settings name does not exist.
    """
    return find_base(_find_named_files(source, root), get_format(source).find_image_root(source, root))


def find_source_files(source: Source, root: Path) -> dict[str, FileStat]:
    """The files with rows or splits, and every file of the image root whose name a record could give, or the archive.

    By their paths relative to the source's base, which are plain text: there may be millions.

    Raises:
        SourceError: a file or folder that the settings name does not exist.
    """
    named, images = _find_named_files(source, root), get_format(source).find_image_root(source, root)
    base = find_base(named, images)
    files = {name_file(path, base): read_stat(path) for path in named}
    if images and images.is_file():
        files[name_file(images, base)] = read_stat(images)
    elif images:
        above = "" if images == base else f"{name_file(images, base)}/"
        files |= {above + name: stat for name, stat in list_tree(images).items() if _is_unicode(name)}
    return {name: files[name] for name in sorted(files)}


def _find_named_files(source: Source, root: Path) -> list[Path]:
    """The files that the settings name: those with rows, split lists, corrections; an archive for its members."""
    named = [*get_format(source).find_files(source, root), *find_split_lists(source.name, source.splits, root)]
    if source.corrections is not None:
        named += find_paths(source.name, "corrections", source.corrections, root)
    return list(dict.fromkeys(split_member(path)[0] for path in named))


def _is_unicode(name: str) -> bool:
    """Bytes of a name that are not UTF-8 come as lone surrogates, which no text can hold."""
    return name.isascii() or not any("\ud800" <= character <= "\udfff" for character in name)


def describe_files(source: Source, root: Path) -> FilesSummary:
    """What the files with rows are, found again as reading finds it.

    Raises:
        SourceError: a file or folder that the settings name does not exist, or one cannot be read.
    """
    chosen = get_format(source)
    paths = chosen.find_files(source, root)
    base = find_base(paths, chosen.find_image_root(source, root))
    encodings: dict[str, Encoding] = {}
    for path in paths:
        with reading(source.name, "files", path), open_content(path) as file:
            encoding = find_encoding(file)
        if encoding is not None and encoding != "utf-8":
            encodings[name_file(path, base)] = encoding
    with reading(source.name, "files", base):
        return FilesSummary(len(paths), count_junk(paths), encodings)


def observe_source_files(
    source: Source, root: Path, known: Mapping[str, FileState], progress: Progress = silent, keep: Keep = forget
) -> dict[str, FileState]:
    """The state of every file of a source by its path relative to the source's base.

    Args:
        source: Settings of the source.
        root: Folder that relative paths in the settings start from.
        known: What was found the last time.
        progress: Is told how much of the files that moved is digested.
        keep: Is given what is known so far now and then, so that a look that is interrupted goes on where it was.

    Raises:
        SourceError: a file or folder that the settings name does not exist, or one cannot be read.
        SourceChanged: a file went away while it was being looked at.
    """
    try:
        base, files = source_base(source, root), find_source_files(source, root)
        return _digest_moved(files, base, known, progress, f"digesting {source.name}", keep)
    except FileNotFoundError as error:
        raise SourceChanged(source.name, error.filename) from error
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        raise SourceError(source.name, "files", error.filename, reason, "Check the file and its rights.") from error


def observe_files(paths: Iterable[Path], base: Path, known: Mapping[str, FileState]) -> dict[str, FileState]:
    """The state of each file by its path relative to `base`; digests of unmoved files are taken from `known`."""
    files = {path.relative_to(base).as_posix(): read_stat(path) for path in paths}
    return _digest_moved(files, base, known, silent, "digesting files", forget)


def _digest_moved(
    files: Mapping[str, FileStat],
    base: Path,
    known: Mapping[str, FileState],
    progress: Progress,
    task: str,
    keep: Keep,
) -> dict[str, FileState]:
    """`keep` is given the states that are known so far after every gigabyte, and every ten thousand files, digested."""
    states: dict[str, FileState] = {}
    moved: list[str] = []
    for name, stat in files.items():
        before = known.get(name)
        if before is None or before[:2] != stat:
            before = FileState(*stat, "")
            moved.append(name)
        states[name] = before
    total = sum(states[name].size for name in moved)
    since = _Since()
    for name in follow(moved, progress, task, total, "bytes", lambda name: states[name].size):
        states[name] = states[name]._replace(sha256=digest_file(base / name))
        since = _Since(since.num_bytes + states[name].size, since.num_files + 1)
        if since.num_bytes >= _KEPT_EVERY.num_bytes or since.num_files >= _KEPT_EVERY.num_files:
            keep({**known, **{name: state for name, state in states.items() if state.sha256}})
            since = _Since()
    return states


def digest_states(states: Mapping[str, FileState]) -> str:
    """Digest of names and contents, 32 hex digits; times do not count."""
    digest = hashlib.sha256()
    for name in sorted(states):
        digest.update(f"{len(name)}:{name}{states[name].sha256}".encode())
    return digest.hexdigest()[:32]
