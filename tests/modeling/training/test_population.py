from __future__ import annotations

import math

import pytest
import torch
from modeling_world import World, settings
from trunk_world import TrunkWorld, make_trunk_world

from vqa_pipeline.modeling.fast_vilt import Hidden
from vqa_pipeline.modeling.strategies import Learnable, choose_learnable
from vqa_pipeline.modeling.training.loss import answer_losses
from vqa_pipeline.modeling.training.optimizer import Optimizer
from vqa_pipeline.modeling.training.population import Hyperparameters, Population

FEATURES = torch.randn(4, 6, 1, 32, generator=torch.Generator().manual_seed(1))
TARGETS = torch.rand(4, 6, 5, generator=torch.Generator().manual_seed(2))
FACTORS = (0.5, 1.0, 0.7, 0.1)


@pytest.fixture
def made(world: World) -> TrunkWorld:
    return make_trunk_world(world)


def choose(made: TrunkWorld, rate: float = 1e-3, decay: float = 0.01, fresh: frozenset[str] = frozenset()) -> Learnable:
    return choose_learnable(
        made.model, settings(strategy="head", backbone="x", learning_rate=rate, weight_decay=decay), fresh, 10.0
    )


@pytest.mark.parametrize("is_batched", [True, False])
@pytest.mark.parametrize("clip_norm", [1e9, 0.1])
def test_every_member_learns_as_it_would_alone(world: World, clip_norm: float, is_batched: bool) -> None:
    members = (Hyperparameters(1e-3, 0.0), Hyperparameters(1e-2, 0.5), Hyperparameters(1e-4, 0.1))
    fresh = frozenset(["vilt.pooler.dense.weight", "vilt.pooler.dense.bias"])
    made = make_trunk_world(world)
    population = Population(made.model, choose(made, fresh=fresh), members, is_batched)
    for features, targets, factor in zip(FEATURES, TARGETS, FACTORS, strict=True):
        population.learn(features, targets, factor, clip_norm)
    together = population.compute_logits(FEATURES[0]).detach()
    for member, logits in zip(members, together, strict=True):
        alone = make_trunk_world(world)
        optimizer = Optimizer(choose(alone, decay=member.weight_decay, fresh=fresh))
        for features, targets, factor in zip(FEATURES, TARGETS, FACTORS, strict=True):
            optimizer.clear()
            answer_losses(alone.model.answer(Hidden(features, None), 3), targets).mean().backward()
            optimizer.clip(clip_norm)
            optimizer.update(member.learning_rate * factor, torch.zeros(()))
        expected = alone.model.answer(Hidden(FEATURES[0], None), 3).detach()
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_the_model_stays_as_it_is(made: TrunkWorld) -> None:
    before = {name: tensor.clone() for name, tensor in made.model.state_dict().items()}
    population = Population(made.model, choose(made), (Hyperparameters(0.1, 0.1),))
    population.learn(FEATURES[0], TARGETS[0], 1.0, 1.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in made.model.state_dict().items())
    assert all(parameter.grad is None for parameter in made.model.parameters())


def test_a_member_that_is_not_finite_is_out_and_the_others_do_not_mind(made: TrunkWorld) -> None:
    good, bad = Hyperparameters(1e-3, 0.0), Hyperparameters(math.inf, 0.0)
    both, alone = (Population(made.model, choose(made), members) for members in ((bad, good), (good,)))
    for features, targets in zip(FEATURES[:3], TARGETS[:3], strict=True):
        both.learn(features, targets, 1.0, 1.0)
        alone.learn(features, targets, 1.0, 1.0)
    assert both.is_finite.tolist() == [False, True]
    torch.testing.assert_close(both.compute_logits(FEATURES[3])[1], alone.compute_logits(FEATURES[3])[0])
