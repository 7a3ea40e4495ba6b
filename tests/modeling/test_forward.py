from __future__ import annotations

import pytest
import torch

from vqa_pipeline.modeling.batches import Batch
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.fast_vilt import FastViltForQuestionAnswering
from vqa_pipeline.modeling.forward import compute_logits
from vqa_pipeline.modeling.stock import ViltConfig

CPU = Placement(torch.device("cpu"), "fp32")
CPU_BF16 = Placement(torch.device("cpu"), "bf16")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = ViltConfig(
        vocab_size=30,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        num_labels=7,
    )
    made = FastViltForQuestionAnswering(config)
    for parameter in made.parameters():  # stock positions start at zero, and would hide a mistake
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    return made.eval()


def make_batch(height: int = 32, width: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(5, 30, (3, 6), generator=generator)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]])
    return Batch(input_ids, mask, torch.randn(3, 3, height, width, generator=generator))


def test_questions_look_at_the_images_of_their_index(model) -> None:
    batch = make_batch()
    shared = batch._replace(pixel_values=batch.pixel_values[:2], image_index=torch.tensor([1, 0, 1]))
    spread = batch._replace(pixel_values=batch.pixel_values[[1, 0, 1]])
    torch.testing.assert_close(compute_logits(model, shared, CPU), compute_logits(model, spread, CPU))


def test_the_picture_matters(model) -> None:
    batch = make_batch()
    other = batch._replace(pixel_values=batch.pixel_values + 1)
    assert not torch.allclose(compute_logits(model, batch, CPU), compute_logits(model, other, CPU), atol=1e-2)


def test_padding_of_the_text_does_not_matter(model) -> None:
    batch = make_batch()
    garbled = torch.where(batch.attention_mask == 1, batch.input_ids, 7)
    torch.testing.assert_close(
        compute_logits(model, batch._replace(input_ids=garbled), CPU), compute_logits(model, batch, CPU)
    )


def test_logits_under_bf16_are_fp32_in_value_too(model) -> None:
    logits = compute_logits(model, make_batch(), CPU_BF16)
    assert logits.dtype == torch.float32
    rounded = logits.to(torch.bfloat16).float()
    assert (rounded != logits).double().mean() > 0.9  # one in 2 ** 16 is a bf16 number by chance


def test_logits_under_bf16_are_close_to_those_of_fp32(model) -> None:
    logits = compute_logits(model, make_batch(), CPU_BF16)
    torch.testing.assert_close(logits, compute_logits(model, make_batch(), CPU), atol=0.02, rtol=0.0)


def test_the_head_is_computed_in_fp32_inside_an_autocast_of_somebody_else(model) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = compute_logits(model, make_batch(), CPU)
    assert (logits.to(torch.bfloat16).float() != logits).double().mean() > 0.9
