"""Images are known by their colour: number 3 is (30, 0, 255)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from full_disk import files_of_at_most
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from modeling_world import Events, png, write_pack
from PIL import Image

from vqa_pipeline.errors import TrainingError
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.pixel_cache import PixelCache
from vqa_pipeline.modeling.pixels import PixelRules

RULES = PixelRules(16, 8, Image.Resampling.BICUBIC, 1 / 255, (0.0,) * 3, (1.0,) * 3)
IMAGES = [png((10 * number, 0, 255), 16, 16) for number in range(5)] + [png((50, 0, 255), 64, 40)]
NUM_BYTES = 3 * 16 * 16 * 5 + 3 * 16 * 24


class Packs(ImagePacks):
    """Remembers which images were read, so decoded."""

    def __init__(self, packs: list[Path], shas: list[str]) -> None:
        super().__init__(packs, shas)
        self.shas, self.read_shas = shas, []

    def read(self, shas: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for sha256, data in super().read(shas):
            self.read_shas.append(sha256)
            yield sha256, data


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    path = tmp_path_factory.mktemp("packs") / "0.parquet"
    return path, write_pack(path, IMAGES, row_group_size=2)


@pytest.fixture
def packs(pack: tuple[Path, list[str]]) -> Packs:
    return Packs([pack[0]], pack[1])


def make_cache(folder: Path, packs: Packs, rules: PixelRules = RULES, **options) -> PixelCache:
    """A cache that is filled, as far as it can be."""
    cache = PixelCache(folder, packs, packs.shas, rules, threads=2)
    cache.fill(**options)
    return cache


def assert_right(cache: PixelCache) -> None:
    for number, (height, width) in enumerate(cache.sizes):
        expected = np.broadcast_to(np.array([10 * number, 0, 255], np.uint8)[:, None, None], (3, height, width))
        np.testing.assert_array_equal(cache.read([number])[0], expected)


def messages(events: Events) -> list[str]:
    return [event["message"] for event in events.named("log")]


def test_images_come_in_the_order_asked(tmp_path: Path, packs: Packs) -> None:
    got = make_cache(tmp_path, packs).read([3, 0, 3])
    assert got.shape == (3, 3, 16, 16)
    assert got.dtype == np.uint8
    assert got[:, :, 0, 0].tolist() == [[30, 0, 255], [0, 0, 255], [30, 0, 255]]


def test_images_are_written_where_the_caller_wants_them(tmp_path: Path, packs: Packs) -> None:
    place = np.zeros((2, 3, 16, 16), np.uint8)
    assert make_cache(tmp_path, packs).read([4, 1], place) is place
    assert place[:, 0, 5, 5].tolist() == [40, 10]


def test_sizes_are_those_after_resizing(tmp_path: Path, packs: Packs) -> None:
    cache = PixelCache(tmp_path, packs, packs.shas, RULES)
    assert cache.sizes == [(16, 16)] * 5 + [(16, 24)]
    assert cache.number(packs.shas[2]) == 2


def test_every_image_is_decoded_once_for_all_who_want_it(tmp_path: Path, packs: Packs) -> None:
    some = PixelCache(tmp_path, packs, packs.shas[:2], RULES)
    some.fill()
    assert sorted(packs.read_shas) == sorted(packs.shas[:2])
    everything = make_cache(tmp_path, packs)
    assert sorted(packs.read_shas) == sorted(packs.shas)
    assert_right(everything)
    again = make_cache(tmp_path, packs, RULES._replace(mean=(0.5,) * 3, std=(0.1,) * 3))
    assert_right(again)
    assert sorted(packs.read_shas) == sorted(packs.shas)
    assert again.is_complete


def test_who_resizes_otherwise_gets_other_pixels(tmp_path: Path, packs: Packs) -> None:
    make_cache(tmp_path, packs)
    other = make_cache(tmp_path, packs, RULES._replace(shortest_edge=8))
    assert other.sizes == [(8, 8)] * 5 + [(8, 8)]
    assert_right(other)


def test_two_that_fill_it_at_once_do_not_harm_each_other(tmp_path: Path, packs: Packs) -> None:
    second = PixelCache(tmp_path, packs, packs.shas, RULES)

    def fill_second_in_between() -> bool:
        if not second.is_complete:
            second.fill()
        return False

    first = make_cache(tmp_path, packs, should_stop=fill_second_in_between)
    third = make_cache(tmp_path, packs)
    for cache in (first, second, third):
        assert cache.is_complete
        assert_right(cache)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_torn_or_damaged_is_never_used(tmp_path_factory, packs: Packs, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("cache")
    make_cache(folder, packs)
    file = data.draw(st.sampled_from(sorted(path for path in folder.rglob("*") if path.is_file())))
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    cache = make_cache(folder, packs)
    assert cache.is_complete
    assert_right(cache)
    shutil.rmtree(folder)


def test_damaged_images_are_told_and_decoded_again_once(tmp_path: Path, packs: Packs) -> None:
    make_cache(tmp_path, packs)
    [file] = tmp_path.rglob("*.data")
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    packs.read_shas.clear()
    first, second = Events(), Events()
    make_cache(tmp_path, packs, report=first)
    assert messages(first) == ["1 cached images are damaged and are decoded again."]
    assert len(packs.read_shas) == 1
    assert_right(make_cache(tmp_path, packs, report=second))
    assert messages(second) == []
    assert len(packs.read_shas) == 1


def test_pixels_of_other_rules_are_not_used_wherever_they_lie(tmp_path: Path, packs: Packs) -> None:
    nearest = RULES._replace(resample=Image.Resampling.NEAREST)
    make_cache(tmp_path, packs, nearest)
    (tmp_path / nearest.key).rename(tmp_path / RULES.key)
    packs.read_shas.clear()
    assert make_cache(tmp_path, packs).is_complete
    assert len(packs.read_shas) == len(IMAGES)


def test_without_room_images_are_decoded_for_every_batch_to_the_same_bytes(tmp_path: Path, packs: Packs) -> None:
    events = Events()
    cache = make_cache(tmp_path, packs, report=events, room_bytes=NUM_BYTES - 1)
    assert cache.num_cached == 5
    assert not cache.is_complete
    assert_right(cache)
    assert messages(events) == [
        f"{tmp_path / RULES.key} has no room for the pixels of 1 images. They are decoded for every batch, which is slow."
    ]
    assert make_cache(tmp_path, packs, room_bytes=NUM_BYTES).is_complete


def test_a_disk_that_fills_up_is_told_and_left_as_it_was(tmp_path: Path, packs: Packs) -> None:
    events = Events()
    with files_of_at_most(1000):
        cache = make_cache(tmp_path, packs, report=events)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert cache.num_cached == 0
    assert_right(cache)
    [message] = messages(events)
    assert message.startswith("The pixels of 6 images are not kept: ")
    assert "File too large" in message


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, packs: Packs) -> None:
    (tmp_path / "in-the-way").touch()
    events = Events()
    cache = make_cache(tmp_path / "in-the-way", packs, report=events)
    assert_right(cache)
    assert "in-the-way" in messages(events)[0]


def test_who_uses_it_is_not_harmed_when_it_is_deleted(tmp_path: Path, packs: Packs) -> None:
    cache = make_cache(tmp_path, packs)
    shutil.rmtree(tmp_path / RULES.key)
    packs.read_shas.clear()
    assert_right(cache)
    assert packs.read_shas == []


def test_filling_stops_when_asked(tmp_path: Path, packs: Packs) -> None:
    cache = make_cache(tmp_path, packs, should_stop=lambda: True)
    assert packs.read_shas == []
    assert cache.read([2])[0, :, 0, 0].tolist() == [20, 0, 255]


def test_progress_is_told(tmp_path: Path, packs: Packs) -> None:
    first, second = Events(), Events()
    make_cache(tmp_path, packs, report=first)
    make_cache(tmp_path, packs, report=second)
    told = {"event": "progress", "done": 6, "total": 6, "unit": "images"}
    assert first.all == [{**told, "task": "decoding images"}]
    assert second.all == [{**told, "task": "checking cached images"}]


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    shas = write_pack(tmp_path / "0.parquet", IMAGES[:1])
    cache = PixelCache(tmp_path, BrokenPacks([tmp_path / "0.parquet"], shas), shas, RULES)
    with pytest.raises(TrainingError, match=shas[0]):
        cache.fill()


class BrokenPacks(ImagePacks):
    """Images whose ends are gone."""

    def read(self, shas: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        return ((sha256, data[:40]) for sha256, data in super().read(shas))
