"""Near-duplicate images: pairs with close difference hashes and the same colours, and the groups that they form.

A hash of brightness alone takes every coloured shape on plain ground for the same picture, so a pair counts only when
the mean colours of an 8 x 8 grid agree too. Plain images have no hash to compare and are told apart by their bytes.
Pure arithmetic over arrays: no file, no image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vqa_pipeline.schemas import NEAR_DUPLICATES

COLOUR_TOLERANCE = 6
"""By how much two images' mean colours may differ in any cell, of 255.

Saving 25 generated photographs anew (JPEG from quality 30, WebP, a third of the size) changed no cell by more than 2.
Of easy-VQA's 4,000 drawn pictures, all different, 221,429 pairs have hashes at most 3 bits apart; the two most alike
differ by 9 in some cell. Price: a JPEG of quality 75 of a small drawn picture with hard edges is missed half the time.
"""

_NEIGHBOURS = 4_096
"""With how many others of a band an image is compared, lest many that look alike take time by their square."""

_PAIRS_AT_ONCE = 1 << 15

Indices = NDArray[np.int64]


class Pairs(NamedTuple):
    """Pairs of near-duplicates, in the order of `first` and `second`."""

    first: Indices
    second: Indices
    """Of the same pair; larger than `first`."""
    distance: NDArray[np.uint8]
    """Bits in which the two hashes differ."""
    num_not_compared: int
    """Pairs that share a band and were not compared, because too many images do; 0: the pairs are complete."""


NO_PAIRS = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8), 0)


def find_pairs(hashes: NDArray[np.int64], colours: NDArray[np.uint8], max_distance: int) -> Pairs:
    """All pairs of images whose hashes differ in at most `max_distance` bits and whose colours agree.

    The bits are dealt to `max_distance` + 1 bands: two hashes that differ in no more bits than that agree in a whole
    band, so comparing the images that share one finds every pair.

    Args:
        hashes: 64-bit difference hashes; 0, of an image that gets nowhere brighter to the right, is near to none.
        colours: One row per image: mean colours of its parts, 0 to 255.
        max_distance: 0 to `settings.MAX_NEAR_DUPLICATE_DISTANCE`.
    """
    bits = hashes.view(np.uint64)
    order = np.argsort(bits, kind="stable")  # so that in a band the likeliest neighbours are the nearest
    order = order[bits[order] != 0]
    ordered = bits[order]
    found: list[tuple[Indices, Indices]] = []
    num_not_compared = 0
    bands = _deal_bits(ordered, max_distance + 1)
    for number, band in enumerate(bands):
        inside = np.argsort(band, kind="stable")
        ends = _find_ends(band[inside])
        num_not_compared += _count_not_compared(ends)
        for left, right in _find_close(ordered[inside], ends, max_distance):
            one, other = inside[left], inside[right]
            fresh = np.ones(len(one), dtype=bool)
            for earlier in bands[:number]:  # what shares an earlier band was found there
                fresh &= earlier[one] != earlier[other]
            one, other = order[one[fresh]], order[other[fresh]]
            alike = _agree(colours, one, other)
            found.append((np.minimum(one, other)[alike], np.maximum(one, other)[alike]))
    first, second = (np.concatenate(parts) for parts in zip(NO_PAIRS[:2], *found, strict=True))
    sorting = np.lexsort((second, first))
    first, second = first[sorting], second[sorting]
    return Pairs(first, second, np.bitwise_count(bits[first] ^ bits[second]), num_not_compared)


def _deal_bits(hashes: NDArray[np.uint64], num_bands: int) -> list[NDArray[np.unsignedinteger]]:
    """Every `num_bands`-th bit of each hash as a number: each band sees all parts of the images."""
    bits = np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1)
    bands = []
    for number in range(num_bands):
        packed = np.packbits(bits[:, number::num_bands], axis=1)
        width = next(width for width in (1, 2, 4, 8) if width >= packed.shape[1])  # few bits are sorted faster
        whole = np.zeros((len(hashes), width), np.uint8)
        whole[:, : packed.shape[1]] = packed
        bands.append(whole.view(f"u{width}").ravel())
    return bands


def _find_ends(band: NDArray[np.unsignedinteger]) -> Indices:
    """For each place in a sorted band, where its run of equal values ends."""
    ends = np.append(np.flatnonzero(band[1:] != band[:-1]) + 1, len(band))
    return np.repeat(ends, np.diff(ends, prepend=0))


def _count_not_compared(ends: Indices) -> int:
    _, sizes = np.unique(ends, return_counts=True)
    beyond = np.maximum(sizes - _NEIGHBOURS, 0).astype(object)  # Python's integers: the squares are large
    return int((beyond * (beyond - 1) // 2).sum())


def _find_close(hashes: NDArray[np.uint64], ends: Indices, max_distance: int) -> Iterator[tuple[Indices, Indices]]:
    """Places in the same run whose hashes are close: each place with its k-th successor, k by k."""
    places = np.arange(len(hashes))
    for step in range(1, _NEIGHBOURS + 1):
        places = places[places + step < ends[places]]
        if not len(places):
            return
        close = places[np.bitwise_count(hashes[places] ^ hashes[places + step]) <= max_distance]
        if len(close):
            yield close, close + step


def _agree(colours: NDArray[np.uint8], one: Indices, other: Indices) -> NDArray[np.bool_]:
    agree = np.empty(len(one), dtype=bool)
    for begin in range(0, len(one), _PAIRS_AT_ONCE):
        part = slice(begin, begin + _PAIRS_AT_ONCE)
        left, right = colours[one[part]], colours[other[part]]
        agree[part] = (np.maximum(left, right) - np.minimum(left, right)).max(axis=1) <= COLOUR_TOLERANCE
    return agree


def find_groups(num_images: int, pairs: Pairs) -> Indices:
    """The group of each image, named by its smallest member: images that pairs connect, however long the chain."""
    groups = np.arange(num_images)
    while True:
        one, other = groups[pairs.first], groups[pairs.second]
        apart = one != other
        if not apart.any():
            return groups
        np.minimum.at(groups, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while (groups != groups[groups]).any():
            groups = groups[groups]


def name_groups(images: Sequence[str], pairs: Pairs) -> dict[str, str]:
    """Image → the name of its group, of those that are in one; a group is called by its first image."""
    groups = find_groups(len(images), pairs)
    members = np.union1d(pairs.first, pairs.second)
    return {images[member]: images[groups[member]] for member in members.tolist()}


def tabulate_pairs(images: Sequence[str], pairs: Pairs) -> pa.Table:
    """Pairs as `schemas.NEAR_DUPLICATES`."""
    named = [pa.array([images[place] for place in side.tolist()], pa.string()) for side in (pairs.first, pairs.second)]
    return pa.Table.from_arrays([*named, pa.array(pairs.distance, pa.uint8())], schema=NEAR_DUPLICATES)
