from __future__ import annotations

import pytest
import torch
from modeling_world import settings

from vqa_pipeline.modeling.stock import ViltConfig, ViltForQuestionAnswering
from vqa_pipeline.modeling.strategies import choose_learnable

HEAD = [
    "classifier.0.bias",
    "classifier.0.weight",
    "classifier.1.bias",
    "classifier.1.weight",
    "classifier.3.bias",
    "classifier.3.weight",
]
HEAD_SIZE = (16 * 8 + 16) + (16 + 16) + (3 * 16 + 3)


@pytest.fixture
def model():
    config = ViltConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=16, patch_size=8, num_labels=3,
    )  # fmt: skip
    return ViltForQuestionAnswering(config)


def test_full_lets_everything_learn(model) -> None:
    learnable = choose_learnable(model, settings(strategy="full"), frozenset(), 10.0)
    told = learnable.describe()
    assert told["num_learnable"] == told["num_parameters"] == sum(each.numel() for each in model.parameters())
    assert told["learnable_fraction"] == 1.0
    assert told["names"] == sorted(name for name, _ in model.named_parameters())


def test_head_lets_the_classifier_learn_and_freezes_the_rest(model) -> None:
    told = choose_learnable(model, settings(strategy="head"), frozenset(), 10.0).describe()
    assert told["names"] == HEAD
    assert told["num_learnable"] == HEAD_SIZE
    assert told["learnable_fraction"] == round(HEAD_SIZE / told["num_parameters"], 6)
    assert [name for name, each in model.named_parameters() if each.requires_grad] == HEAD[1::-1] + HEAD[3:1:-1] + HEAD[
        :3:-1
    ]


def test_random_parameters_learn_under_every_strategy(model) -> None:
    fresh = frozenset({"vilt.pooler.dense.weight"})
    told = choose_learnable(model, settings(strategy="head"), fresh, 10.0).describe()
    assert told["names"] == [*HEAD, "vilt.pooler.dense.weight"]


def test_biases_and_norms_are_not_decayed(model) -> None:
    learnable = choose_learnable(model, settings(strategy="full", weight_decay=0.05), frozenset(), 10.0)
    decay = {name: group.weight_decay for group in learnable.groups for name in group.names}
    assert decay["vilt.encoder.layer.0.attention.attention.query.weight"] == 0.05
    assert decay["vilt.encoder.layer.0.attention.attention.query.bias"] == 0
    assert decay["vilt.layernorm.weight"] == 0
    assert decay["classifier.1.weight"] == 0  # a norm too, though it is called like a layer
    assert decay["classifier.3.weight"] == 0.05


def test_the_head_learns_at_its_own_rate(model) -> None:
    learnable = choose_learnable(model, settings(strategy="full"), frozenset(), 10.0)
    factors = {name: group.rate_factor for group in learnable.groups for name in group.names}
    assert {name for name, factor in factors.items() if factor == 10.0} == set(HEAD)
    assert {factor for name, factor in factors.items() if name not in HEAD} == {1.0}


def test_a_frozen_parameter_that_learned_before_is_frozen_now(model) -> None:
    choose_learnable(model, settings(strategy="full"), frozenset(), 1.0)
    choose_learnable(model, settings(strategy="head"), frozenset(), 1.0)
    model(input_ids=torch.ones(1, 3, dtype=torch.long), pixel_values=torch.ones(1, 3, 16, 16)).logits.sum().backward()
    assert model.vilt.pooler.dense.weight.grad is None
    assert model.classifier[3].weight.grad is not None
