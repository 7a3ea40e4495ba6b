from __future__ import annotations

from pathlib import Path

import pytest
from modeling_world import png, write_pack

from vqa_pipeline.errors import TrainingError
from vqa_pipeline.modeling.image_packs import ImagePacks, decode_packed

IMAGES = [png((number, 0, 0), width=10 + number) for number in range(10)]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[str]]:
    folder = tmp_path_factory.mktemp("packs")
    paths = [folder / "0.parquet", folder / "1.parquet"]
    return paths, write_pack(paths[0], IMAGES[:6]) + write_pack(paths[1], IMAGES[6:])


def test_bytes_are_found_by_digest_in_any_pack(packed: tuple[list[Path], list[str]]) -> None:
    paths, shas = packed
    packs = ImagePacks(paths, shas)
    assert dict(packs.read(shas)) == dict(zip(shas, IMAGES, strict=True))


def test_an_image_asked_twice_is_read_once(packed: tuple[list[Path], list[str]]) -> None:
    paths, shas = packed
    assert list(ImagePacks(paths, shas).read([shas[3], shas[3]])) == [(shas[3], IMAGES[3])]


def test_sizes_are_known_without_reading_bytes(packed: tuple[list[Path], list[str]]) -> None:
    paths, shas = packed
    assert ImagePacks(paths, shas).measure(shas[7]) == (17, 16)


def test_a_missing_image_is_named(packed: tuple[list[Path], list[str]]) -> None:
    paths, shas = packed
    with pytest.raises(TrainingError, match=r"1 images are in none of the 2 image packs, the first is abc"):
        ImagePacks(paths, [*shas, "abc"])


def test_an_image_that_cannot_be_decoded_is_named() -> None:
    with pytest.raises(TrainingError, match=r"image abc can no longer be decoded"):
        decode_packed("abc", IMAGES[0][:30])
