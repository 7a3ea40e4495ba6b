"""One optimizer step on one batch, computed in as many parts as memory asks for.

The parts change how much memory a step takes, never which step it is: the gradient is that of the mean loss over the
whole batch. Nothing here waits for the device; what is to be known is left in the tally.
"""

from __future__ import annotations

from typing import Any

import torch

from vqa_pipeline.modeling.batches import Positions
from vqa_pipeline.modeling.devices import send
from vqa_pipeline.modeling.inputs import Examples
from vqa_pipeline.modeling.memory import MicroBatch
from vqa_pipeline.modeling.training.loss import answer_losses
from vqa_pipeline.modeling.training.optimizer import Optimizer
from vqa_pipeline.modeling.training.processes import Processes, take_share
from vqa_pipeline.modeling.training.tally import Row, Tally


class Stepper:
    """Takes steps."""

    def __init__(
        self,
        model: Any,
        examples: Examples,
        optimizer: Optimizer,
        micro_batch: MicroBatch,
        processes: Processes,
        clip_norm: float,
        seed: int,
    ) -> None:
        self._model, self._examples, self._optimizer = model, examples, optimizer
        self._micro_batch, self._processes = micro_batch, processes
        self._clip_norm, self._seed = clip_norm, seed

    def take(self, step: int, positions: Positions, rate: float, tally: Tally) -> None:
        """Update the model with a batch, unless its loss or gradient is not finite; the tally tells.

        A step that runs out of memory is computed again from its beginning, with the same random numbers.

        Raises:
            OutOfMemory: one question at a time does not fit.
        """
        row = tally.open(len(positions))
        self._compute_gradient(step, positions, row)
        row.skipped.copy_(~(torch.isfinite(row.norm) & torch.isfinite(row.losses.sum())))
        self._optimizer.update(rate, row.skipped)
        tally.close(step, positions)

    def rehearse(self, positions: Positions, tally: Tally) -> None:
        """Do all that a step does and leave everything as it was, bit for bit: the update is one that is skipped.

        Raises:
            OutOfMemory: one question at a time does not fit.
        """
        row = tally.open(len(positions))
        self._compute_gradient(0, positions, row)
        self._optimizer.update(0.0, row.skipped.fill_(1))
        self._optimizer.clear()

    def _compute_gradient(self, step: int, positions: Positions, row: Row) -> None:
        self._model.train()
        own = self._processes.share(len(positions))

        def attempt(size: int) -> None:
            torch.manual_seed(_mix(self._seed, step, own.start))
            self._optimizer.clear()
            for start in range(own.start, own.stop, size):
                part = slice(start, min(start + size, own.stop))
                losses = self._compute_losses(positions[part])
                (losses.sum() / len(positions)).backward()  # type: ignore[no-untyped-call]
                row.losses[part] = losses.detach()

        self._micro_batch.fit(attempt, lambda: self._examples.batches.describe(positions))
        self._processes.sum([*self._optimizer.fill_gradients(), row.losses])
        row.norm.copy_(self._optimizer.clip(self._clip_norm))

    def cut(self, batch: Positions) -> list[Positions]:
        """The parts in which a batch will be computed, unless memory runs out."""
        return self._micro_batch.cut(take_share(batch, self._processes))

    def _compute_losses(self, positions: Positions) -> torch.Tensor:
        logits = self._examples.inputs.compute_logits(positions)
        return answer_losses(logits, send(self._examples.credits.fill(positions), logits.device))


def _mix(seed: int, step: int, first: int) -> int:
    """A seed for the randomness inside a step, such as dropout, of a share that begins with the batch's `first`."""
    return (seed * 1_000_003 + step + first * 2**40) % 2**63
