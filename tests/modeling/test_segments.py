from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from full_disk import files_of_at_most

from vqa_pipeline.errors import DiskError
from vqa_pipeline.modeling.segments import KEPT_FREE_FRACTION, SegmentWriter, measure_room, read_segments

ONE, TWO, THREE = (f"{number:064x}" for number in (1, 2, 2**256 - 256))
"""Digests; the last ends with a zero byte, the first begins with them."""


def bytes_of(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


def test_what_is_appended_is_there_for_others_at_once(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path, "k") as segment:
        segment.append([(ONE, bytes_of(3, 2)), (TWO, bytes_of(5))])
        assert [(stored.sha256, stored.data.tolist()) for stored in read_segments(tmp_path)] == [
            (ONE, [0, 1, 2, 3, 4, 5]),
            (TWO, [0, 1, 2, 3, 4]),
        ]
        segment.append([(THREE, bytes_of(1))])
        assert [stored.sha256 for stored in read_segments(tmp_path)] == [ONE, TWO, THREE]


def test_data_are_intact_under_their_own_key_only(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path, "k") as segment:
        segment.append([(ONE, bytes_of(4))])
    [stored] = read_segments(tmp_path)
    assert stored.is_intact("k")
    assert not stored.is_intact("other")
    assert not stored._replace(sha256=TWO).is_intact("k")
    assert not stored._replace(data=bytes_of(3)).is_intact("k")


def test_several_write_to_one_folder(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path, "k") as first, SegmentWriter(tmp_path, "k") as second:
        first.append([(ONE, bytes_of(1))])
        second.append([(TWO, bytes_of(2))])
        first.append([(THREE, bytes_of(3))])
    assert sorted((stored.sha256, len(stored.data)) for stored in read_segments(tmp_path)) == [
        (ONE, 1),
        (TWO, 2),
        (THREE, 3),
    ]


def test_an_unfinished_segment_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path, "k") as segment:
        segment.append([(ONE, bytes_of(40)), (TWO, bytes_of(40))])
    [data] = tmp_path.glob("*.data")
    data.write_bytes(data.read_bytes()[:50])
    assert [stored.sha256 for stored in read_segments(tmp_path)] == [ONE]
    segment.index.write_bytes(segment.index.read_bytes()[:20])
    assert list(read_segments(tmp_path)) == []


def test_a_segment_of_nothing_leaves_no_files(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path, "k"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_segment_that_finds_no_room_goes(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path, "k") as segment, files_of_at_most(1000):
        segment.append([(ONE, bytes_of(900))])
        with pytest.raises(DiskError):
            segment.append([(TWO, bytes_of(900))])
    assert list(tmp_path.iterdir()) == []


def test_a_tenth_of_the_disk_is_left_to_others(tmp_path: Path) -> None:
    usage = shutil.disk_usage(tmp_path)
    expected = max(0, usage.free - KEPT_FREE_FRACTION * usage.total)
    assert measure_room(tmp_path) == pytest.approx(expected, abs=0.05 * usage.total)
