"""Which versions stay, told by their manifests alone: no files, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from vqa_pipeline.schemas import Manifest


class Key(NamedTuple):
    """A version by asset and id."""

    asset: str
    version: str


def find_kept(
    manifests: Iterable[Manifest], keep: int | None, anchors: Iterable[Key], gone: frozenset[str] = frozenset()
) -> set[Key]:
    """The versions that stay: the newest `keep` of each asset, the anchors, and what these were made from.

    Args:
        manifests: Of every version in the store.
        keep: How many of each asset; None: all.
        anchors: Versions that stay however old they are; those that are not in the store are passed over.
        gone: Assets that the settings no longer name: nothing of them stays for its own sake.
    """
    newest_first = sorted(manifests, key=lambda one: (one.created_at, one.version), reverse=True)
    by_key = {Key(one.asset, one.version): one for one in newest_first}
    by_content: dict[tuple[str, str], Key] = {}
    for key, one in by_key.items():
        by_content.setdefault((one.asset, one.data_version), key)
    ranks: Counter[str] = Counter()
    waiting = [key for key in anchors if key in by_key]
    for key in by_key:
        ranks[key.asset] += 1
        if key.asset not in gone and (keep is None or ranks[key.asset] <= keep):
            waiting.append(key)
    kept: set[Key] = set()
    while waiting:
        key = waiting.pop()
        if key in kept:
            continue
        kept.add(key)
        for asset, read in by_key[key].inputs.items():
            found = Key(asset, read.version)
            same = found if found in by_key else by_content.get((asset, read.data_version))
            if same is not None:  # else it was gone before
                waiting.append(same)
    return kept
