"""Near-duplicates: every pair that comparing all with all finds, no other, and groups that pairs connect."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_pipeline.curation import near_duplicates
from vqa_pipeline.curation.near_duplicates import (
    COLOUR_TOLERANCE,
    NO_PAIRS,
    find_groups,
    find_pairs,
    name_groups,
    tabulate_pairs,
)
from vqa_pipeline.curation.settings import MAX_NEAR_DUPLICATE_DISTANCE
from vqa_pipeline.schemas import NEAR_DUPLICATES

Pair = tuple[int, int, int]


def search(hashes: list[int], max_distance: int = 3, colours: list[list[int]] | None = None) -> list[Pair]:
    """Pairs as (first, second, distance); hashes as signed or unsigned integers; images of one colour by default."""
    signed = np.array([value % 2**64 for value in hashes], np.uint64).view(np.int64)
    grid = np.array(colours, np.uint8) if colours else np.zeros((len(hashes), 6), np.uint8)
    pairs = find_pairs(signed, grid, max_distance)
    assert pairs.num_not_compared == 0
    return list(zip(*(side.tolist() for side in pairs[:3]), strict=True))


def compare_all(hashes: list[int], max_distance: int) -> list[Pair]:
    return [
        (one, other, (hashes[one] ^ hashes[other]).bit_count())
        for one, other in combinations(range(len(hashes)), 2)
        if hashes[one] and hashes[other] and (hashes[one] ^ hashes[other]).bit_count() <= max_distance
    ]


HASH = st.integers(0, 2**64 - 1)
FLIPS = st.sets(st.integers(0, 63), max_size=9)


@st.composite
def hashes_of_relatives(draw: st.DrawFn) -> list[int]:
    """Hashes that often are a few bits from one another."""
    roots = draw(st.lists(HASH, min_size=1, max_size=4))
    return [
        draw(st.sampled_from(roots)) ^ sum(1 << bit for bit in draw(FLIPS)) for _ in range(draw(st.integers(0, 14)))
    ]


@settings(max_examples=150, deadline=None)
@given(hashes_of_relatives(), st.integers(0, MAX_NEAR_DUPLICATE_DISTANCE))
def test_banding_finds_every_pair_that_comparing_all_with_all_finds(hashes, max_distance):
    assert search(hashes, max_distance) == compare_all(hashes, max_distance)


@pytest.mark.parametrize("max_distance", range(MAX_NEAR_DUPLICATE_DISTANCE + 1))
def test_a_pair_at_the_distance_is_found_wherever_its_bits_differ_and_one_beyond_is_not(max_distance):
    rng = np.random.default_rng(max_distance)
    for _ in range(40):
        bits = [1 << int(bit) for bit in rng.permutation(64)[: max_distance + 1]]
        base = 0x9E3779B97F4A7C15
        assert search([base, base ^ sum(bits[:-1])], max_distance) == [(0, 1, max_distance)]
        assert search([base, base ^ sum(bits)], max_distance) == []


def test_an_image_without_structure_is_near_to_none():
    assert search([0, 0, 1, 3]) == [(2, 3, 1)]


def test_the_sign_bit_is_a_bit_like_any_other():
    assert search([-1, 2**63 - 1, -(2**63) + 8, 8]) == [(0, 1, 1), (2, 3, 1)]


def test_no_images_have_no_pairs():
    assert search([]) == []
    assert search([5]) == []


def test_images_of_other_colours_are_other_images_however_their_hashes_agree():
    grey, red = [100, 100, 100] * 2, [100, 100, 100, 180, 40, 40]
    brighter = [100 + COLOUR_TOLERANCE] * 6
    too_bright = [100, 100, 100, 100, 100, 100 - COLOUR_TOLERANCE - 1]
    assert search([7, 7, 7, 7], 3, [grey, red, brighter, too_bright]) == [(0, 2, 0)]


def test_pairs_beyond_the_cap_are_counted_and_all_others_are_found(monkeypatch):
    monkeypatch.setattr(near_duplicates, "_NEIGHBOURS", 4)
    hashes = np.array([12] * 7 + [2**40 + 2**41 + 2**42 + 2**43, 77], np.int64)
    pairs = find_pairs(hashes, np.zeros((9, 3), np.uint8), 0)
    assert len(pairs.distance) == 6 + 5 + 4 + 3
    assert pairs.num_not_compared == 2 + 1


def test_groups_are_what_pairs_connect_named_by_the_first():
    pairs = NO_PAIRS._replace(
        first=np.array([1, 2, 4]), second=np.array([5, 5, 6]), distance=np.array([1, 2, 3], np.uint8)
    )
    assert find_groups(7, pairs).tolist() == [0, 1, 1, 3, 4, 1, 4]
    assert name_groups(list("abcdefg"), pairs) == {"b": "b", "c": "b", "f": "b", "e": "e", "g": "e"}
    table = tabulate_pairs(list("abcdefg"), pairs)
    assert table.schema.equals(NEAR_DUPLICATES)
    assert [tuple(row.values()) for row in table.to_pylist()] == [("b", "f", 1), ("c", "f", 2), ("e", "g", 3)]
    assert name_groups(list("abc"), NO_PAIRS) == {}


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.data())
def test_groups_are_the_connected_parts_however_long_the_chains(num_images, data):
    image = st.integers(0, num_images - 1)
    edges = data.draw(st.lists(st.tuples(image, image), max_size=40))
    first, second = np.array([[min(e), max(e)] for e in edges], np.int64).reshape(-1, 2).T
    groups = find_groups(num_images, NO_PAIRS._replace(first=first, second=second)).tolist()
    expected = list(range(num_images))
    for _ in range(num_images):
        for one, other in edges:
            expected[one] = expected[other] = min(expected[one], expected[other])
    assert groups == expected
