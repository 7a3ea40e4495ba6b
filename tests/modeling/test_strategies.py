from __future__ import annotations

import json
import re

import pytest
import torch
from modeling_world import Events, World, never, settings, train_job
from pydantic import ValidationError
from safetensors.torch import load_file

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.modeling.stock import ViltConfig, ViltForQuestionAnswering
from vqa_pipeline.modeling.strategies import STRATEGIES, choose_learnable
from vqa_pipeline.modeling.training.train import train

HEAD = [
    "classifier.0.bias",
    "classifier.0.weight",
    "classifier.1.bias",
    "classifier.1.weight",
    "classifier.3.bias",
    "classifier.3.weight",
]
HEAD_SIZE = (16 * 8 + 16) + (16 + 16) + (3 * 16 + 3)


def pretrained(**changes):
    return settings(backbone="vilt", **changes)


@pytest.fixture
def model():
    config = ViltConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16,
        image_size=16, patch_size=8, num_labels=3,
    )  # fmt: skip
    return ViltForQuestionAnswering(config)


def test_full_lets_everything_learn(model) -> None:
    learnable = choose_learnable(model, pretrained(strategy="full"), frozenset(), 10.0)
    told = learnable.describe()
    assert told["num_learnable"] == told["num_parameters"] == sum(each.numel() for each in model.parameters())
    assert told["learnable_fraction"] == 1.0
    assert told["names"] == sorted(name for name, _ in model.named_parameters())


def test_head_lets_the_classifier_learn_and_freezes_the_rest(model) -> None:
    told = choose_learnable(model, pretrained(strategy="head"), frozenset(), 10.0).describe()
    assert told["names"] == HEAD
    assert told["num_learnable"] == HEAD_SIZE
    assert told["learnable_fraction"] == round(HEAD_SIZE / told["num_parameters"], 6)
    assert [name for name, each in model.named_parameters() if each.requires_grad] == HEAD[1::-1] + HEAD[3:1:-1] + HEAD[
        :3:-1
    ]


def test_random_parameters_learn_under_every_strategy(model) -> None:
    fresh = frozenset({"vilt.pooler.dense.weight"})
    told = choose_learnable(model, pretrained(strategy="head"), fresh, 10.0).describe()
    assert told["names"] == [*HEAD, "vilt.pooler.dense.weight"]


def test_biases_and_norms_are_not_decayed(model) -> None:
    learnable = choose_learnable(model, pretrained(strategy="full", weight_decay=0.05), frozenset(), 10.0)
    decay = {name: group.weight_decay for group in learnable.groups for name in group.names}
    assert decay["vilt.encoder.layer.0.attention.attention.query.weight"] == 0.05
    assert decay["vilt.encoder.layer.0.attention.attention.query.bias"] == 0
    assert decay["vilt.layernorm.weight"] == 0
    assert decay["classifier.1.weight"] == 0  # a norm too, though it is called like a layer
    assert decay["classifier.3.weight"] == 0.05


def test_the_head_learns_at_its_own_rate(model) -> None:
    learnable = choose_learnable(model, pretrained(strategy="full"), frozenset(), 10.0)
    factors = {name: group.rate_factor for group in learnable.groups for name in group.names}
    assert {name for name, factor in factors.items() if factor == 10.0} == set(HEAD)
    assert {factor for name, factor in factors.items() if name not in HEAD} == {1.0}


def test_a_frozen_parameter_that_learned_before_is_frozen_now(model) -> None:
    choose_learnable(model, pretrained(strategy="full"), frozenset(), 1.0)
    choose_learnable(model, pretrained(strategy="head"), frozenset(), 1.0)
    model(input_ids=torch.ones(1, 3, dtype=torch.long), pixel_values=torch.ones(1, 3, 16, 16)).logits.sum().backward()
    assert model.vilt.pooler.dense.weight.grad is None
    assert model.classifier[3].weight.grad is not None


LAST = ["vilt.layernorm.bias", "vilt.layernorm.weight", "vilt.pooler.dense.bias", "vilt.pooler.dense.weight"]


@pytest.mark.parametrize(("layers", "learning"), [(1, {2}), (2, {1, 2}), (3, {0, 1, 2})])
def test_the_last_layers_learn_with_all_that_comes_after_them(model, layers: int, learning: set[int]) -> None:
    told = choose_learnable(model, pretrained(strategy="last_layers", layers=layers), frozenset(), 10.0).describe()
    inside = [name for name, _ in model.named_parameters() if "encoder" in name and int(name.split(".")[3]) in learning]
    assert told["names"] == sorted([*HEAD, *LAST, *inside])
    assert len(inside) == 16 * layers


def test_more_layers_than_there_are_is_a_mistake(model) -> None:
    with pytest.raises(SettingsError, match=r"`training.layers`: the backbone has 3 layers.*Use at most 3"):
        choose_learnable(model, pretrained(strategy="last_layers", layers=4), frozenset(), 10.0)


def test_projection_lets_learn_what_brings_images_among_words_and_no_word(model) -> None:
    told = choose_learnable(model, pretrained(strategy="projection"), frozenset(), 10.0).describe()
    embeddings = [
        "vilt.embeddings.cls_token",
        "vilt.embeddings.patch_embeddings.projection.bias",
        "vilt.embeddings.patch_embeddings.projection.weight",
        "vilt.embeddings.position_embeddings",
        "vilt.embeddings.token_type_embeddings.weight",
    ]
    assert told["names"] == [*HEAD, *embeddings]


