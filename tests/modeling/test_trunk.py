from __future__ import annotations

import numpy as np
import pytest
import torch
from modeling_world import World
from peft import LoraConfig, inject_adapter_in_model
from trunk_world import BF16, CPU, TrunkWorld, make_trunk_world

from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.pixels import PixelRules
from vqa_pipeline.modeling.trunk import Trunk, find_frozen_layers


@pytest.fixture
def made(world: World) -> TrunkWorld:
    return make_trunk_world(world)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_cut_is_below_the_first_layer_that_learns(made: TrunkWorld, depth: int) -> None:
    made.freeze(depth)
    assert find_frozen_layers(made.model) == (depth, "")


def test_a_single_bias_that_learns_ends_the_trunk(made: TrunkWorld) -> None:
    made.freeze(3)
    made.model.vilt.encoder.layer[1].output.dense.bias.requires_grad_(True)
    assert find_frozen_layers(made.model).depth == 1


def test_nothing_is_below_embeddings_or_a_first_layer_that_learn(made: TrunkWorld) -> None:
    made.freeze(3)
    made.model.vilt.embeddings.cls_token.requires_grad_(True)
    assert find_frozen_layers(made.model) == (0, "")
    made.freeze(0)
    assert find_frozen_layers(made.model) == (0, "")


@pytest.mark.parametrize("name", ["embeddings.dropout", "encoder.layer.1.attention.attention.dropout"])
def test_dropout_below_the_cut_is_a_reason_to_compute_it_again(made: TrunkWorld, name: str) -> None:
    made.freeze(2)
    made.model.vilt.get_submodule(name).p = 0.1
    assert find_frozen_layers(made.model) == (2, "dropout of 0.1 makes it other every time")


def test_dropout_above_the_cut_does_not_matter(made: TrunkWorld) -> None:
    made.freeze(2)
    made.model.vilt.encoder.layer[2].output.dropout.p = 0.1
    assert find_frozen_layers(made.model) == (2, "")


def test_patches_drawn_at_random_are_a_reason(made: TrunkWorld) -> None:
    made.freeze(2)
    made.model.config.max_image_length = 4
    assert find_frozen_layers(made.model) == (2, "it looks at patches drawn at random")


def test_lora_of_the_last_layer_leaves_those_below_to_the_trunk(made: TrunkWorld) -> None:
    key = Trunk(made.model, 2, made.rules, CPU).key
    made.freeze(3)
    inject_adapter_in_model(LoraConfig(target_modules=["query", "value"], layers_to_transform=[2]), made.model)
    assert find_frozen_layers(made.model).depth == 2
    assert Trunk(made.model, 2, made.rules, CPU).key == key


def test_a_row_has_the_tokens_of_its_question_and_no_padding(made: TrunkWorld) -> None:
    batches = made.ask(2)  # a long and a short question, of images of different sizes
    lengths = [len(Trunk(made.model, 2, made.rules, CPU).encode(batches.load(np.array([at])))[0]) for at in (0, 1)]
    text = [len(batches.load(np.array([at])).input_ids[0].nonzero()) for at in (0, 1)]
    patches = [batches.load(np.array([at])).pixel_values[0, 0].numel() // 64 for at in (0, 1)]
    assert lengths == [text[0] + 1 + patches[0], text[1] + 1 + patches[1]]
    assert text[0] > 8 >= text[1]


def test_at_the_depth_of_all_layers_a_row_is_the_first_token(made: TrunkWorld) -> None:
    [row] = Trunk(made.model, 3, made.rules, CPU).encode(made.ask(1).load(np.array([0])))
    assert row.shape == (1, 32 * 4)


def test_a_row_does_not_depend_on_whether_the_model_is_learning(made: TrunkWorld) -> None:
    trunk, batch = Trunk(made.model, 2, made.rules, CPU), made.ask(1).load(np.array([0]))
    made.model.eval()
    [one] = trunk.encode(batch)
    made.model.train()
    [other] = trunk.encode(batch)
    assert np.array_equal(one, other)


@pytest.mark.parametrize("depth", [1, 2])
def test_what_is_computed_in_bf16_is_kept_to_eleven_bits(made: TrunkWorld, depth: int) -> None:
    trunk, batch = Trunk(made.model, depth, made.rules, BF16), made.ask(2).load(np.array([1]))
    [row] = trunk.encode(batch)
    with torch.no_grad(), BF16.autocast():
        exact = made.model.encode(batch, depth)
    kept = torch.from_numpy(row).view(torch.float16).float()
    expected = exact.states[0] if exact.mask is None else exact.states[0][exact.mask[0]]
    assert kept.shape == expected.shape
    assert bool(((kept - expected).abs() <= 2**-11 * expected.abs() + 2**-25).all())
    assert not torch.equal(kept, expected)


def test_the_first_token_is_kept_in_fp32_even_where_bf16_is_computed(made: TrunkWorld) -> None:
    trunk, batch = Trunk(made.model, 3, made.rules, BF16), made.ask(2).load(np.array([1]))
    with torch.no_grad(), BF16.autocast():
        exact = made.model.encode(batch, 3).states[0]
    assert torch.equal(torch.from_numpy(trunk.encode(batch)[0]).view(torch.float32), exact.float())


def test_the_key_tells_all_that_a_row_depends_on(made: TrunkWorld) -> None:
    def key(depth: int = 2, rules: PixelRules = made.rules, placement: Placement = CPU) -> str:
        return Trunk(made.model, depth, rules, placement).key

    before = key()
    keys = {before, key(depth=1), key(placement=BF16), key(rules=made.rules._replace(mean=(0.25,) * 3))}
    with torch.no_grad():
        made.model.vilt.encoder.layer[1].output.dense.bias[0] += 1
    keys.add(key())
    made.model.config.layer_norm_eps = 1e-3
    assert len({*keys, key()}) == 6


def test_the_key_does_not_mind_what_is_above_the_cut_nor_the_vocabulary(made: TrunkWorld) -> None:
    before = Trunk(made.model, 2, made.rules, CPU).key
    with torch.no_grad():
        made.model.vilt.encoder.layer[2].output.dense.bias[0] += 1
        made.model.classifier[-1].bias[0] += 1
    made.model.config.id2label = {0: "other"}
    made.model.config.vocabulary_fingerprint = "other"
    made.model.config.name_or_path = "other"
    assert Trunk(made.model, 2, made.rules, CPU).key == before
