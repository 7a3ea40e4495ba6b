from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from vqa_pipeline.modeling.pixels import PixelRules, read_pixel_rules
from vqa_pipeline.modeling.stock import ViltImageProcessorPil


def stock() -> ViltImageProcessorPil:
    return ViltImageProcessorPil(image_mean=[0.5] * 3, image_std=[0.5] * 3)


def small() -> ViltImageProcessorPil:
    return ViltImageProcessorPil(
        size={"shortest_edge": 64}, size_divisor=16, image_mean=[0.06, 0.05, 0.04], image_std=[0.37, 0.36, 0.35]
    )


def picture(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(noise)


@pytest.mark.parametrize("make", [stock, small])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (640, 480), (427, 640), (1280, 500), (37, 91), (48, 49)])
def test_pixel_values_are_those_of_the_stock_processor(make, width: int, height: int) -> None:
    processor, image = make(), picture(width, height)
    rules = read_pixel_rules(processor)
    expected = processor(image, return_tensors="pt")
    resized = torch.from_numpy(rules.resize(image))[None]
    assert resized.dtype == torch.uint8
    torch.testing.assert_close(rules.normalize(resized), expected["pixel_values"], atol=1e-5, rtol=0)
    assert expected["pixel_mask"].all()


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (640, 480, (384, 512)),
        (640, 427, (384, 576)),
        (640, 384, (352, 608)),  # a shorter side of 384 would leave the longer one above 639
        (1280, 500, (224, 608)),
        (384, 384, (384, 384)),
        (500, 1280, (608, 224)),
    ],
)
def test_sizes_are_those_of_the_original(width: int, height: int, expected: tuple[int, int]) -> None:
    assert read_pixel_rules(stock()).compute_size(width, height) == expected


def test_a_side_never_vanishes() -> None:
    assert read_pixel_rules(small()).compute_size(1000, 10) == (16, 96)


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = picture(64, 64)
    resized = read_pixel_rules(small()).resize(image)
    assert (resized == np.asarray(image).transpose(2, 0, 1)).all()


def test_rules_are_read_from_the_processor() -> None:
    assert read_pixel_rules(small()) == PixelRules(
        64, 16, Image.Resampling.BICUBIC, 1 / 255, (0.06, 0.05, 0.04), (0.37, 0.36, 0.35)
    )


def test_a_processor_that_does_not_normalize_is_refused() -> None:
    processor = small()
    processor.do_normalize = False
    with pytest.raises(ValueError, match="do_normalize switched off"):
        read_pixel_rules(processor)
