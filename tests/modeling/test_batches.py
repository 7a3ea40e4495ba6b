from __future__ import annotations

from itertools import chain

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from modeling_world import VOCABULARY, Events, World
from PIL import Image

from vqa_pipeline.modeling.backbones.wordpiece import build_tokenizer
from vqa_pipeline.modeling.batches import BATCHES_AHEAD, Batch, BatchSource, choose_text_length
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.pixel_cache import PixelCache
from vqa_pipeline.modeling.pixels import PixelRules
from vqa_pipeline.modeling.questions import Asked, Tokenized, read_training, tokenize
from vqa_pipeline.modeling.ragged import Ragged

RULES = PixelRules(16, 8, Image.Resampling.BICUBIC, 1 / 255, (0.5,) * 3, (0.5,) * 3)

ALIKE = RULES._replace(size_divisor=16)
"""Makes all pictures of the world one size."""


@pytest.fixture(scope="module")
def source(world: World) -> BatchSource:
    asked, _ = read_training([world.questions("train")], VOCABULARY, "normalized")
    shas = sorted(set(asked.shas))
    tokenized = tokenize(asked.questions, build_tokenizer(asked.questions, 40), 40)
    return BatchSource(
        asked, tokenized, PixelCache(world.folder, ImagePacks(world.packs, shas), shas, RULES), torch.device("cpu")
    )


def ask(
    world: World,
    texts: list[str],
    images: list[int],
    max_tokens: int = 40,
    rules: PixelRules = ALIKE,
    device: str = "cpu",
) -> BatchSource:
    """Questions about the first few pictures of the world; the tokenizer knows the words a, b and c."""
    shas = sorted(pq.read_table(world.packs[0])["image_sha256"].to_pylist())[: max(images) + 1]
    asked = Asked()
    for number, (text, image) in enumerate(zip(texts, images, strict=True)):
        asked.append({"question_id": str(number), "question": text, "image_sha256": shas[image]})
    tokenized = tokenize(texts, build_tokenizer(["a b c"], 64), max_tokens)
    pixels = PixelCache(world.folder, ImagePacks(world.packs, shas), shas, rules)
    return BatchSource(asked, tokenized, pixels, torch.device(device))


