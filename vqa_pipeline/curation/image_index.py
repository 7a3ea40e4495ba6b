"""The files of an image root by name, and which of them a reference means: compared as text, never looked for on disk.

A reference that names a file is found at once. Any other is read again as people's references come about, and means a
file when exactly one fits best; every step is recorded as a repair of one of these kinds:

    url_escape       `my%20cat.png` → `my cat.png`
    file_address     `file:///data/1.png` → `/data/1.png`
    drive_letter     `C:/data/1.png` → `/data/1.png`
    absolute_path    `/data/images/a/1.png` → `a/1.png`: the longest end of another machine's path that fits
    root_folder      `images/a/1.png` → `a/1.png`, where the image root is called `images`
    extension        `1` or `1.jpeg` → `1.png`
    zero_padding     `262148.jpg` or `COCO_val2014_262148.jpg` → `COCO_val2014_000000262148.jpg`
    unicode_form     composed and decomposed letters (NFC, NFD): the same text in other bytes
    letter_case      `A/1.PNG` → `a/1.png`

As only names of the index come out, nothing outside the image root ever does.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple
from urllib.parse import unquote

from vqa_pipeline.curation.paths import check_reference
from vqa_pipeline.schemas import Repair
from vqa_pipeline.sources.formats.format import MalformedRecord

_EXTENSIONS = frozenset(
    (
        *(".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".ico", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
        *(".pcx", ".pgm", ".png", ".ppm", ".qoi", ".svg", ".tga", ".tif", ".tiff", ".webp"),
    )
)
"""What counts as the extension of an image's name; any other end is a part of the name."""

_NUMBERED = re.compile(r"(.*[_-])?([0-9]+)")
_COCO_SET = re.compile(r"(?:coco|abstract_v[0-9]+)_(?:train|val|test)20[0-9]{2}_")
"""Prefix of a COCO file name, before its twelve digits; 2017 left it out (cocodataset.org, visualqa.org/download)."""

_FILE = re.compile(r"file:", re.IGNORECASE)
_DRIVE = re.compile(r"/?[A-Za-z]:")
_LISTED_NAMES = 4
_NEIGHBOURS = 2
_ALIKE_FRACTION = 0.8


class Meaning(NamedTuple):
    """The file that a reference means."""

    name: str
    """Relative to the image root, `/` between parts."""
    repairs: list[Repair]


class _Distance(NamedTuple):
    """How far a file's name is from a reference; compared from left to right."""

    extension: bool
    stem: bool
    letter_case: bool
    form: bool


