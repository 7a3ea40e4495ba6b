"""The training loop: batches in, updates, an evaluation after every epoch, progress on disk.

Order and dropout are pure functions of (seed, epoch, step), and whatever is decided is decided at steps known
beforehand; so the state of a training is the weights that learn, AdamW's moments and a few numbers, and stopped at any
step and resumed, it ends with the same bits on a CPU. The device is waited for when numbers are read: every 16 steps,
and about once a second to show them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, NoReturn

from vqa_pipeline.errors import NonFiniteLoss, TrainingCancelled
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.events import Report, log, tell_progress
from vqa_pipeline.modeling.inputs import Examples
from vqa_pipeline.modeling.memory import MicroBatch, Relieve, measure_memory
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.modeling.strategies import Learnable
from vqa_pipeline.modeling.training.evaluation import Earned, average_by_type, earn_credits
from vqa_pipeline.modeling.training.finiteness import MAX_RETURNS, RATE_DROP, find_suspects, write_suspects
from vqa_pipeline.modeling.training.known_sizes import KnownSizes
from vqa_pipeline.modeling.training.optimizer import Optimizer
from vqa_pipeline.modeling.training.pace import SavePace, Stopwatch
from vqa_pipeline.modeling.training.processes import Processes
from vqa_pipeline.modeling.training.saved_progress import Saved, SavedProgress
from vqa_pipeline.modeling.training.schedule import compute_rate_factor
from vqa_pipeline.modeling.training.state import Best, CurvePoint, TrainingState
from vqa_pipeline.modeling.training.step import Stepper
from vqa_pipeline.modeling.training.tally import StepTold, Tally
from vqa_pipeline.progress import Throttle

ShouldStop = Callable[[], bool]

DECISION_STEPS = 16
"""Every so many steps, and at an epoch's end, it is decided whether losses have been finite enough to go on."""

GOOD_STEPS = 1024
"""Every so many steps, and at an epoch's end, progress becomes one to return to. A multiple of `DECISION_STEPS`."""

_SHOWN_SECONDS = 1.0


class Setup(NamedTuple):
    """What is trained, and how."""

    model: Any
    learnable: Learnable
    settings: TrainingSettings
    placement: Placement
    processes: Processes
    patience: int
    """Epochs without a better validation score after which it ends; 0: never."""
    relieve: Relieve = lambda: None
    """What to do when one question at a time does not fit into memory."""


