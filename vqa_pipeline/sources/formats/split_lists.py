"""Split lists: published files that say which images, or questions by their ids, are in which split.

They are published so that everyone reports on the same questions. Two different ones are both called "Karpathy split",
so a list is always a file that the settings name, never one that is known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pydantic import TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from vqa_pipeline.errors import SourceError
from vqa_pipeline.sources.formats.files import find_paths, open_rows, reading
from vqa_pipeline.sources.formats.format import MalformedRecord, Sample
from vqa_pipeline.sources.formats.records import hold
from vqa_pipeline.sources.image_search import has_image_suffix
from vqa_pipeline.sources.json_records import split_array, split_lines, split_object
from vqa_pipeline.sources.settings import SplitList, Splits
from vqa_pipeline.sources.split_words import find_split_word, parse_split_word

_ID_AT_END = re.compile(r"\s+\d+$")
_AMBIGUOUS = "more than one"
"""Stands for the split of a name that lists put into two."""


@with_config({"strict": True, "extra": "ignore"})
class _ListedImage(TypedDict):
    filepath: str
    filename: str
    split: str


_LISTED_IMAGE = TypeAdapter(_ListedImage)
_ENTRIES: TypeAdapter[list[str | int]] = TypeAdapter(list[str | int], config={"strict": True})


class SplitLists:
    """What the lists of a source say; a listed image fits a reference if one is the end of the other's path.

    Memory: some 400 bytes per listed image.
    """

    def __init__(self, source: str, splits: SplitList, root: Path) -> None:
        """Read the lists.

        Raises:
            SourceError: a list is missing, lists nothing, or is not of the forms that there are.
        """
        self._split_of_name: dict[str, str] = {}
        self._split_of_end: dict[str, str] = {}
        for path in find_split_lists(source, splits, root):
            with reading(source, "splits", path):
                listed = list(_read_list(source, path))
            if not listed:
                raise SourceError(source, "splits", path, "lists nothing", "Bring the list as it is published.")
            for name, split in listed:
                _note(self._split_of_name, name, split)
                for end in _list_ends(name):
                    _note(self._split_of_end, end, split)

    def find(self, image: str, native_id: int | str | None) -> str:
        """The split, in the lists' own word, of a question by its id or else its image.

        Raises:
            MalformedRecord: no list has it, or two splits have it.
        """
        split = self._find_named([str(native_id), image]) or self._split_of_end.get(image)
        split = split or self._find_named(_list_ends(image))
        if split is None:
            reason = f"{image} is in none of the source's split lists"
            raise MalformedRecord("split_unlisted", reason, "Add it to a list, or set `splits` to by_image.")
        if split == _AMBIGUOUS:
            reason = f"the source's split lists have {image} in more than one split"
            raise MalformedRecord("split_ambiguous", reason, "Leave it in one list, or name it with its folder.")
        return split

    def _find_named(self, names: Iterable[str]) -> str | None:
        return next((self._split_of_name[name] for name in names if name in self._split_of_name), None)


def _note(splits: dict[str, str], name: str, split: str) -> None:
    if splits.setdefault(name, split) != split:
        splits[name] = _AMBIGUOUS


def find_split_lists(source: str, splits: Splits, root: Path) -> list[Path]:
    """The files with split lists that a source's `splits` name; most name none.

    Raises:
        SourceError: one is not there.
    """
    return find_paths(source, "splits", splits.list, root) if isinstance(splits, SplitList) else []


def is_split_list(sample: Sample) -> bool:
    """Whether a file looks like a split list, so that whoever brings one can be told where it goes."""
    if sample.layout == "object":
        lists = [value for key, value in sample.fields.items() if parse_split_word(key) and isinstance(value, list)]
        is_of_ids = any(isinstance(entry, str | int) for entries in lists for entry in entries)
        return is_of_ids or hold(sample, "filepath", "filename", "split")
    if sample.layout != "text" or find_split_word(sample.name) is None:
        return False
    named = [line for line in sample.records if has_image_suffix(_ID_AT_END.sub("", line))]
    return 2 * len(named) > len(sample.records)


def _list_ends(name: str) -> Iterator[str]:
    """`a/b/c.jpg`, `b/c.jpg`, `c.jpg`."""
    parts = PurePosixPath(name).parts
    return ("/".join(parts[start:]) for start in range(len(parts)))


def _read_list(source: str, path: Path) -> Iterator[tuple[str, str]]:
    """Names of images or ids, each with its split."""
    with open_rows(path) as file:
        start = file.peek()
        if not start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            yield from ((name, _name_split(source, path)) for name in _read_names(file))
            return
        try:
            yield from _read_images(file) if b'"images"' in start else _read_members(file)
        except ValidationError as error:
            reason = f"is no split list ({error.errors()[0]['msg']})"
            raise SourceError(source, "splits", path, reason, "Bring the list as it is published.") from error


def _name_split(source: str, path: Path) -> str:
    split = find_split_word(path.name)
    if split is None:
        reason = "is a list of names, but its own name says no split"
        raise SourceError(source, "splits", path, reason, "Name it train, val or test.")
    return split


def _read_names(file: BinaryIO) -> Iterator[str]:
    """Karpathy's texts: an image per line, and in some of them its id after a blank."""
    for _, line in split_lines(file):
        yield _ID_AT_END.sub("", line.payload.decode())


def _read_images(file: BinaryIO) -> Iterator[tuple[str, str]]:
    """Karpathy's dataset_coco.json; `restval` is the part of val2014 that is trained on."""
    for part in split_array(file, "images"):
        image = _LISTED_IMAGE.validate_json(part.payload)
        split = "train" if image["split"] == "restval" else image["split"]
        yield f"{image['filepath']}/{image['filename']}", split


def _read_members(file: BinaryIO) -> Iterator[tuple[str, str]]:
    """ScienceQA's pid_splits.json: a list of ids per split. Lists by other names (`minival`) are parts of these."""
    for part in split_object(file):
        split = parse_split_word(str(part.key))
        if split is not None:
            yield from ((str(entry), split) for entry in _ENTRIES.validate_json(part.payload))
