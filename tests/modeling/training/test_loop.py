from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from modeling_world import World
from training_world import Astray, BadGradients, Cramped, Poisoned, StopAt, Trial, are_equal

from vqa_pipeline.curation.corrections import Correction, read_corrections
from vqa_pipeline.errors import NonFiniteLoss, OutOfMemory, TrainingCancelled
from vqa_pipeline.modeling.inputs import Inputs
from vqa_pipeline.modeling.training.known_sizes import KnownSizes

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


@pytest.mark.parametrize("asked", [2, 9, 12, 14, 18])
def test_stopped_before_between_or_after_returns_it_ends_with_the_same_bits(
    world: World, tmp_path: Path, asked: int
) -> None:
    """Whatever is decided is decided at the same steps, however often and whenever numbers were read and saved."""
    changes = {"epochs": 4, "batch_size": 6, "warmup_fraction": 0.0}

    def astray(inputs: Inputs) -> Inputs:
        return Astray(inputs, 0.0075)

    straight = Trial(world, tmp_path / "straight", astray, **changes)
    expected = straight.run()
    assert expected.num_returns == 1
    with pytest.raises(TrainingCancelled):
        Trial(world, tmp_path / "resumed", astray, **changes).run(StopAt(asked))
    resumed = Trial(world, tmp_path / "resumed", astray, **changes)
    state = resumed.run()
    assert are_equal(resumed.weights(), straight.weights())
    assert (state.skips, state.num_returns, state.good) == (expected.skips, expected.num_returns, expected.good)


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


def test_when_not_even_one_question_fits_the_training_is_relieved_and_goes_on(world: World, tmp_path: Path) -> None:
    devices: list[Cramped] = []

    def cramp(inputs: Inputs) -> Cramped:
        devices.append(Cramped(inputs, 0, NO_MEMORY))
        return devices[0]

    def relieve() -> str | None:
        devices[0].limit = 4
        return "less is kept"

    relieved = Trial(world, tmp_path / "relieved", cramp, relieve=relieve)
    assert relieved.run().micro_batch == 4
    assert devices[0].asked[:8] == [2, 2, 2, 1, 2, 8, 4, 4]  # the first batch has two questions, the second eight
    known = Trial(world, tmp_path / "known", micro_batch=4)
    known.run()
    assert are_equal(relieved.weights(), known.weights())


def test_a_rehearsal_finds_the_size_and_changes_no_bit(world: World, tmp_path: Path) -> None:
    trial = Trial(world, tmp_path, lambda inputs: Cramped(inputs, 3, NO_MEMORY))
    before, known = trial.weights(), KnownSizes(tmp_path / "known.json")
    trial.training.fit_memory(known, "a GPU", "a model")
    assert trial.inputs.asked == [8, 4, 2, 2, 2, 2]
    assert are_equal(trial.weights(), before)
    trial.run()
    assert max(trial.inputs.asked[6:]) == 2  # nothing failed any more
    given = Trial(world, tmp_path / "given", micro_batch=2)
    given.run()
    assert are_equal(trial.weights(), given.weights())


def test_a_size_that_was_found_is_not_tried_again_for_the_same_work_on_the_same_hardware(
    world: World, tmp_path: Path
) -> None:
    known = KnownSizes(tmp_path / "known.json")
    for name, work, tried in (("1", "a model", 6), ("2", "a model", 0), ("3", "another model", 6)):
        trial = Trial(world, tmp_path / name, lambda inputs: Cramped(inputs, 3, NO_MEMORY))
        trial.training.fit_memory(known, "a GPU", work)
        assert len(trial.inputs.asked) == tried
        assert trial.run().micro_batch == 2


@pytest.mark.parametrize("micro_batch", [1, 3, 64])
def test_parts_of_a_step_make_the_same_step(world: World, tmp_path: Path, micro_batch: int) -> None:
    whole = Trial(world, tmp_path / "whole", epochs=1)
    parts = Trial(
        world,
        tmp_path / "parts",
        lambda inputs: Cramped(inputs, micro_batch, NO_MEMORY),
        micro_batch=micro_batch,
        epochs=1,
    )
    whole.run()
    parts.run()
    assert max(parts.inputs.asked) == min(micro_batch, 8)
    told = [[event["gradient_norm"] for event in trial.events.named("step")] for trial in (whole, parts)]
    assert told[0] == pytest.approx(told[1], rel=1e-4)
    for name, weight in whole.weights().items():
        torch.testing.assert_close(parts.weights()[name], weight, rtol=1e-3, atol=1e-4)


def test_a_resumed_training_computes_as_many_at_once_as_before(world: World, tmp_path: Path) -> None:
    """The bits of a sum depend on it; memory that was short may be there again."""
    straight = Trial(world, tmp_path / "straight", lambda inputs: Cramped(inputs, 3, NO_MEMORY))
    straight.run()
    with pytest.raises(TrainingCancelled):
        Trial(world, tmp_path / "resumed", lambda inputs: Cramped(inputs, 3, NO_MEMORY)).run(StopAt(5))
    resumed = Trial(world, tmp_path / "resumed")
    resumed.run()
    assert are_equal(resumed.weights(), straight.weights())


def test_validation_that_runs_out_of_memory_goes_on_too(world: World, tmp_path: Path) -> None:
    trial = Trial(world, tmp_path, epochs=1, wrap_val=lambda inputs: Cramped(inputs, 3, NO_MEMORY))
    plenty = Trial(world, tmp_path / "plenty", epochs=1)
    assert trial.run().curve[0].val_accuracy == plenty.run().curve[0].val_accuracy
    assert trial.val_inputs.asked[:3] == [8, 4, 2]


def test_one_question_that_does_not_fit_names_its_shape(world: World, tmp_path: Path) -> None:
    trial = Trial(world, tmp_path, lambda inputs: Cramped(inputs, 0, NO_MEMORY))
    with pytest.raises(OutOfMemory, match=r"x 8 pixels, 7 tokens\) does not fit into memory: CUDA out of memory"):
        trial.run()


def test_another_error_is_not_taken_for_memory(world: World, tmp_path: Path) -> None:
    trial = Trial(world, tmp_path, lambda inputs: Cramped(inputs, 4, RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        trial.run()
    assert trial.inputs.asked[-1] == 8  # and not once more with fewer