class Training:
    """One training, from wherever its progress stands to its end."""

    def __init__(
        self,
        setup: Setup,
        train: Examples,
        val: Examples,
        progress: SavedProgress,
        state: TrainingState,
        report: Report,
    ) -> None:
        self._setup, self._settings, self._train, self._val = setup, setup.settings, train, val
        self._progress, self._state, self._report = progress, state, report
        self._model = setup.model.to(setup.placement.device)
        self._optimizer = Optimizer(setup.learnable)
        self._micro_batch = MicroBatch(
            self._settings.micro_batch or self._settings.batch_size,
            partial(log, report),
            setup.relieve,
        )
        self._stepper = Stepper(
            self._model,
            train,
            self._optimizer,
            self._micro_batch,
            setup.processes,
            self._settings.clip_norm,
            self._settings.seed,
        )
        self._tally = Tally(DECISION_STEPS, self._settings.batch_size, setup.placement.device)
        self._shown, self._pace = Throttle(_SHOWN_SECONDS), SavePace()
        self._epoch_steps = train.batches.count_batches(self._settings.batch_size)
        self.num_steps = self._settings.epochs * self._epoch_steps
        """Optimizer steps when nothing ends it early."""
        self._watch, self._first_step = Stopwatch(state.seconds), state.step

    def restore(self, saved: Saved) -> None:
        """Go on from saved progress: its weights, moments and numbers, and as many questions at once."""
        self._state = saved.state
        self._optimizer.set_weights(saved.weights)
        self._optimizer.set_tensors(saved.optimizer)
        self._micro_batch.size = min(self._micro_batch.size, saved.state.micro_batch)

    def fit_memory(self, known: KnownSizes, *work: str) -> None:
        """Find how many questions can be computed at once, by rehearsing the largest step.

        Nothing is tried where that is set, is known from before, or comes with the progress resumed from.

        Args:
            known: What was found before.
            work: All that memory depends on, but for the shape of the step: the hardware, the model, what learns.

        Raises:
            OutOfMemory: one question at a time does not fit.
        """
        if self._settings.micro_batch or self._state.micro_batch:
            return
        largest = self._train.batches.find_largest(self._settings.batch_size)
        shape = f"{len(largest)} questions of {self._train.batches.describe(largest)}"
        size = known.get(shape, *work)
        if not self._setup.processes.any(size is None):
            self._micro_batch.size = min(size or self._micro_batch.size, self._settings.batch_size)
            return
        self._stepper.rehearse(largest, self._tally)
        if self._setup.processes.is_main:
            known.put(self._micro_batch.size, shape, *work)

    def run(self, should_stop: ShouldStop) -> TrainingState:
        """Train to the end; afterwards the model of the main process has the weights of the best epoch.

        Raises:
            TrainingCancelled: `should_stop` said so; progress is saved.
            NonFiniteLoss: losses or gradients are not finite again and again; nothing was updated with them.
            OutOfMemory: one question at a time does not fit.
            DiskError: progress cannot be saved.
        """
        self._watch, self._first_step = Stopwatch(self._state.seconds), self._state.step
        self._setup.processes.spread(self._optimizer.get_weights().values())
        if not self._state.good:
            self._save(is_good=True)
        while not self._is_over():
            self._run_epoch(should_stop)
        if self._state.best is not None and self._setup.processes.is_main:
            self._optimizer.set_weights(self._progress.load_best(self._state.best))
        return self._state

    def _is_over(self) -> bool:
        curve, best = self._state.curve, self._state.best
        if len(curve) == self._settings.epochs:
            return True
        waited = len(curve) - best.epoch if best else 0
        return self._setup.patience > 0 and waited >= self._setup.patience

    def _run_epoch(self, should_stop: ShouldStop) -> None:
        epoch, state = self._state.next_epoch, self._state
        plan = self._train.batches.plan_training(self._settings.batch_size, self._settings.seed, epoch)
        rest = plan[state.step - (epoch - 1) * self._epoch_steps :]
        for step, positions in enumerate(self._train.inputs.follow(rest, self._stepper.cut), state.step + 1):
            self._leave_if_asked(should_stop)
            self._stepper.take(step, positions, self._compute_rate(step), self._tally)
            self._keep_up(step)
        self._read()
        self._return_if_failing()
        self._leave_if_asked(should_stop)
        self._finish_epoch(should_stop)

    def _keep_up(self, step: int) -> None:
        """Read, decide and save as a step brings it."""
        decides = step % DECISION_STEPS == 0
        if decides or self._shown():
            self._read()
        if decides:
            self._return_if_failing()
        is_good = step % GOOD_STEPS == 0 and not self._state.skips.streak
        if is_good or step % self._settings.checkpoint_every_steps == 0 or self._pace.is_due():
            self._read()
            self._save(is_good=is_good)

    def _compute_rate(self, step: int) -> float:
        factor = compute_rate_factor(step, self.num_steps, self._settings.warmup_fraction)
        return self._setup.learnable.learning_rate * factor * RATE_DROP**self._state.num_returns

    def _read(self) -> None:
        """Bring the state up to the last step taken, and tell of every step since."""
        for told in self._tally.read():
            question_ids = [self._train.batches.question_ids[position] for position in told.positions]
            skips = self._state.skips.note(told, question_ids)
            changes: dict[str, Any] = {"step": told.step, "skips": skips, "seconds": self._watch.total()}
            if told.skipped:
                self._tell_skip(told, find_suspects(told, question_ids))
            else:
                changes["epoch_loss"] = self._state.epoch_loss + told.loss
                changes["epoch_updates"] = self._state.epoch_updates + 1
                self._report(self._describe_step(told))
            self._state = self._state.model_copy(update=changes)

    def _tell_skip(self, told: StepTold, suspects: list[str]) -> None:
        if set(suspects) <= self._state.skips.suspects.keys():
            return  # told before
        named = ", ".join(suspects[:4]) + (", …" if len(suspects) > 4 else "")  # noqa: PLR2004 - as many as a line takes
        log(self._report, f"Step {told.step} is skipped, as its loss or gradient is not finite: look at {named}.")

    def _describe_step(self, told: StepTold) -> dict[str, Any]:
        seconds = self._watch.elapsed() / (told.step - self._first_step)
        return {
            "event": "step",
            "step": told.step,
            "epoch": self._state.next_epoch,
            "loss": told.loss,
            "learning_rate": self._compute_rate(told.step),
            "gradient_norm": told.gradient_norm,
            "questions_per_second": round(len(told.positions) / seconds, 1),
            "data_wait_fraction": round(self._train.inputs.waited_seconds / max(self._watch.elapsed(), 1e-9), 4),
            "eta_seconds": round(seconds * (self.num_steps - told.step), 1),
            **measure_memory(self._setup.placement.device),
        }

    def _return_if_failing(self) -> None:
        """Go back to weights that were good, at half the rate; the schedule and the order of questions go on."""
        state = self._state
        if not state.skips.is_failing:
            return
        if state.num_returns == MAX_RETURNS or state.step == self.num_steps:
            raise self._give_up()
        saved = self._progress.load_good(state.good)
        self._optimizer.set_weights(saved.weights)
        self._optimizer.set_tensors(saved.optimizer)
        self._state = state.model_copy(update={"num_returns": state.num_returns + 1, "skips": state.skips.forgive()})
        log(
            self._report,
            f"Losses or gradients are not finite step after step: at step {state.step}, training returns to the "
            f"weights of step {saved.state.step} and goes on at half the rate.",
        )

    def _give_up(self) -> NonFiniteLoss:
        state, skips = self._state, self._state.skips
        review = write_suspects(self._progress.folder / "corrections", skips)
        rate = self._compute_rate(state.step)
        return NonFiniteLoss(state.step, state.next_epoch, rate, skips.rank_suspects(), review)

    def _finish_epoch(self, should_stop: ShouldStop) -> None:
        if not self._state.epoch_updates:
            raise self._give_up()
        earned = self.evaluate(should_stop)
        if earned is None:
            self._cancel()
        state, accuracy = self._state, float(earned.mean(dtype="float64"))
        point = CurvePoint(
            epoch=state.next_epoch,
            step=state.step,
            loss=state.epoch_loss / state.epoch_updates,
            learning_rate=self._compute_rate(state.step),
            val_accuracy=accuracy,
            val_by_answer_type=average_by_type(earned, self._val.answer_types),
            seconds=self._watch.total(),
        )
        best = state.best
        if best is None or accuracy > best.val_accuracy:
            file, digest = self._save_best()
            best = Best(epoch=point.epoch, step=state.step, val_accuracy=accuracy, file=file, digest=digest)
        told = {"curve": (*state.curve, point), "best": best, "epoch_loss": 0.0, "epoch_updates": 0}
        self._state = state.model_copy(update=told)
        self._save(is_good=not state.skips.streak)
        self._report({"event": "epoch", **point.model_dump(mode="json"), "best": best.epoch == point.epoch})

    def evaluate(self, should_stop: ShouldStop) -> Earned | None:
        """What the best answer to each validation question earns, (questions,); None when stopped on the way."""
        self._model.eval()
        processes, progress = self._setup.processes, partial(tell_progress, self._report)
        return earn_credits(self._val, self._settings.batch_size, self._micro_batch, processes, should_stop, progress)

    def _save_best(self) -> tuple[str, str]:
        """File and digest of the weights; processes other than the main one need to know of neither."""
        if not self._setup.processes.is_main:
            return "", ""
        return self._progress.save_best(self._state.step, self._optimizer.get_weights())

    def _save(self, *, is_good: bool = False) -> None:
        """Save the state, as one to return to where it is good."""
        changes = {"seconds": self._watch.total(), "micro_batch": self._micro_batch.size}
        self._state = self._state.model_copy(update=changes)
        if is_good:
            self._state = self._state.model_copy(update={"good": self._state.name})
        if self._setup.processes.is_main:
            self._pace.save(self._write)

    def _write(self) -> None:
        self._progress.save(self._state, self._optimizer.get_weights(), self._optimizer.get_tensors())

    def _leave_if_asked(self, should_stop: ShouldStop) -> None:
        if self._setup.processes.any(should_stop()):
            self._cancel()

    def _cancel(self) -> NoReturn:
        self._read()
        with self._setup.processes.main_first():  # nobody leaves before it is saved: that would end the main one
            self._save()
        raise TrainingCancelled(self._state.step, self._progress.folder / self._state.name)
