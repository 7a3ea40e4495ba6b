from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from modeling_world import World
from training_world import BadGradients, Cramped, Poisoned, Trial, are_equal

from vqa_pipeline.curation.corrections import Correction, read_corrections
from vqa_pipeline.errors import NonFiniteLoss, OutOfMemory

NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


# ------------------------------------------------------------------------------------------- numbers stay finite


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_step_whose_gradient_is_not_finite_changes_nothing_though_its_loss_is(
    world: World, tmp_path: Path, bad: float
) -> None:
    trial = Trial(world, tmp_path, lambda inputs: BadGradients(inputs, bad, lambda call: True), epochs=1)
    before = trial.weights()
    with pytest.raises(NonFiniteLoss):
        trial.run()
    assert are_equal(trial.weights(), before)


def test_a_poisoned_question_costs_one_step_of_every_epoch_and_is_named(world: World, tmp_path: Path) -> None:
    trial = Trial(world, tmp_path, lambda inputs: Poisoned(inputs, positions={7}), epochs=3)
    state = trial.run()
    poisoned = trial.question_ids[7]
    assert (state.skips.num_steps, state.skips.suspects, state.num_returns) == (3, {poisoned: 3}, 0)
    assert all(math.isfinite(point.loss) for point in state.curve)
    assert len(trial.events.named("step")) == 18 - 3
    told = [event["message"] for event in trial.events.named("log")]
    assert len(told) == 1  # said once, not in every epoch
    assert poisoned in told[0]


def test_the_mean_loss_of_an_epoch_is_that_of_its_updates(world: World, tmp_path: Path) -> None:
    trial = Trial(world, tmp_path, lambda inputs: Poisoned(inputs, positions={7}), epochs=1)
    state = trial.run()
    losses = [event["loss"] for event in trial.events.named("step")]
    assert len(losses) == 5
    assert state.curve[0].loss == pytest.approx(sum(losses) / 5)


def test_too_many_in_a_row_return_to_good_weights_at_half_the_rate(world: World, tmp_path: Path) -> None:
    """Six steps an epoch: the second epoch is lost after its first step, the third is healthy."""
    trial = Trial(world, tmp_path, lambda inputs: Poisoned(inputs, calls=range(8, 13)), epochs=3, warmup_fraction=0.0)
    state = trial.run()
    assert (state.num_returns, state.skips.num_steps, state.skips.is_failing) == (1, 5, False)
    rates = {event["step"]: event["learning_rate"] for event in trial.events.named("step")}
    assert rates[7] == pytest.approx(1e-3 * 12 / 18)
    assert rates[13] == pytest.approx(1e-3 * 6 / 18 / 2)
    assert "step 12, training returns to the weights of step 6" in trial.events.named("log")[-1]["message"]
    assert state.curve[1].val_accuracy == state.curve[0].val_accuracy  # of the same weights


def test_what_does_not_help_twice_fails_and_leaves_corrections_to_review(world: World, tmp_path: Path) -> None:
    trial = Trial(world, tmp_path, lambda inputs: BadGradients(inputs, math.nan, lambda call: call % 6 != 1), epochs=9)
    with pytest.raises(NonFiniteLoss) as caught:
        trial.run()
    error = caught.value
    assert (error.step, error.epoch) == (18, 3)  # each epoch is one update and five skipped steps, noticed at its end
    assert error.review == trial.progress.folder / "corrections"
    assert 0 < len(error.question_ids) <= 36
    written = error.review / "w.csv"
    assert read_corrections("w", written) == ()  # nothing is decided yet
    lines = written.read_text().splitlines()
    assert len(lines) == len(error.question_ids) + 1
    first = error.question_ids[0]
    assert lines[1].startswith(f"{first},,,")
    written.write_text("\n".join([lines[0], lines[1].replace(f"{first},,,", f"{first},,drop,"), *lines[2:]]))
    assert read_corrections("w", written) == (Correction(question_id=first, action="drop"),)


def test_an_epoch_without_any_update_fails(world: World, tmp_path: Path) -> None:
    trial = Trial(world, tmp_path, lambda inputs: Poisoned(inputs, calls={1}), epochs=2, batch_size=99)
    trial.run()  # one of two steps of an epoch is lost
    trial = Trial(world, tmp_path / "all", lambda inputs: Poisoned(inputs, calls={1, 2}), epochs=2, batch_size=99)
    with pytest.raises(NonFiniteLoss):
        trial.run()


# ------------------------------------------------------------------------------------------- memory finds its own size


@pytest.mark.parametrize(
    "error", [NO_MEMORY, RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_halves_what_is_computed_at_once_and_goes_on(
    world: World, tmp_path: Path, error: Exception
) -> None:
    plenty = Trial(world, tmp_path / "plenty")
    plenty.run()
    cramped = Trial(world, tmp_path / "cramped", lambda inputs: Cramped(inputs, 3, error, after=4))
    state = cramped.run()
    assert state.micro_batch == 2
    asked = cramped.inputs.asked[4:]
    assert asked[: asked.index(2)] == [8, 4]  # the failed step is done again, with fewer at once
    assert max(asked[2:]) == 2
    losses = [[event["loss"] for event in trial.events.named("step")] for trial in (plenty, cramped)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)  # the same batches, the same schedule
    for name, weight in plenty.weights().items():
        torch.testing.assert_close(cramped.weights()[name], weight, rtol=1e-3, atol=1e-4)
    told = [event["message"] for event in cramped.events.named("log")]
    assert ["4 questions" in told[0], "2 questions" in told[1], len(told)] == [True, True, 2]


def test_one_question_that_does_not_fit_names_its_shape(world: World, tmp_path: Path) -> None:
    trial = Trial(world, tmp_path, lambda inputs: Cramped(inputs, 0, NO_MEMORY))
    with pytest.raises(OutOfMemory, match=r"x 8 pixels, 7 tokens\) does not fit into memory: CUDA out of memory"):
        trial.run()


def test_another_error_is_not_taken_for_memory(world: World, tmp_path: Path) -> None:
    trial = Trial(world, tmp_path, lambda inputs: Cramped(inputs, 4, RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        trial.run()
    assert trial.inputs.asked[-1] == 8  # and not once more with fewer
