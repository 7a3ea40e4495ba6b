"""The learning rate as a function of the step: up linearly, then down linearly to zero."""

from __future__ import annotations


def compute_rate_factor(step: int, num_steps: int, warmup_fraction: float) -> float:
    """Share in (0, 1] of the peak rate for step 1 … `num_steps`.

    It rises over the first `warmup_fraction` of the steps, in equal parts that end at 1, and then falls in equal parts
    that would reach 0 one step after the last.

    Source: the schedule of ViLT's fine-tuning (dandelin/ViLT 762fd39, `get_polynomial_decay_schedule_with_warmup`).
    """
    warmup_steps = int(warmup_fraction * num_steps)
    if step <= warmup_steps:
        return step / warmup_steps
    return (num_steps - step + 1) / (num_steps - warmup_steps)
