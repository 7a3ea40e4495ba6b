"""Whether a checkpoint, read back from its files, answers as the model did that was trained.

The last thing that a training does before its folder appears: what is compared went through merged adapters, tensor
files, processor and vocabulary, and is computed as predictions are, from the images on. It never changes the model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.errors import BackboneError, VocabularyMismatch
from vqa_pipeline.modeling.checkpoint import load_checkpoint
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.prediction import Answering
from vqa_pipeline.modeling.questions import Asked
from vqa_pipeline.modeling.training.calibrating import BestAnswers

NUM_QUESTIONS = 64
"""Enough to see any mix-up; half a minute of a CPU for a whole ViLT."""
_TOLERANCES = {"fp32": 1e-3, "bf16": 0.05}
"""Of scores in [0, 1]. What is rounded differently, as frozen work comes from a cache and adapters were merged, stays
well below."""
_FEWEST_SAME = 0.9
"""Share of equal answers; two that score the same within the tolerance may change places."""


class Reloaded(NamedTuple):
    """What came of the comparison, for `training.json`."""

    num_questions: int
    num_same_answers: int
    largest_difference: float
    """Between the scores of the best answers, which are in [0, 1]."""
    problem: str | None
    """None: it answers as the model that was trained; else what is wrong, in words, and what to do."""


class Reading(NamedTuple):
    """How questions are answered from files."""

    placement: Placement
    threads: int
    batch_size: int
    packs: ImagePacks


def compare_reloaded(
    folder: Path,
    vocabulary: AnswerVocabulary,
    asked: Asked,
    expected: BestAnswers,
    reading: Reading,
    should_stop: Callable[[], bool],
) -> Reloaded:
    """Read a checkpoint back and ask it some of the validation questions again.

    Args:
        folder: The checkpoint, all but `training.json`.
        vocabulary: The one that the model was trained with.
        asked: The validation questions.
        expected: What the trained model answered to them, in their order.
        reading: How they are answered.
        should_stop: Whether to leave.

    Raises:
        TrainingCancelled: `should_stop` said so.
        OutOfMemory: one question at a time does not fit.
    """
    chosen = np.unique(np.linspace(0, len(asked) - 1, NUM_QUESTIONS).astype(np.int64))
    try:
        checkpoint = load_checkpoint(folder, vocabulary)
    except (BackboneError, VocabularyMismatch) as error:
        return _judge(len(chosen), 0, 1.0, reading.placement.precision, f"it cannot be read: {error}")
    with TemporaryDirectory(prefix="reloaded-") as pixels:  # from the images on, whatever caches hold
        answering = Answering(
            checkpoint, reading.placement, reading.threads, reading.batch_size, Path(pixels), _tell_nobody
        )
        answered = answering.answer("val", asked.select(chosen), reading.packs, should_stop)
    scores = 1 / (1 + np.exp(-expected.logits[chosen]))
    num_same = int((answered.indexes[:, 0] == expected.indexes[chosen]).sum())
    difference = float(np.abs(answered.scores[:, 0] - scores).max())
    return _judge(len(chosen), num_same, difference, reading.placement.precision)


def _judge(
    num_questions: int, num_same: int, difference: float, precision: str, problem: str | None = None
) -> Reloaded:
    if not difference <= _TOLERANCES[precision] or num_same < _FEWEST_SAME * num_questions:  # a NaN is no agreement
        problem = problem or (
            f"read back from its files, it gives {num_same} of {num_questions} validation questions the same answer, "
            f"and scores differ by up to {difference:.3f}"
        )
        problem += ". Nothing is lost: run it again; if it stays so, report it with the file training.json"
    return Reloaded(num_questions, num_same, difference, problem)


def _tell_nobody(_event: dict[str, Any]) -> None:
    return