class Sizes:
    """Pixels of which only the sizes are known, one image per question."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = [(16, 16 + 16 * size) for size in sizes]

    def number(self, sha256: str) -> int:
        return int(sha256)


def of_sizes(sizes: list[int]) -> BatchSource:
    asked = Asked()
    for number in range(len(sizes)):
        asked.append({"question_id": str(number), "question": "?", "image_sha256": str(number)})
    return BatchSource(asked, Tokenized(Ragged([]), 0, 0, 0, 0, 40), Sizes(sizes), torch.device("cpu"))


def flatten(plan: list[np.ndarray]) -> list[int]:
    return list(chain.from_iterable(batch.tolist() for batch in plan))


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=40),
    st.integers(1, 9),
    st.integers(0, 2**31),
    st.integers(1, 100),
)
def test_any_epoch_has_every_question_once_in_full_batches_of_one_size(
    sizes: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    source = of_sizes(sizes)
    plan = source.plan_training(batch_size, seed, epoch)
    assert sorted(flatten(plan)) == list(range(len(sizes)))
    assert len(plan) == source.count_batches(batch_size)
    assert all(len({sizes[position] for position in batch}) == 1 for batch in plan)
    assert sum(len(batch) < batch_size for batch in plan) <= len(set(sizes))
    again = of_sizes(sizes).plan_training(batch_size, seed, epoch)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in plan]


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
        resized = PixelCache(world.folder, packs, [asked.shas[position]], RULES).read([0])
        row = line if batch.image_index is None else batch.image_index[line]
        assert torch.equal(batch.pixel_values[row], RULES.normalize(torch.from_numpy(resized))[0])


def test_reading_brings_questions_about_one_image_together(source: BatchSource) -> None:
    plan = source.plan_reading(8)
    assert [len(batch) for batch in plan] == [8, 8, 2, 8, 8, 2]
    assert sorted(flatten(plan)) == list(range(36))
    for batch in plan:
        assert len(source.load(batch).pixel_values) <= len(batch) // 2  # each picture has at least two questions


def test_reading_goes_through_the_images_in_their_order(world: World) -> None:
    source = ask(world, ["a", "b", "c", "a b", "b c"], [1, 0, 1, 0, 2])
    assert [batch.tolist() for batch in source.plan_reading(3)] == [[1, 3, 0], [2, 4]]


@pytest.mark.parametrize(
    ("longest", "max_tokens", "expected"),
    [(3, 40, 8), (8, 40, 8), (9, 40, 12), (25, 40, 40), (25, 32, 32), (41, 64, 64), (5, 6, 6)],
)
def test_text_is_padded_to_one_of_a_few_lengths_that_the_model_can_read(
    longest: int, max_tokens: int, expected: int
) -> None:
    assert choose_text_length(longest, max_tokens) == expected


def test_a_batch_is_padded_as_its_longest_question_needs_and_the_mask_tells_where(world: World) -> None:
    source = ask(world, ["a", "a b c a b c a", "b"], [0, 0, 0])
    both = source.load(np.array([0, 1]))
    assert both.input_ids.shape == (2, 12)
    assert both.attention_mask.tolist() == [[1] * 3 + [0] * 9, [1] * 9 + [0] * 3]
    assert source.load(np.array([0, 2])).input_ids.shape == (2, 8)


def test_where_nothing_is_padded_there_is_no_mask(world: World) -> None:
    source = ask(world, ["a b c a b c", "b b b b b b", "a"], [0, 0, 0])
    assert source.load(np.array([0, 1])).attention_mask is None
    assert source.load(np.array([0, 2])).attention_mask is not None


def test_questions_about_one_image_share_its_pixels(world: World) -> None:
    source = ask(world, ["a", "b", "c", "a b"], [1, 0, 1, 0])
    shared, apart = source.load(np.array([0, 1, 2])), source.load(np.array([2, 3]))
    assert len(shared.pixel_values) == 2
    assert apart.image_index is None
    assert torch.equal(shared.pixel_values[shared.image_index[[2, 1]]], apart.pixel_values)


def test_the_largest_batch_has_most_pixels_in_all_and_the_longest_questions(world: World) -> None:
    """Square images have 16 x 16 pixels, wide ones 8 x 24."""
    table = pq.read_table(world.packs[0]).sort_by("image_sha256")
    sides = [
        width == height for width, height in zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True)
    ]
    square, wide = sides.index(True), sides.index(False)
    few = ask(world, ["a", "a b", "b", "a b c", "a a a a"], [square, wide, square, square, wide], rules=RULES)
    assert few.find_largest(2).tolist() == [3, 0]
    many = ask(world, ["a", "a b", "a b c a", "a b c"], [square, wide, wide, wide], rules=RULES)
    assert many.find_largest(8).tolist() == [2, 3, 1]  # three wide ones have more pixels than the only square one


def whole(batch: np.ndarray) -> list[np.ndarray]:
    return [batch]


def same(left: Batch, right: Batch) -> bool:
    return all(
        one is other if one is None or other is None else torch.equal(one, other)
        for one, other in zip(left, right, strict=True)
    )


def test_images_that_are_not_cached_are_decoded_ahead_of_their_batch(world: World) -> None:
    texts, images = ["a", "b c", "a b c"] * 4, [0, 1, 2] * 4
    source, plan = ask(world, texts, images), [np.arange(start, start + 3) for start in range(0, 12, 3)]
    assert source._pixels.num_cached == 0
    followed = source.follow(plan, whole)
    first = next(followed)
    assert len(source._ahead._expected) == BATCHES_AHEAD + 1
    assert same(source.load(first), ask(world, texts, images).load(first))
    assert [batch.tolist() for batch in followed] == [batch.tolist() for batch in plan[1:]]


def test_what_is_cached_on_a_cpu_is_read_when_it_is_asked_for(world: World) -> None:
    source = ask(world, ["a", "b"], [0, 1])
    source._pixels.fill(report=Events())
    for batch in source.follow([np.array([0]), np.array([1])], whole):
        assert source._ahead._expected == {}
        source.load(batch)
    assert source.waited_seconds > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gets_the_batches_that_a_cpu_gets(world: World) -> None:
    texts, images = ["a", "b c", "a b c"] * 4, [0, 1, 2] * 4
    on_cpu, on_gpu = (ask(world, texts, images, device=device) for device in ("cpu", "cuda"))
    plan = [np.arange(start, start + 4) for start in range(0, 12, 4)]
    for batch in on_gpu.follow(plan, whole):
        loaded = on_gpu.load(batch)
        assert {tensor.device.type for tensor in loaded if tensor is not None} == {"cuda"}
        moved = Batch(*(None if tensor is None else tensor.cpu() for tensor in loaded))
        assert same(moved._replace(pixel_values=on_cpu.load(batch).pixel_values), on_cpu.load(batch))
        torch.testing.assert_close(moved.pixel_values, on_cpu.load(batch).pixel_values)