class ImageIndex:
    """The names of the files below an image root."""

    def __init__(self, names: Iterable[str], root_name: str = "") -> None:
        """Take names relative to the root; `root_name` is what the root's own folder is called.

        Names whose bytes are not UTF-8 (lone surrogates, in Python) are left out: no record can hold them.
        """
        self.names = frozenset(name for name in names if name.isascii() or _is_unicode(name))
        self.root_name = root_name

    def find(self, reference: str) -> Meaning:
        """The file that a tidy reference means (`paths.check_reference`).

        Raises:
            MalformedRecord: no file fits (`image_missing`, `image_path_absolute`, `image_path_drive`), several do
                (`image_ambiguous`), or what stands behind URL escapes is refused.
        """
        if reference in self.names:
            return Meaning(reference, [])
        fits: dict[str, Meaning] = {}
        closest: _Distance | None = None
        for text, repairs in self._read(reference):
            distance, names = self._fit(text)
            if distance is None or (closest is not None and distance >= closest):
                continue  # what an earlier reading found explains more of the reference, and is as close
            closest = distance
            fits = {name: Meaning(name, [*repairs, *_list_changes(text, name)]) for name in names} | fits
        if len(fits) > 1:
            raise _tell_ambiguous(reference, sorted(fits))
        if not fits:
            raise self._tell_missing(reference)
        return next(iter(fits.values()))

    def find_name(self, reference: str) -> str | None:
        """The name of the file that a tidy reference means; None: there is no one such file."""
        try:
            return self.find(reference).name
        except MalformedRecord:
            return None

    def _read(self, reference: str) -> Iterator[tuple[str, list[Repair]]]:
        """What a reference may mean, the least changed first, with the repairs that led there."""
        yield from self._drop_front(reference, [])
        unescaped = _unescape(reference)
        if unescaped != reference:
            tidy, repairs = check_reference(unescaped)
            yield from self._drop_front(tidy, [Repair(kind="url_escape", before=reference, after=unescaped), *repairs])

    def _drop_front(self, text: str, repairs: list[Repair]) -> Iterator[tuple[str, list[Repair]]]:
        """The text as it is, then without what only another machine knows, the longest end first."""
        yield text, repairs
        anchored = text.startswith(("/", "~"))
        for kind, pattern in (("file_address", _FILE), ("drive_letter", _DRIVE)):
            after = pattern.sub("", text, count=1) if pattern.match(text) else text
            if after != text:
                repairs, text, anchored = [*repairs, Repair(kind=kind, before=text, after=after)], after, True
        parts = text.lstrip("/").split("/")
        if anchored:
            kind, ends = "absolute_path", range(max(0, len(parts) - self._depth), len(parts))
        else:
            kind, ends = "root_folder", range(1, 2 if len(parts) > 1 and parts[0] == self.root_name else 1)
        for begin in ends:
            end = "/".join(parts[begin:])
            yield end, repairs if end == text else [*repairs, Repair(kind=kind, before=text, after=end)]

    def _fit(self, text: str) -> tuple[_Distance | None, list[str]]:
        """The names closest to a reading, and how close they are; None: no name is like it."""
        if text in self.names:
            return _Distance(False, False, False, False), [text]
        near = [(_measure(text, name), name) for name in self._loose.get(_loosen(text), ()) if _is_same_set(text, name)]
        if not near:
            return None, []
        closest = min(distance for distance, _ in near)
        return closest, [name for distance, name in near if distance == closest]

    @cached_property
    def _depth(self) -> int:
        """Parts of the longest name: a longer end fits no file."""
        return max((name.count("/") + 1 for name in self.names), default=0)

    @cached_property
    def _loose(self) -> dict[str, list[str]]:
        loose: dict[str, list[str]] = {}
        for name in self.names:
            loose.setdefault(_loosen(name), []).append(name)
        return loose

    @cached_property
    def _ordered(self) -> list[str]:
        return sorted(self.names)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        """The first names of each loose stem, whatever their folders."""
        by_stem: dict[str, list[str]] = {}
        for name in self._ordered:
            alike = by_stem.setdefault(_loosen(name.rpartition("/")[2]), [])
            if len(alike) < _LISTED_NAMES:
                alike.append(name)
        return by_stem

    def _tell_missing(self, reference: str) -> MalformedRecord:
        rule, reason = "image_missing", f"there is no {reference} in the image root"
        fix = "Bring the file, or correct the reference."
        if reference.startswith(("/", "~")) or _FILE.match(reference):
            rule, reason = "image_path_absolute", f"the image reference {reference!r:.80} is absolute"
        elif _DRIVE.match(reference):
            rule, reason = "image_path_drive", f"the image reference {reference!r:.80} names a drive"
        if rule != "image_missing":
            reason += ", and no end of it names a file of the image root"
            fix = "Bring the file, or make the reference relative to the source's `image_root`."
        near = self._list_near(reference)
        return MalformedRecord(rule, reason, f"{fix} Near it: {_list_names(near)}." if near else fix)

    def _list_near(self, reference: str) -> list[str]:
        """Files of this name in other folders, else names beside it in alphabetical order that are much like it.

        Cheap, as every reference of a source may be missing.
        """
        elsewhere = self._by_stem.get(_loosen(reference.rpartition("/")[2]))
        if elsewhere:
            return elsewhere
        place = bisect_left(self._ordered, reference)
        beside = self._ordered[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS]
        return [name for name in beside if _is_much_alike(reference, name)]


