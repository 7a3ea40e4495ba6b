"""Where a source's images lie, found by the names that its records give them. Looks at names only, opens nothing."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

_SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def has_image_suffix(name: str) -> bool:
    """Whether a name is that of an image file, by its suffix alone."""
    return name[name.rfind(".") :].lower() in _SUFFIXES


def find_image_root(references: Sequence[str], names: Iterable[str], least: int = 1) -> str | None:
    r"""The folder below which most references name a file; None when not even `least` do.

    A reference and a file fit by their last parts, whatever their case and suffix: `C:\scans\ct\1.PNG` fits
    `images/ct/1.png`, and speaks for the root `images`. Equal votes go to the folder nearest to the top.

    Args:
        references: Image references as the source gives them.
        names: Files, relative to one folder, `/` between parts; the root is relative to it, `.` for itself.
        least: How many references must fit.
    """
    wanted: dict[str, list[list[str]]] = {}
    for reference in references:
        parts = _split(reference)
        if parts:
            wanted.setdefault(parts[-1], []).append(parts)
    votes: Counter[str] = Counter()
    for name in names:
        for asked in wanted.get(_normalize(_take_stem(name.rpartition("/")[2])), ()):
            parts = _split(name)
            shared = _count_shared(asked, parts)
            votes["/".join(name.split("/")[: len(parts) - shared]) or "."] += 1
    enough = [root for root, count in votes.items() if count >= least]
    return min(enough, key=lambda root: (-votes[root], root.count("/"), root), default=None)


def _split(path: str) -> list[str]:
    """The parts of a path, comparable: case and form of letters do not count, nor the last one's suffix."""
    parts = [part for part in _normalize(path.replace("\\", "/")).split("/") if part not in {"", "."}]
    return [*parts[:-1], _take_stem(parts[-1])] if parts else []


def _normalize(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


def _take_stem(name: str) -> str:
    """A file's name without its suffix."""
    place = name.rfind(".")
    return name[:place] if place > 0 else name


def _count_shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many of the last parts are equal."""
    count = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right:
            break
        count += 1
    return count