def test_lora_lets_adapters_learn_with_the_head(model) -> None:
    told = choose_learnable(model, pretrained(strategy="lora", lora_rank=4), frozenset(), 10.0).describe()
    adapters = [name for name in told["names"] if name not in HEAD]
    assert len(adapters) == 3 * 6 * 2
    assert all(".lora_A." in name or ".lora_B." in name for name in adapters)
    per_layer = 4 * (4 * (8 + 8) + (8 + 16) + (16 + 8))  # rank x (inputs + outputs) of each linear layer
    assert told["num_learnable"] == HEAD_SIZE + 3 * per_layer


RATES = {"head": 1e-4, "last_layers": 1e-4, "projection": 1e-4, "lora": 2e-4, "full": 1e-4}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_has_a_rate_of_its_own_where_none_is_set(model, strategy: str) -> None:
    learnable = choose_learnable(model, pretrained(strategy=strategy, learning_rate="default"), frozenset(), 10.0)
    assert learnable.learning_rate == RATES[strategy]


def test_the_rate_that_is_set_goes_before_the_backbone_s_and_that_before_the_strategy_s(model) -> None:
    def choose(rate) -> float:
        return choose_learnable(model, pretrained(learning_rate=rate), frozenset(), 1.0, 0.5).learning_rate

    assert choose(0.25) == 0.25
    assert choose("default") == 0.5


def test_what_learns_is_told_part_by_part(model) -> None:
    settings = pretrained(strategy="last_layers", learning_rate=1e-3)
    learnable = choose_learnable(model, settings, frozenset(), 10.0)
    layer = 4 * (8 * 8 + 8) + (8 * 16 + 16) + (16 * 8 + 8) + 4 * 8
    assert [tuple(part.values()) for part in learnable.describe()["parts"]] == [
        ("classifier", 6, HEAD_SIZE, 1e-2),
        ("vilt.encoder.layer.1-2", 32, 2 * layer, 1e-3),
        ("vilt.layernorm", 2, 16, 1e-3),
        ("vilt.pooler", 2, 72, 1e-3),
    ]
    assert learnable.list_in_words() == (
        "classifier 227 at 0.01, vilt.encoder.layer.1-2 1,200 at 0.001, vilt.layernorm 16 at 0.001, "
        "vilt.pooler 72 at 0.001"
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_learns_is_all_that_changes(world: World, trained, tmp_path, strategy: str) -> None:
    events, parent = Events(), trained / "checkpoint"
    train(
        train_job(
            world, tmp_path, backbone=str(parent), strategy=strategy, epochs=1, layers=1 + (strategy != "last_layers")
        ),
        events,
        never,
    )
    before, after = (load_file(folder / "model.safetensors") for folder in (parent, tmp_path / "checkpoint"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    told = json.loads((tmp_path / "checkpoint" / "training.json").read_text())["learnable"]
    learned = {re.sub(r"lora_[AB].default.", "", name) for name in told["names"]}
    assert changed <= learned
    assert before.keys() == after.keys()
    assert {name for name in learned if name.endswith("weight")} - {
        "vilt.embeddings.text_embeddings.word_embeddings.weight"
    } <= changed
    sentences = [event["message"] for event in events.named("log")]
    [sentence] = [one for one in sentences if one.startswith("What learns: ")]
    assert all(part["name"] in sentence for part in told["parts"])


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "full"])
def test_random_weights_are_not_frozen(strategy: str) -> None:
    with pytest.raises(ValidationError, match=f"random weights, and {strategy} would freeze some; use full"):
        settings(strategy=strategy)


@pytest.mark.parametrize(
    ("setting", "value", "owner"),
    [("layers", 3, "last_layers"), ("lora_rank", 8, "lora"), ("lora_alpha", 8, "lora"), ("lora_dropout", 0.1, "lora"),
     ("lora_targets", "attention", "lora")],
)  # fmt: skip
def test_a_setting_of_another_strategy_is_a_mistake(setting: str, value: object, owner: str) -> None:
    assert getattr(pretrained(strategy=owner, **{setting: value}), setting) == value
    with pytest.raises(
        ValidationError, match=f"(?s){setting}.*nothing with strategy full; leave it out, or use {owner}"
    ):
        pretrained(**{setting: value})


def test_defaults_of_other_strategies_may_be_written_down() -> None:
    assert pretrained(strategy="head", layers=2, lora_rank=16).strategy == "head"


def test_another_rate_is_adopted_with_a_decay_of_matrices_alone(model) -> None:
    learnable = choose_learnable(model, settings(strategy="head", backbone="b", learning_rate=1e-3), frozenset(), 10.0)
    adopted = learnable.adopt(3e-3, 0.5)
    assert adopted.learning_rate == 3e-3
    assert {group.parameters[0].ndim: group.weight_decay for group in adopted.groups} == {1: 0.0, 2: 0.5}
    assert [group.names for group in adopted.groups] == [group.names for group in learnable.groups]
    assert learnable.learning_rate == 1e-3
