"""The prior of a new head, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from vqa_pipeline.modeling.answer_prior import compute_log_odds


def test_an_answer_starts_as_likely_as_it_is():
    shares = torch.sigmoid(compute_log_odds([99, 49, 0], 199))
    assert shares.tolist() == pytest.approx([99.5 / 200, 49.5 / 200, 0.5 / 200])


def test_an_answer_to_every_question_and_one_to_none_stay_possible():
    always, never = compute_log_odds([10, 0], 10).tolist()
    assert always == pytest.approx(math.log(10.5 / 0.5))
    assert never == pytest.approx(-always)


def test_counts_of_more_questions_than_are_trained_on_are_no_certainty():
    (often,) = compute_log_odds([12], 10).tolist()
    assert math.isfinite(often)


@pytest.mark.parametrize("num_answers", [10, 200, 3129])
def test_the_loss_at_the_start_hardly_depends_on_the_vocabulary(num_answers):
    counts = [max(1, 4000 // rank) for rank in range(1, num_answers + 1)]
    logits = compute_log_odds(counts, sum(counts))[None]
    target = functional.one_hot(torch.tensor([3]), num_answers).float()
    loss = functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    assert loss < 7  # starting at one half: 0.69 for every answer
