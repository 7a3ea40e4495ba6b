from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from modeling_world import VOCABULARY, World, never, settings

from vqa_pipeline.errors import NonFiniteLoss
from vqa_pipeline.modeling.backbones import Materials, build_backbone
from vqa_pipeline.modeling.batches import BatchSource
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.pixel_store import PixelStore
from vqa_pipeline.modeling.pixels import read_pixel_rules
from vqa_pipeline.modeling.questions import read_training, tokenize
from vqa_pipeline.modeling.strategies import choose_learnable
from vqa_pipeline.modeling.training.loop import Examples, Training
from vqa_pipeline.modeling.training.saved_progress import SavedProgress, TrainingState

CPU = Placement(torch.device("cpu"), "fp32")


class OneBadGradient(torch.autograd.Function):
    """Hands a tensor on as it is; the gradient that comes back gets one number that is not finite."""

    @staticmethod
    def forward(ctx, tensor, bad):
        ctx.bad = bad
        return tensor.clone()

    @staticmethod
    def backward(ctx, gradient):
        spoiled = gradient.clone()
        spoiled.view(-1)[0] = ctx.bad
        return spoiled, None


def spoil(model, bad: float, calls: list[int], healthy_calls: int = 0) -> None:
    """Let the pooler's output have a bad gradient from one of its calls on."""

    def hand_on(_module, _inputs, output):
        calls.append(1)
        return OneBadGradient.apply(output, bad) if len(calls) > healthy_calls else output

    model.vilt.pooler.register_forward_hook(hand_on)


def make_training(world: World) -> tuple[Training, torch.nn.Module]:
    asked, targets = read_training([world.questions("train")], VOCABULARY, "normalized")
    shas = sorted(set(asked.shas))
    packs, wanted = ImagePacks(world.packs, shas), settings()
    backbone = build_backbone(wanted, Materials(VOCABULARY, asked.questions, packs, shas))
    pixels = PixelStore(packs, shas, read_pixel_rules(backbone.processor.image_processor), 1)
    pixels.fill(never)
    tokenized = tokenize(asked.questions, backbone.processor.tokenizer, 40)
    examples = Examples(BatchSource(asked, tokenized, pixels, CPU.device), targets)
    learnable = choose_learnable(backbone.model, wanted, backbone.fresh, backbone.head_rate_factor)
    return Training(backbone.model, learnable, wanted, CPU, examples, examples, 0), backbone.model


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_gradient_that_is_not_finite_stops_before_the_update_though_the_loss_is(
    world: World, tmp_path: Path, bad: float
) -> None:
    training, model = make_training(world)
    spoil(model, bad, calls := [])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(NonFiniteLoss) as caught:
        training.run(SavedProgress(tmp_path, "f"), TrainingState(fingerprint="f"), lambda event: None, never)
    assert caught.value.step == len(calls) == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_step_with_the_bad_gradient_and_its_questions_are_named_and_its_finite_losses_were_told(
    world: World, tmp_path: Path
) -> None:
    training, model = make_training(world)
    spoil(model, math.nan, [], healthy_calls=3)
    events: list[dict[str, object]] = []
    with pytest.raises(NonFiniteLoss) as caught:
        training.run(SavedProgress(tmp_path, "f"), TrainingState(fingerprint="f"), events.append, never)
    assert (caught.value.step, caught.value.epoch) == (4, 1)
    assert 0 < len(caught.value.question_ids) <= 8
    assert [event["step"] for event in events] == [1, 2, 3]
