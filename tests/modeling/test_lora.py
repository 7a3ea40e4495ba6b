from __future__ import annotations

from pathlib import Path

import pytest
import torch
from modeling_world import Events, World, never, settings, train_job
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from torch import nn

from vqa_pipeline.modeling.fast_vilt import FastViltForQuestionAnswering
from vqa_pipeline.modeling.lora import add_adapters, merge_adapters
from vqa_pipeline.modeling.stock import ViltConfig, ViltForQuestionAnswering
from vqa_pipeline.modeling.training.train import train

LORA = {"backbone": "vilt", "strategy": "lora", "lora_rank": 4}
ASKED = {
    "input_ids": torch.tensor([[1, 2, 3], [4, 5, 6]]),
    "pixel_values": torch.linspace(-1, 1, 1536).view(2, 3, 16, 16),
}


def make_model(kind: type = FastViltForQuestionAnswering) -> nn.Module:
    torch.manual_seed(0)
    config = ViltConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        image_size=16, patch_size=8, num_labels=3, initializer_range=0.2,
    )  # fmt: skip
    return kind(config).eval()


def wake(model: nn.Module) -> None:
    """Adapters of any weights; as they are drawn, they do nothing."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter, 0.0, 0.3, generator=generator)


def compute(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(**ASKED).logits


def list_adapted(**changes) -> set[str]:
    model = make_model()
    add_adapters(model, settings(**LORA, **changes))
    return {
        name.removeprefix("vilt.encoder.layer.")
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }


@pytest.mark.parametrize(
    ("targets", "adapted"),
    [
        ("query_value", {"attention.attention.query", "attention.attention.value"}),
        (
            "attention",
            {*(f"attention.attention.{name}" for name in ("query", "key", "value")), "attention.output.dense"},
        ),
    ],
)
def test_what_is_adapted_in_every_layer_and_nowhere_else(targets: str, adapted: set[str]) -> None:
    assert list_adapted(lora_targets=targets) == {f"{layer}.{name}" for layer in (0, 1) for name in adapted}


def test_by_default_every_linear_layer_of_the_encoder_is_adapted() -> None:
    linear = {name.removeprefix("vilt.encoder.layer.") for name, module in make_model().named_modules()
              if isinstance(module, nn.Linear) and "encoder" in name}  # fmt: skip
    assert len(linear) == 12
    assert list_adapted() == linear


def test_new_adapters_change_no_answer() -> None:
    model = make_model()
    before = compute(model)
    add_adapters(model, settings(**LORA))
    torch.testing.assert_close(compute(model), before, rtol=0, atol=1e-6)  # the last layer is summed in another order


def test_the_same_seed_draws_the_same_adapters_and_leaves_the_global_generator_alone() -> None:
    drawn = []
    for seed in (0, 0, 1):
        model = make_model()
        torch.manual_seed(5)
        add_adapters(model, settings(**LORA, seed=seed))
        assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(5)))
        drawn.append(model.vilt.encoder.layer[0].output.dense.lora_A.default.weight)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("targets", ["query_value", "attention", "all"])
def test_adapters_that_have_learned_are_not_bypassed_by_the_fast_forward(targets: str) -> None:
    models = make_model(), make_model(ViltForQuestionAnswering)
    before = compute(models[0])
    for model in models:
        add_adapters(model, settings(**LORA, lora_targets=targets))
        wake(model)
    fast, stock = map(compute, models)
    assert (fast - before).abs().max() > 1e-2
    torch.testing.assert_close(fast, stock, rtol=0, atol=1e-5)


@pytest.mark.parametrize("targets", ["query_value", "attention", "all"])
def test_merged_it_is_a_stock_model_that_answers_as_with_adapters(targets: str) -> None:
    model, stock = make_model(), make_model(ViltForQuestionAnswering)
    before = compute(model)
    add_adapters(model, settings(**LORA, lora_targets=targets, lora_alpha=12))
    wake(model)
    adapted = compute(model)
    merge_adapters(model)
    assert [*model.state_dict()] == [*stock.state_dict()]
    stock.load_state_dict(model.state_dict())
    assert (adapted - before).abs().max() > 1e-2
    torch.testing.assert_close(compute(stock), adapted, rtol=0, atol=1e-5)


def test_a_layer_s_weight_becomes_the_sum_with_its_scaled_adapter() -> None:
    model = make_model()
    weight = model.vilt.encoder.layer[1].output.dense.weight.clone()
    add_adapters(model, settings(**LORA, lora_alpha=6))
    wake(model)
    adapted = model.vilt.encoder.layer[1].output.dense
    learned = adapted.lora_B.default.weight @ adapted.lora_A.default.weight
    merge_adapters(model)
    torch.testing.assert_close(model.vilt.encoder.layer[1].output.dense.weight, weight + 6 / 4 * learned)


def test_a_checkpoint_has_the_adapters_of_its_best_epoch_merged(world: World, trained: Path, tmp_path: Path) -> None:
    events = Events()
    parent = trained / "checkpoint"
    train(train_job(world, tmp_path, **LORA | {"backbone": str(parent)}, learning_rate=3e-3), events, never)
    before, after = (load_file(folder / "model.safetensors") for folder in (parent, tmp_path / "checkpoint"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    head = {f"classifier.{layer}.{kind}" for layer in (0, 1, 3) for kind in ("weight", "bias")}
    adapted = {name for name in before if "encoder" in name and name.endswith("weight") and "layernorm" not in name}
    assert changed == head | adapted
    [best] = (tmp_path / "progress" / "ffffffff").glob("best-*.safetensors")
    name = "vilt.encoder.layer.0.output.dense"
    learned = load_file(best)
    expected = (
        before[f"{name}.weight"]
        + 32 / 4 * learned[f"{name}.lora_B.default.weight"] @ learned[f"{name}.lora_A.default.weight"]
    )
    torch.testing.assert_close(after[f"{name}.weight"], expected)
    assert {key for key in learned if ".lora_" not in key} == head
    assert ViltForQuestionAnswering.from_pretrained(tmp_path / "checkpoint").config.num_labels == 5
