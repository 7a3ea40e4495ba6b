"""The training loop: batches in, updates, an evaluation after every epoch, progress on disk.

Plain torch rather than accelerate: there is one process on one device, and placing a model there is one call. Order
and dropout are pure functions of (seed, epoch, step), so the state of a training is its weights, AdamW's moments and a
few numbers; stopped at any step and resumed, it ends with the same bits on a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import torch

from vqa_pipeline.errors import NonFiniteLoss, TrainingCancelled
from vqa_pipeline.modeling.batches import BatchSource, Positions
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.events import Report
from vqa_pipeline.modeling.forward import compute_logits
from vqa_pipeline.modeling.ragged import Credits
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.modeling.strategies import Learnable
from vqa_pipeline.modeling.training.loss import answer_loss
from vqa_pipeline.modeling.training.optimizer import Optimizer
from vqa_pipeline.modeling.training.saved_progress import Best, CurvePoint, SavedProgress, TrainingState
from vqa_pipeline.modeling.training.schedule import compute_rate_factor

ShouldStop = Callable[[], bool]


class Examples(NamedTuple):
    """Questions, and credits of the answers to them: targets in training, scores in validation."""

    batches: BatchSource
    credits: Credits


class Training:
    """One training, from wherever its progress stands to its end."""

    def __init__(
        self,
        model: Any,
        learnable: Learnable,
        settings: TrainingSettings,
        placement: Placement,
        train: Examples,
        val: Examples,
        patience: int,
    ) -> None:
        """`patience`: epochs without a better validation score after which it ends; 0: never."""
        self._model = model.to(placement.device)
        self._settings, self._placement, self._patience = settings, placement, patience
        self._train, self._val = train, val
        self._optimizer = Optimizer(learnable)
        self._epoch_steps = train.batches.count_batches(settings.batch_size)
        self.num_steps = settings.epochs * self._epoch_steps
        """Optimizer steps when nothing ends it early."""

    def run(
        self, progress: SavedProgress, state: TrainingState, report: Report, should_stop: ShouldStop
    ) -> TrainingState:
        """Train to the end, from `state`; afterwards the model has the weights of the best epoch.

        Raises:
            TrainingCancelled: `should_stop` said so; progress is saved.
            NonFiniteLoss: a loss or gradient is not finite; nothing was updated with it.
        """
        while not self._is_over(state):
            state = self._run_epoch(progress, state, report, should_stop)
        if state.best is not None:
            self._model.load_state_dict(progress.load_best(state.best))
        return state

    def restore(self, weights: dict[str, torch.Tensor], optimizer: dict[str, torch.Tensor]) -> None:
        """Take weights and moments from saved progress."""
        self._model.load_state_dict(weights)
        self._optimizer.set_tensors(optimizer)

    def _is_over(self, state: TrainingState) -> bool:
        if len(state.curve) == self._settings.epochs:
            return True
        waited = len(state.curve) - state.best.epoch if state.best else 0
        return self._patience > 0 and waited >= self._patience

    def _run_epoch(
        self, progress: SavedProgress, state: TrainingState, report: Report, should_stop: ShouldStop
    ) -> TrainingState:
        epoch = len(state.curve) + 1
        plan = self._train.batches.plan_training(self._settings.batch_size, self._settings.seed, epoch)
        clock, first_step = _Clock(state.seconds), state.step
        for positions in plan[state.step - (epoch - 1) * self._epoch_steps :]:
            if should_stop():
                self._cancel(progress, state)
            before, state = state, self._step(state, epoch, positions, clock)
            loss, per_step = state.epoch_loss - before.epoch_loss, clock.elapsed() / (state.step - first_step)
            report(self._describe_step(state.step, epoch, loss, len(positions) / per_step, per_step))
            if state.step % self._settings.checkpoint_every_steps == 0 and state.step % self._epoch_steps:
                self._save(progress, state)
        if should_stop():
            self._cancel(progress, state)
        state = self._finish_epoch(progress, state, epoch, clock, should_stop)
        self._save(progress, state)
        report(_describe_epoch(state))
        return state

    def _step(self, state: TrainingState, epoch: int, positions: Positions, clock: _Clock) -> TrainingState:
        """One update."""
        step = state.step + 1
        rate = self._compute_rate(step)
        torch.manual_seed(_mix(self._settings.seed, step))
        self._model.train()
        self._optimizer.clear()
        logits = compute_logits(self._model, self._train.batches.load(positions), self._placement)
        loss = answer_loss(logits, self._train.credits.fill(positions).to(logits.device))
        loss.backward()  # type: ignore[no-untyped-call]
        norm = self._optimizer.clip(self._settings.clip_norm)
        told_loss, told_norm = torch.stack([loss.detach(), norm]).tolist()
        if not (math.isfinite(told_loss) and math.isfinite(told_norm)):
            question_ids = [self._train.batches.question_ids[position] for position in positions]
            raise NonFiniteLoss(step, epoch, rate, question_ids)
        self._optimizer.update(rate)
        return state.model_copy(
            update={"step": step, "epoch_loss": state.epoch_loss + told_loss, "seconds": clock.total()}
        )

    def _compute_rate(self, step: int) -> float:
        factor = compute_rate_factor(step, self.num_steps, self._settings.warmup_fraction)
        return self._settings.learning_rate * factor

    def _finish_epoch(
        self, progress: SavedProgress, state: TrainingState, epoch: int, clock: _Clock, should_stop: ShouldStop
    ) -> TrainingState:
        accuracy = self.evaluate(should_stop)
        if accuracy is None:
            self._cancel(progress, state)
        point = CurvePoint(
            epoch=epoch,
            step=state.step,
            loss=state.epoch_loss / self._epoch_steps,
            learning_rate=self._compute_rate(state.step),
            val_accuracy=accuracy,
            seconds=clock.total(),
        )
        best = state.best
        if best is None or accuracy > best.val_accuracy:
            file, digest = progress.save_best(state.step, self._model.state_dict())
            best = Best(epoch=epoch, step=state.step, val_accuracy=accuracy, file=file, digest=digest)
        curve = (*state.curve, point)
        return state.model_copy(update={"epoch_loss": 0.0, "curve": curve, "best": best, "seconds": clock.total()})

    def evaluate(self, should_stop: ShouldStop) -> float | None:
        """VQA accuracy on the validation questions, in [0, 1]; None when stopped on the way."""
        self._model.eval()
        earned = 0.0
        with torch.inference_mode():
            for positions in self._val.batches.plan_reading(self._settings.batch_size):
                if should_stop():
                    return None
                logits = compute_logits(self._model, self._val.batches.load(positions), self._placement)
                scores = self._val.credits.fill(positions)
                chosen = logits.argmax(dim=-1, keepdim=True).cpu()
                earned += float(scores.gather(1, chosen).double().sum())
        return earned / len(self._val.credits)

    def _save(self, progress: SavedProgress, state: TrainingState) -> None:
        progress.save(state, self._model.state_dict(), self._optimizer.get_tensors())

    def _cancel(self, progress: SavedProgress, state: TrainingState) -> NoReturn:
        path = progress.save(state, self._model.state_dict(), self._optimizer.get_tensors())
        raise TrainingCancelled(state.step, path)

    def _describe_step(self, step: int, epoch: int, loss: float, speed: float, step_seconds: float) -> dict[str, Any]:
        return {
            "event": "step",
            "step": step,
            "epoch": epoch,
            "loss": loss,
            "learning_rate": self._compute_rate(step),
            "questions_per_second": round(speed, 1),
            "eta_seconds": round(step_seconds * (self.num_steps - step), 1),
        }


class _Clock:
    """Training time: what earlier runs took, and this one."""

    def __init__(self, before: float) -> None:
        self._before, self._started = before, time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self._started

    def total(self) -> float:
        return self._before + self.elapsed()


def _describe_epoch(state: TrainingState) -> dict[str, Any]:
    point = state.curve[-1]
    is_best = state.best is not None and state.best.epoch == point.epoch
    return {"event": "epoch", **point.model_dump(mode="json"), "best": is_best}


def _mix(seed: int, step: int) -> int:
    """A seed for the randomness inside a step, such as dropout."""
    return (seed * 1_000_003 + step) % 2**63
