"""What a folder or file holds: its files, the format of each, and the sources that read them.

Every format is asked about a sample of each file, and the surest wins. Looks at names and beginnings only.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from vqa_pipeline.files import is_file
from vqa_pipeline.sources.archives import ArchiveError, is_archive
from vqa_pipeline.sources.containers import is_junk, list_members, measure_file
from vqa_pipeline.sources.formats import FORMATS, Source
from vqa_pipeline.sources.formats.format import Recognition, Sample
from vqa_pipeline.sources.image_search import has_image_suffix
from vqa_pipeline.sources.samples import SampledFile, take_sample
from vqa_pipeline.sources.signatures import UnreadableFile, refuse_by_content

NO_FORMAT = "no format is known for it"

_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)

_MOST_NAMES = 300_000
_MOST_SAMPLES = 60
_MOST_MEMBERS = 16
_ALIKE = 8
"""Files of one folder and suffix that are looked into; when they agree, the others are taken to be alike."""

_NO_DATA = {".cfg", ".html", ".ini", ".ipynb", ".lock", ".log", ".md", ".py", ".rst", ".sh", ".toml", ".yaml", ".yml"}
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_LISTED_FILES = 4


class Tree(NamedTuple):
    """The names below a folder, the nearest first."""

    folder: Path
    names: tuple[str, ...]
    """Relative to the folder, `/` between parts; hidden files and folders and links to folders are left out."""
    is_whole: bool
    """False: there are more than were listed."""


def list_tree_near(folder: Path, most: int = _MOST_NAMES) -> Tree:
    """List at most so many files below a folder, level by level. What cannot be read is left out."""
    names: list[str] = []
    waiting = deque([("", folder)])
    while waiting and len(names) < most:
        prefix, parent = waiting.popleft()
        for entry in _scan(parent):
            if entry.name.startswith((".", "__MACOSX")):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append((f"{prefix}{entry.name}/", Path(entry.path)))
            elif is_file(entry):
                names.append(prefix + entry.name)
    return Tree(folder, tuple(names[:most]), not waiting and len(names) <= most)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


class Recognized(NamedTuple):
    """A file, and the format that is surest of it."""

    file: SampledFile
    format: str | None
    """None: no format knows it."""
    recognition: Recognition
    reason: str = NO_FORMAT
    """Why it is part of no source, if it is none."""
    alike: tuple[str, ...] = ()
    """Names of files beside it that were not looked into, as all that were are like this one."""


class Draft:
    """Files of one format that belong together, and the settings that read them."""

    def __init__(self, format_name: str) -> None:
        self.format = format_name
        self.certainty = 1.0
        self.claims: dict[str, Mapping[str, Any]] = {}
        """By the setting that names files, what the format said of them beside it."""
        self.places: dict[str, list[str]] = {}
        """By the setting that names files, their names below the folder inspected."""
        self.sampled: dict[str, SampledFile] = {}
        """By name, the files that were looked into."""

    def fits(self, kind: str, settings: Mapping[str, Any]) -> bool:
        """Whether a file is another of the same kind, or the other half of this source."""
        if kind in self.claims:
            return settings == self.claims[kind] and self.places[kind][0] in self.sampled  # else a folder, of which one
        return all(settings.get(key, value) == value for claim in self.claims.values() for key, value in claim.items())

    def add(self, kind: str, one: Recognized) -> None:
        """Take a file in, and those alike."""
        place = one.recognition.settings[kind]
        self.claims[kind] = {key: value for key, value in one.recognition.settings.items() if key != kind}
        self.places.setdefault(kind, []).extend([place, *one.alike])
        self.sampled[one.file.sample.name] = one.file
        self.certainty = min(self.certainty, one.recognition.certainty)

    def estimate_records(self, path: Path) -> float | None:
        """Records in a file: its own estimate, or as many by its size as those that were looked into have; or None."""
        estimates = {file.path: file.estimate_records() for file in self.sampled.values()}
        if path in estimates:
            return estimates[path]
        known = {path: estimate for path, estimate in estimates.items() if estimate is not None}
        size = sum(map(measure_file, known))
        return sum(known.values()) * measure_file(path) / size if size else None

    def name(self) -> str:
        """A name for the source, after what tells its files from others."""
        subtypes = [claim["data_subtype"] for claim in self.claims.values() if "data_subtype" in claim]
        first = next(iter(self.places.values()))[0]
        return to_name(subtypes[0] if subtypes else first.partition(".")[0])

    def build_settings(self, name: str, tree: Tree, place: Callable[[str], str]) -> dict[str, Any]:
        """The source as it stands in a declaration.

        Args:
            name: The source's.
            tree: The folder inspected.
            place: A path below that folder, as the declaration should write it.
        """
        paths = {kind: _name_paths(places, tree, place) for kind, places in self.places.items()}
        merged = {key: value for claim in self.claims.values() for key, value in claim.items()}
        return {"name": name, "format": self.format, **paths, **merged}


def _name_paths(places: Sequence[str], tree: Tree, place: Callable[[str], str]) -> str | list[str]:
    """One path, a list, or, where they are all files of a folder that end alike, their glob."""
    ordered = sorted(set(places))
    if len(ordered) == 1:
        return place(ordered[0])
    first = PurePosixPath(ordered[0])
    glob = f"{first.parent}/*{first.suffix}"
    matching = [
        name for name in tree.names if PurePosixPath(name).match(glob) and name.count("/") == str(first).count("/")
    ]
    return place(glob) if len(ordered) > _LISTED_FILES and matching == ordered else [place(name) for name in ordered]


def to_name(text: str) -> str:
    """A text as a source's or pipeline's name: lower-case letters, digits and underscores, a letter first."""
    name = _NOT_IN_NAMES.sub("_", text.lower()).strip("_")
    return name if name[:1].isalpha() else f"source_{name}".rstrip("_")


def recognize(sample: Sample) -> list[tuple[str, Recognition]]:
    """The formats that claim a file, the surest first."""
    claims = [(name, found) for name, known in FORMATS.items() if (found := known.recognize(sample)) is not None]
    return sorted(claims, key=lambda claim: (-claim[1].certainty, claim[0]))


def recognize_files(tree: Tree) -> tuple[list[Recognized], list[str]]:
    """What the files below a folder are, images and programs left out, and the names of those not looked into.

    Of many files with one suffix in one folder the first are looked into; the others are alike if those all are. An
    archive that no format takes as it is stands for its members with rows.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name in tree.names:
        if has_image_suffix(name) or is_junk(name):
            continue
        path = PurePosixPath(name)
        if path.suffix.lower() not in _NO_DATA:
            groups.setdefault((str(path.parent), path.suffix.lower()), []).append(name)
    found: list[Recognized] = []
    passed_over: list[str] = []
    for names in groups.values():
        looked, rest = _recognize_group(tree.folder, names, _MOST_SAMPLES - len(found))
        found += looked
        passed_over += rest
    return found, passed_over


