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


def edges(width: int, height: int) -> Image.Image:
    """Black and white stripes and squares: what resizing overshoots at."""
    rows, columns = np.indices((height, width))
    squares = ((rows // 7 + columns // 5) % 2 * 255).astype(np.uint8)
    return Image.fromarray(np.stack([squares, squares.max() - squares, (columns % 2 * 255).astype(np.uint8)], -1))


def levels(pixel_values: torch.Tensor, processor: ViltImageProcessorPil) -> torch.Tensor:
    """What pixel values were before they were normalized, as levels of 255."""
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (processor.image_mean, processor.image_std))
    return (pixel_values * std + mean) * 255


@pytest.mark.parametrize("make", [stock, small])
@pytest.mark.parametrize(
    ("width", "height"),
    [(64, 64), (640, 480), (427, 640), (1280, 500), (37, 91), (48, 49), (2048, 1536), (5, 4), (1, 300)],
)
def test_pixels_are_within_two_levels_of_those_of_the_stock_processor(make, width: int, height: int) -> None:
    processor = make()
    rules = read_pixel_rules(processor)
    for image in (picture(width, height), edges(width, height)):
        if min(rules.compute_size(width, height)) == rules.size_divisor:
            continue  # where stock would round a side down to nothing
        expected = processor(image, return_tensors="pt")
        resized = torch.from_numpy(rules.resize(image))[None]
        assert resized.dtype == torch.uint8
        got = levels(rules.normalize(resized), processor)
        torch.testing.assert_close(got, levels(expected["pixel_values"], processor), atol=2.01, rtol=0)
        assert expected["pixel_mask"].all()


@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, Image.Resampling.LANCZOS, Image.Resampling.NEAREST])
def test_pixels_by_other_filters_are_those_of_the_stock_processor(resample) -> None:
    processor = small()
    processor.resample = resample
    rules, image = read_pixel_rules(processor), picture(90, 70)
    got = rules.normalize(torch.from_numpy(rules.resize(image))[None])
    torch.testing.assert_close(got, processor(image, return_tensors="pt")["pixel_values"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("step", ["do_resize", "do_rescale", "do_normalize"])
def test_a_step_that_is_switched_off_does_nothing(step: str) -> None:
    processor = small()
    setattr(processor, step, False)
    rules, image = read_pixel_rules(processor), picture(64, 80)
    got = rules.normalize(torch.from_numpy(rules.resize(image))[None])
    torch.testing.assert_close(got, processor(image, return_tensors="pt")["pixel_values"], atol=1e-4, rtol=0)


def test_rules_that_resize_alike_have_one_key() -> None:
    rules = read_pixel_rules(small())
    others = [rules._replace(shortest_edge=None), rules._replace(size_divisor=8)]
    others.append(rules._replace(resample=Image.Resampling.BOX))
    assert rules.key == rules._replace(mean=(0.1,) * 3, std=(1.0,) * 3, rescale_factor=1.0).key
    assert len({each.key for each in (rules, *others)}) == 4


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
