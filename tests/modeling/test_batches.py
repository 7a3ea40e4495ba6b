from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
import torch
from modeling_world import VOCABULARY, World
from PIL import Image

from vqa_pipeline.modeling.backbones.wordpiece import build_tokenizer
from vqa_pipeline.modeling.batches import BatchSource
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.pixel_store import PixelStore
from vqa_pipeline.modeling.pixels import PixelRules
from vqa_pipeline.modeling.questions import read_training, tokenize

RULES = PixelRules(16, 8, Image.Resampling.BICUBIC, 1 / 255, (0.5,) * 3, (0.5,) * 3)


@pytest.fixture(scope="module")
def source(world: World) -> BatchSource:
    asked, _ = read_training([world.questions("train")], VOCABULARY, "normalized")
    shas = sorted(set(asked.shas))
    tokenized = tokenize(asked.questions, build_tokenizer(asked.questions, 40), 40)
    return BatchSource(asked, tokenized, PixelStore(ImagePacks(world.packs, shas), shas, RULES), torch.device("cpu"))


def flatten(plan: list[np.ndarray]) -> list[int]:
    return list(chain.from_iterable(batch.tolist() for batch in plan))


def test_every_question_comes_once_per_epoch(source: BatchSource) -> None:
    plan = source.plan_training(8, seed=0, epoch=1)
    assert sorted(flatten(plan)) == list(range(36))
    assert len(plan) == source.count_batches(8) == 6  # 18 square and 18 wide pictures, three batches each


def test_the_order_is_a_function_of_seed_and_epoch(source: BatchSource) -> None:
    plans = [flatten(source.plan_training(8, seed, epoch)) for seed, epoch in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]
    assert plans[0] != plans[3]


def test_a_batch_has_images_of_one_size(source: BatchSource) -> None:
    shapes = {tuple(source.load(batch).pixel_values.shape[1:]) for batch in source.plan_training(8, 0, 1)}
    assert shapes == {(3, 16, 16), (3, 8, 24)}  # 32 x 16 is scaled to 26 x 13 (1333 / 800), then rounded down


def test_a_question_meets_its_own_picture(source: BatchSource, world: World) -> None:
    asked, _ = read_training([world.questions("train")], VOCABULARY, "normalized")
    packs = ImagePacks(world.packs, asked.shas)
    positions = source.plan_training(8, 0, 1)[0]
    batch = source.load(positions)
    for line, position in enumerate(positions):
        resized = PixelStore(packs, [asked.shas[position]], RULES).get([0])
        assert torch.equal(batch.pixel_values[line], RULES.normalize(resized)[0])


def test_reading_goes_in_order(source: BatchSource) -> None:
    plan = source.plan_reading(8)
    assert [len(batch) for batch in plan] == [8, 8, 2, 8, 8, 2]
    assert plan[0].tolist() == sorted(plan[0].tolist())
