from __future__ import annotations

import math

import pytest
import torch

from vqa_pipeline.modeling.training.loss import answer_losses


def test_it_is_summed_over_answers_for_each_question() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [2.0, -1.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.3, 0.0]])
    first = 3 * math.log(2)
    second = math.log1p(math.exp(-2)) + (math.log1p(math.exp(-1)) + 0.3) + math.log(2)
    # for a logit x and a target t: log(1 + exp(-x)) + (1 - t) x, here at x = -1: log(1 + e) - 0.7
    assert math.isclose(math.log1p(math.exp(-1)) + 0.3, math.log1p(math.e) - 0.7)
    assert answer_losses(logits, targets).tolist() == pytest.approx([first, second], abs=1e-6)


def test_it_is_fp32_whatever_the_logits_are() -> None:
    assert answer_losses(torch.zeros(1, 2, dtype=torch.bfloat16), torch.zeros(1, 2)).dtype == torch.float32


def test_a_question_without_known_answer_teaches_silence() -> None:
    logits = torch.zeros(1, 2, requires_grad=True)
    answer_losses(logits, torch.zeros(1, 2)).backward()
    assert (logits.grad > 0).all()


def test_a_bigger_vocabulary_does_not_weaken_an_answer_s_gradient() -> None:
    gradients = []
    for num_answers in (2, 2000):
        logits, targets = torch.zeros(1, num_answers, requires_grad=True), torch.zeros(1, num_answers)
        targets[0, 0] = 1
        answer_losses(logits, targets).sum().backward()
        gradients.append(logits.grad[0, 0].item())
    assert gradients[0] == gradients[1] == pytest.approx(-0.5)
