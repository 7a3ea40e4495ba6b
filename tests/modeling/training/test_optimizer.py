from __future__ import annotations

import pytest
import torch
from torch import nn

from vqa_pipeline.modeling.strategies import Learnable, ParameterGroup
from vqa_pipeline.modeling.training.optimizer import Optimizer


def make(rate_factor: float = 1.0, weight_decay: float = 0.0) -> tuple[nn.Parameter, nn.Parameter, Optimizer]:
    trunk, head = nn.Parameter(torch.tensor([1.0, -2.0])), nn.Parameter(torch.tensor([3.0]))
    groups = (
        ParameterGroup(("trunk",), (trunk,), 1.0, weight_decay),
        ParameterGroup(("head",), (head,), rate_factor, weight_decay),
    )
    return trunk, head, Optimizer(Learnable(groups, 3, 3, 0.1))


def descend(parameters: tuple[nn.Parameter, nn.Parameter], optimizer: Optimizer, rate: float) -> None:
    optimizer.clear()
    sum((parameter**2).sum() for parameter in parameters).backward()
    optimizer.update(rate, torch.tensor(0.0))


def test_the_first_step_is_as_long_as_the_rate() -> None:
    trunk, head, optimizer = make(rate_factor=10.0)
    descend(
        (trunk, head), optimizer, 0.01
    )  # AdamW's first step has the sign of the gradient and the length of the rate
    torch.testing.assert_close(trunk.detach(), torch.tensor([0.99, -1.99]))
    torch.testing.assert_close(head.detach(), torch.tensor([2.9]))


def test_decay_is_decoupled_from_the_gradient() -> None:
    trunk, head, optimizer = make(weight_decay=0.1)
    descend((trunk, head), optimizer, 0.01)
    torch.testing.assert_close(head.detach(), torch.tensor([3 * (1 - 0.01 * 0.1) - 0.01]))


def test_moments_are_the_original_s() -> None:
    trunk, head, optimizer = make()
    descend((trunk, head), optimizer, 0.01)
    tensors = optimizer.get_tensors()
    torch.testing.assert_close(tensors["head/exp_avg"], torch.tensor([6.0 * (1 - 0.9)]))
    torch.testing.assert_close(tensors["head/exp_avg_sq"], torch.tensor([36.0 * (1 - 0.98)]))
    assert tensors["head/step"].item() == 1


def test_it_goes_on_from_saved_tensors_to_the_same_bits() -> None:
    trunk, head, optimizer = make()
    for _ in range(3):
        descend((trunk, head), optimizer, 0.01)
    saved = {name: tensor.clone() for name, tensor in optimizer.get_tensors().items()}
    other_trunk, other_head, other = make()
    with torch.no_grad():
        other_trunk.copy_(trunk)
        other_head.copy_(head)
    other.set_tensors(saved)
    for parameters, each in (((trunk, head), optimizer), ((other_trunk, other_head), other)):
        descend(parameters, each, 0.02)
    assert torch.equal(trunk, other_trunk)
    assert torch.equal(head, other_head)


def test_before_the_first_step_the_moments_are_there_and_zero() -> None:
    tensors = make()[2].get_tensors()
    assert sorted(tensors) == [f"{name}/{of}" for name in ("head", "trunk") for of in ("exp_avg", "exp_avg_sq", "step")]
    assert not any(tensor.any() for tensor in tensors.values())


def test_a_skipped_step_leaves_weights_moments_and_step_counter_bit_for_bit() -> None:
    trunk, head, optimizer = make(weight_decay=0.1)
    descend((trunk, head), optimizer, 0.01)
    before = {name: tensor.clone() for name, tensor in (optimizer.get_tensors() | optimizer.get_weights()).items()}
    trunk.grad[0] = float("nan")
    optimizer.update(0.01, torch.tensor(1.0))
    after = optimizer.get_tensors() | optimizer.get_weights()
    assert len(after) == 8
    assert all(torch.equal(after[name], before[name]) for name in before)
    descend((trunk, head), optimizer, 0.01)
    assert not torch.equal(trunk, before["trunk"])


def test_a_parameter_without_gradient_gets_zeros() -> None:
    trunk, head, optimizer = make()
    (trunk**2).sum().backward()
    gradients = optimizer.fill_gradients()
    assert [gradient.tolist() for gradient in gradients] == [[2.0, -4.0], [0.0]]


@pytest.mark.parametrize("max_norm", [1.0, 1000.0])
def test_clipping_bounds_the_norm_and_tells_what_it_was(max_norm: float) -> None:
    trunk, head, optimizer = make()
    sum((parameter**2).sum() for parameter in (trunk, head)).backward()
    norm = (4 + 16 + 36) ** 0.5
    assert optimizer.clip(max_norm).item() == pytest.approx(norm)
    clipped = torch.cat([trunk.grad, head.grad]).norm().item()
    assert clipped == pytest.approx(min(norm, max_norm), rel=1e-4)


def test_a_gradient_that_is_not_finite_is_told() -> None:
    trunk, head, optimizer = make()
    (trunk.sum() * float("inf") + head.sum()).backward()
    assert not torch.isfinite(optimizer.clip(1.0))
