"""Steps whose loss or gradient is not finite: counted, blamed on questions, forgiven as long as they are few.

Such a step updates nothing (see `optimizer`). One broken question costs one step of each epoch. Many such steps in a
row mean that the training has gone astray: it returns to earlier weights, at half the rate, and gives up when that does
not help. A pure function of the steps' numbers, whenever they are read.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from vqa_pipeline.files import write_atomically
from vqa_pipeline.modeling.training.tally import StepTold
from vqa_pipeline.schemas import Frozen

MAX_STREAK = 5
"""So many skipped steps in a row, and the training returns to earlier weights."""

MAX_RETURNS = 2
"""So often; then it fails."""

RATE_DROP = 0.5
"""What a return multiplies the rate by."""

CORRECTION_COLUMNS = (
    "question_id", "locator", "action", "question", "image", "answers", "split", "rule", "reason", "kind", "raw"
)  # fmt: skip
"""Header of a corrections file, as `curation.corrections` reads it: this room may not import that one."""

_MAX_SUSPECTS = 1000


class Skips(Frozen):
    """The steps skipped so far."""

    num_steps: int = 0
    streak: int = Field(0, description="How many of the last steps were skipped, up to now without a break.")
    is_failing: bool = Field(False, description="Whether a streak was too long since the last return.")
    suspects: dict[str, int] = Field(
        {}, description="In how many skipped steps a question's loss was not finite, or one of its batch mates' may be."
    )

    def note(self, told: StepTold, question_ids: Sequence[str]) -> Skips:
        """The skips after one more step, which may have been skipped or not; `question_ids` are its questions."""
        if not told.skipped:
            return self.model_copy(update={"streak": 0})
        streak = self.streak + 1
        return Skips(
            num_steps=self.num_steps + 1,
            streak=streak,
            is_failing=self.is_failing or streak >= MAX_STREAK,
            suspects=_count(self.suspects, find_suspects(told, question_ids)),
        )

    def forgive(self) -> Skips:
        """The skips after a return to earlier weights."""
        return self.model_copy(update={"streak": 0, "is_failing": False})

    def rank_suspects(self) -> list[str]:
        """The questions to look at, those of most skipped steps first."""
        return sorted(self.suspects, key=lambda question_id: (-self.suspects[question_id], question_id))


def find_suspects(told: StepTold, question_ids: Sequence[str]) -> list[str]:
    """Questions of a skipped step with a loss that is not finite; all of them where only the gradient is not."""
    broken = [question_id for question_id, loss in zip(question_ids, told.losses, strict=True) if not np.isfinite(loss)]
    return broken or list(question_ids)


def _count(suspects: Mapping[str, int], more: Sequence[str]) -> dict[str, int]:
    counted = dict(suspects)
    for question_id in more:
        if question_id in counted or len(counted) < _MAX_SUSPECTS:
            counted[question_id] = counted.get(question_id, 0) + 1
    return counted


def write_suspects(folder: Path, skips: Skips) -> Path:
    """Write the suspects as corrections files to review, one for each source; returns their folder.

    In the column `action` a person writes what is to be done with a question; as long as it is empty, nothing is.

    Raises:
        DiskError: they cannot be written.
    """
    by_source: dict[str, list[str]] = defaultdict(list)
    for question_id in skips.rank_suspects():
        by_source[question_id.partition("/")[0]].append(question_id)
    for source, question_ids in by_source.items():
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, CORRECTION_COLUMNS, restval="")
        writer.writeheader()
        for question_id in question_ids:
            reason = f"loss or gradient was not finite in {skips.suspects[question_id]} steps that it was part of"
            writer.writerow({"question_id": question_id, "rule": "not_finite", "reason": reason})
        write_atomically(folder / f"{source}.csv", text.getvalue().encode())
    return folder
