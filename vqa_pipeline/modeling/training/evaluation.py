"""What a model's best answers earn on questions whose credits are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from vqa_pipeline.modeling.batches import Positions
from vqa_pipeline.modeling.devices import send
from vqa_pipeline.modeling.inputs import Examples
from vqa_pipeline.modeling.memory import MicroBatch
from vqa_pipeline.modeling.training.processes import Processes, take_share
from vqa_pipeline.progress import Progress, follow, silent

Earned = np.ndarray[Any, np.dtype[np.float32]]


def earn_credits(
    examples: Examples,
    batch_size: int,
    micro_batch: MicroBatch,
    processes: Processes,
    should_stop: Callable[[], bool],
    progress: Progress = silent,
) -> Earned | None:
    """The credit in [0, 1] that the best answer to each question earns, (questions,); None when stopped on the way.

    The model must be in evaluation mode. Nothing waits for the device before the end.

    Raises:
        OutOfMemory: one question at a time does not fit.
    """
    earned: list[torch.Tensor] = []
    places: list[Positions] = []
    with torch.inference_mode():
        plan = examples.batches.plan_reading(batch_size)
        read = examples.inputs.follow(plan, lambda batch: micro_batch.cut(take_share(batch, processes)))
        for batch in follow(read, progress, "validating", len(examples.credits), "questions", len):
            if processes.any(should_stop()):
                return None
            positions = take_share(batch, processes)
            if len(positions):
                describe = partial(examples.batches.describe, positions)
                earned.append(micro_batch.compute(positions, partial(_earn, examples), describe))
                places.append(positions)
    return _gather(earned, places, len(examples.credits), processes)


def average_by_type(earned: Earned, answer_types: Sequence[str | None]) -> dict[str, float]:
    """VQA accuracy by type of answer, in alphabetical order; questions without a type are in no group."""
    groups: dict[str, list[int]] = defaultdict(list)
    for position, kind in enumerate(answer_types):
        if kind is not None:
            groups[kind].append(position)
    return {kind: float(earned[groups[kind]].mean(dtype=np.float64)) for kind in sorted(groups)}


def _earn(examples: Examples, positions: Positions) -> torch.Tensor:
    logits = examples.inputs.compute_logits(positions)
    scores = send(examples.credits.fill(positions), logits.device)
    return scores.gather(1, logits.argmax(dim=-1, keepdim=True)).squeeze(1)


def _gather(earned: list[torch.Tensor], places: list[Positions], num_questions: int, processes: Processes) -> Earned:
    everything = np.zeros(num_questions, np.float32)
    if earned:
        everything[np.concatenate(places)] = torch.cat(earned).cpu().numpy()
    total = torch.from_numpy(everything)
    processes.sum([total])
    return total.numpy()
