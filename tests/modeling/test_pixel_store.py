from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from modeling_world import png, write_pack
from PIL import Image

from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.pixel_store import PixelStore
from vqa_pipeline.modeling.pixels import PixelRules

RULES = PixelRules(16, 8, Image.Resampling.BICUBIC, 1 / 255, (0.0,) * 3, (1.0,) * 3)
IMAGES = [png((10 * number, 0, 255), 16, 16) for number in range(5)] + [png((1, 2, 3), 64, 40)]


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImagePacks, list[str]]:
    path: Path = tmp_path_factory.mktemp("packs") / "0.parquet"
    shas = write_pack(path, IMAGES, row_group_size=2)
    return ImagePacks([path], shas), shas


def test_images_come_in_the_order_asked(packs: tuple[ImagePacks, list[str]]) -> None:
    store = PixelStore(*packs, RULES)
    store.fill()
    got = store.get([3, 0, 3])
    assert got.shape == (3, 3, 16, 16)
    assert got.dtype == np.uint8
    assert got[:, :, 0, 0].tolist() == [[30, 0, 255], [0, 0, 255], [30, 0, 255]]


def test_sizes_are_those_after_resizing(packs: tuple[ImagePacks, list[str]]) -> None:
    store = PixelStore(*packs, RULES)
    assert store.sizes == [(16, 16)] * 5 + [(16, 24)]
    assert store.get([5]).shape == (1, 3, 16, 24)


def test_what_does_not_fit_is_decoded_again_to_the_same_bytes(packs: tuple[ImagePacks, list[str]]) -> None:
    needed = 3 * 16 * 16 * 5 + 3 * 16 * 24
    fits, too_large = (PixelStore(*packs, RULES, threads=2, in_memory_bytes=limit) for limit in (needed, needed - 1))
    assert (fits.keeps_all, too_large.keeps_all) == (True, False)
    for store in (fits, too_large):
        store.fill()
    assert np.array_equal(fits.get([4, 1]), too_large.get([4, 1]))


def test_numbers_are_by_digest(packs: tuple[ImagePacks, list[str]]) -> None:
    assert PixelStore(*packs, RULES).number(packs[1][2]) == 2


def test_filling_stops_when_asked(packs: tuple[ImagePacks, list[str]]) -> None:
    store = PixelStore(*packs, RULES)
    store.fill(lambda: True)
    assert store.get([2])[0, :, 0, 0].tolist() == [20, 0, 255]
