"""Doing a predict job: a checkpoint's answers to every question that has an image."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from vqa_pipeline.errors import TrainingCancelled
from vqa_pipeline.modeling.batches import BatchSource
from vqa_pipeline.modeling.checkpoint import Checkpoint, load_checkpoint
from vqa_pipeline.modeling.devices import Placement, choose_placement, use_threads
from vqa_pipeline.modeling.events import Report, Reporter, log, tell_progress
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.inputs import WholeForward
from vqa_pipeline.modeling.jobs import PredictJob
from vqa_pipeline.modeling.memory import MicroBatch
from vqa_pipeline.modeling.pixel_cache import PixelCache
from vqa_pipeline.modeling.pixels import read_pixel_rules
from vqa_pipeline.modeling.questions import Asked, describe_losses, read_asked, tokenize
from vqa_pipeline.progress import follow
from vqa_pipeline.schemas import EVALUATED_VARIANT, PREDICTIONS, SHUFFLED_IMAGE, Split

NUM_TOP_ANSWERS = 5

_Array = np.ndarray[Any, np.dtype[Any]]


def predict(job: PredictJob, report: Report, should_stop: Callable[[], bool]) -> None:
    """Write the predictions file; questions without image get no row.

    Raises:
        VocabularyMismatch: the checkpoint's weights and vocabulary do not belong together.
        BackboneError: the checkpoint cannot be read.
        OutOfMemory: one question at a time does not fit.
        TrainingCancelled: `should_stop` said so; nothing was written.
    """
    started, report = time.monotonic(), Reporter(report)
    threads = use_threads(job.threads)
    checkpoint = load_checkpoint(Path(job.checkpoint))
    placement = choose_placement(job.device, job.precision, checkpoint.model.config.hidden_size)
    splits = {split: [Path(file) for asked, file in job.questions if asked == split] for split, _ in job.questions}
    answering = Answering(checkpoint, placement, threads, job.batch_size, Path(job.cache_folder), report)
    tables = []
    for split, files in splits.items():
        asked = read_asked(files)
        packs = ImagePacks([Path(pack) for pack in job.image_packs], asked.shas)
        for variant, shown in _list_variants(asked, shuffled=split in job.shuffled_splits).items():
            answered = answering.answer(split, shown, packs, should_stop)
            made_by = {"split": split, "variant": variant, "checkpoint": job.checkpoint_version}
            tables.append(_build_table(made_by, answered, checkpoint.vocabulary.answers))
    order = [("variant", "ascending"), ("question_id", "ascending")]
    predictions = pa.concat_tables([PREDICTIONS.empty_table(), *tables]).sort_by(order).combine_chunks()
    _write(predictions, Path(job.output_file))
    seconds = round(time.monotonic() - started, 3)
    report({"event": "finished", "num_predictions": len(predictions), "seconds": seconds})


def _list_variants(asked: Asked, *, shuffled: bool) -> dict[str, Asked]:
    """What is asked, by variant; without a second image nothing can be shuffled."""
    variants = {EVALUATED_VARIANT: asked}
    if shuffled and len(set(asked.shas)) > 1:
        variants[SHUFFLED_IMAGE] = asked.show_other_images()
    return variants


class Answered(NamedTuple):
    """The best answers to some questions, as numbers: named only when they are written, they are small in memory."""

    question_ids: list[str]
    indexes: _Array
    """Answer indexes, int32 (questions, answers), the best first; ties in the order of the vocabulary."""
    scores: _Array
    """Sigmoids of their logits, float32 (questions, answers), in [0, 1]."""
    probabilities: _Array
    """Of being right, as the checkpoint is calibrated; like `scores`."""


class Answering:
    """A checkpoint ready to answer."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        placement: Placement,
        threads: int,
        batch_size: int,
        cache_folder: Path,
        report: Report,
    ) -> None:
        self._checkpoint, self._placement, self._report = checkpoint, placement, report
        self._threads, self._batch_size, self._cache_folder = threads, batch_size, cache_folder
        self._micro_batch = MicroBatch(batch_size, partial(log, report))
        self._model = checkpoint.model.to(placement.device).eval()
        self._rules = read_pixel_rules(checkpoint.processor.image_processor)

    def answer(self, split: Split, asked: Asked, packs: ImagePacks, should_stop: Callable[[], bool]) -> Answered:
        """The best answers to every question, in the order asked; what was lost of the questions is logged.

        Raises:
            TrainingCancelled: `should_stop` said so.
            OutOfMemory: one question at a time does not fit.
        """
        max_tokens = self._model.config.max_position_embeddings
        tokenized = tokenize(asked.questions, self._checkpoint.processor.tokenizer, max_tokens)
        for message in describe_losses(tokenized, max_tokens, split):
            log(self._report, message)
        shas = sorted(set(asked.shas))
        pixels = PixelCache(self._cache_folder / "pixels", packs, shas, self._rules, self._threads)
        pixels.fill(should_stop, self._report)
        batches = BatchSource(asked, tokenized, pixels, self._placement.device)
        inputs = WholeForward(self._model, batches, self._placement)
        shape = (len(asked), min(NUM_TOP_ANSWERS, len(self._checkpoint.vocabulary)))
        answered = Answered(asked.question_ids, np.empty(shape, np.int32), *(np.empty(shape, np.float32) for _ in "sp"))
        with torch.inference_mode():
            read = inputs.follow(batches.plan_reading(self._batch_size), self._micro_batch.cut)
            progress = partial(tell_progress, self._report)
            for positions in follow(read, progress, f"answering {split}", len(asked), "questions", len):
                if should_stop():
                    raise TrainingCancelled(0, None)
                describe = partial(batches.describe, positions)
                logits = self._micro_batch.compute(positions, inputs.compute_logits, describe)
                best = logits.cpu().sort(dim=-1, descending=True, stable=True)
                highest = best.values[:, : shape[1]]
                answered.indexes[positions] = best.indices[:, : shape[1]]
                answered.scores[positions] = highest.sigmoid()
                answered.probabilities[positions] = self._checkpoint.calibration.apply(highest.double().numpy())
        return answered


def _build_table(made_by: Mapping[str, str], answered: Answered, answers: Sequence[str]) -> pa.Table:
    """Rows of `schemas.PREDICTIONS`."""
    num_questions, num_top = answered.indexes.shape
    kind = PREDICTIONS.field("top_answers").type
    names = pa.array(answers, pa.string()).take(pa.array(answered.indexes.reshape(-1)))
    told = [names, pa.array(answered.scores.reshape(-1)), pa.array(answered.probabilities.reshape(-1))]
    top = pa.StructArray.from_arrays(told, fields=list(kind.value_type))
    offsets = pa.array(np.arange(num_questions + 1, dtype=np.int32) * num_top)
    best = pa.array(np.arange(num_questions) * num_top)
    columns = {
        "question_id": pa.array(answered.question_ids, pa.string()),
        **{name: pa.repeat(value, num_questions) for name, value in made_by.items()},
        "answer": names.take(best),
        "score": top.field("score").take(best),
        "probability": top.field("probability").take(best),
        "top_answers": pa.ListArray.from_arrays(offsets, top, kind),
    }
    return pa.table(columns, schema=PREDICTIONS)


def _write(predictions: pa.Table, path: Path) -> None:
    unfinished = path.with_name(f".{path.name}")
    pq.write_table(predictions, unfinished, compression="zstd")
    unfinished.replace(path)