def _is_much_alike(text: str, name: str) -> bool:
    """Whether what two names begin and end with alike is most of the longer one."""
    alike = _count_alike(text, name) + _count_alike(text[::-1], name[::-1])
    return alike >= _ALIKE_FRACTION * max(len(text), len(name))


def _count_alike(text: str, name: str) -> int:
    pairs = zip(text, name, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(text), len(name)))


def _tell_ambiguous(reference: str, names: list[str]) -> MalformedRecord:
    more = f" and {len(names) - _LISTED_NAMES} more" if len(names) > _LISTED_NAMES else ""
    reason = f"{reference} may mean {_list_names(names[:_LISTED_NAMES])}{more}"
    return MalformedRecord("image_ambiguous", reason, "Write the name of the one that is meant.")


def _list_names(names: list[str]) -> str:
    """Names of files for people to read; what a terminal would obey is written as an escape."""
    return ", ".join(name if name.isprintable() else repr(name) for name in names)


def _is_unicode(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _unescape(reference: str) -> str:
    """The text behind `%20` and the like; as it is where they are not UTF-8."""
    try:
        return unquote(reference, errors="strict")
    except UnicodeDecodeError:
        return reference


def fold(text: str) -> str:
    """Equal for texts that differ in case or Unicode form only (Unicode 3.13, canonical caseless matching)."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


def split_name(name: str) -> tuple[str, str, str]:
    """Folder with its slash, stem, extension with its dot; empty where there is none."""
    folder, slash, last = name.rpartition("/")
    stem, dot, extension = last.rpartition(".")
    if stem and f".{extension.lower()}" in _EXTENSIONS:
        return folder + slash, stem, dot + extension
    return folder + slash, last, ""


def _loosen(name: str) -> str:
    """Equal for names that may mean one image: without case, Unicode form, extension, leading zeros, COCO's set."""
    folder, stem, _ = split_name(fold(name))
    numbered = _NUMBERED.fullmatch(stem)
    if numbered:
        prefix = numbered[1] or ""
        stem = ("" if _COCO_SET.fullmatch(prefix) else prefix) + (numbered[2].lstrip("0") or "0")
    return folder + stem


def _is_same_set(text: str, name: str) -> bool:
    """Whether two names that are loosely alike do not name two sets of COCO, whose numbers mean other images."""
    sets = {found[0] for one in (text, name) if (found := _COCO_SET.match(split_name(fold(one))[1]))}
    return len(sets) < 2  # noqa: PLR2004 - one set, or none


def _measure(text: str, name: str) -> _Distance:
    _, stem, extension = split_name(fold(text))
    _, found_stem, found_extension = split_name(fold(name))
    differs = unicodedata.normalize("NFC", text) != unicodedata.normalize("NFC", name)
    return _Distance(extension != found_extension, stem != found_stem, differs, text != name)


def _list_changes(text: str, name: str) -> list[Repair]:
    """The repairs from a reading to the name of a file that is loosely like it."""
    if text == name:
        return []
    _, stem, extension = split_name(name)
    steps: list[tuple[str, str]] = []
    folder, old_stem, old_extension = split_name(text)
    if fold(old_extension) != fold(extension):
        old_extension = extension
        steps.append(("extension", folder + old_stem + old_extension))
    if fold(old_stem) != fold(stem):
        steps.append(("zero_padding", folder + stem + old_extension))
    steps += [("unicode_form", _take_form(steps[-1][1] if steps else text, name)), ("letter_case", name)]
    repairs = []
    for kind, after in steps:
        if after != text:
            repairs.append(Repair(kind=kind, before=text, after=after))
            text = after
    return repairs


def _take_form(text: str, name: str) -> str:
    """A text in the Unicode form of a name; the name itself where they differ in form only."""
    if unicodedata.normalize("NFC", text) == unicodedata.normalize("NFC", name):
        return name
    return unicodedata.normalize("NFC" if unicodedata.is_normalized("NFC", name) else "NFD", text)