def _recognize_group(folder: Path, names: Sequence[str], most: int) -> tuple[list[Recognized], Sequence[str]]:
    """What files of one kind are, and the names of those beyond `most` that cannot be taken to be alike."""
    looked = [one for name in names[: min(_ALIKE, max(0, most))] for one in _recognize_file(folder, name)]
    rest = names[_ALIKE:] if looked else names
    are_files = [one.file.sample.name for one in looked] == list(names[:_ALIKE])
    if rest and are_files and len(set(map(_tell, looked))) == 1:
        return [*looked[:-1], looked[-1]._replace(alike=tuple(rest))], ()
    more = max(0, most - len(looked)) if looked else 0
    looked += [one for name in rest[:more] for one in _recognize_file(folder, name)]
    return looked, rest[more:]


def _recognize_file(folder: Path, name: str) -> list[Recognized]:
    """What a file is, or the members of an archive are."""
    file = take_sample(folder / name, name)
    claims = recognize(file.sample)
    if claims:
        return [Recognized(file, *claims[0])]
    unknown = Recognized(file, None, Recognition(0, {}))
    try:
        if file.sample.layout != "archive":
            refuse_by_content(file.sample.start)
        if not is_archive(file.path):  # one compressed as a whole is not gone through
            return [unknown]
        members = [f"{folder / member}" for member in list_members(file.path) or ()]
        names = [name + member.removeprefix(str(file.path)) for member in members]
        return _recognize_group(folder, names, _MOST_MEMBERS)[0] or [unknown]
    except (ArchiveError, UnreadableFile) as error:
        return [unknown._replace(reason=str(error))]


def _tell(one: Recognized) -> str:
    """What was recognised, without the file's name: equal for files that are alike."""
    settings = {
        key: None if value == one.file.sample.name else value for key, value in one.recognition.settings.items()
    }
    return repr((one.format, settings))


def draft_sources(found: Sequence[Recognized]) -> list[Draft]:
    """The sources that recognised files make together: equal settings, or halves that do not contradict each other."""
    drafts: list[Draft] = []
    for one in found:
        if one.format is None:
            continue
        kind = next(iter(one.recognition.settings))
        rest = {key: value for key, value in one.recognition.settings.items() if key != kind}
        draft = next((draft for draft in drafts if draft.format == one.format and draft.fits(kind, rest)), None)
        if draft is None:
            draft = Draft(one.format)
            drafts.append(draft)
        draft.add(kind, one)
    return drafts


def validate_settings(settings: Mapping[str, Any]) -> Source:
    """A drafted source's settings.

    Raises:
        ValidationError: something is missing, such as the other half of a source in two files.
    """
    return _SOURCE.validate_python(settings)
