"""Doing a predict job: a checkpoint's answers to every question that has an image."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from vqa_pipeline.errors import TrainingCancelled
from vqa_pipeline.modeling.batches import BatchSource
from vqa_pipeline.modeling.checkpoint import Checkpoint, load_checkpoint
from vqa_pipeline.modeling.devices import Placement, choose_placement, use_threads
from vqa_pipeline.modeling.events import Report
from vqa_pipeline.modeling.forward import compute_logits
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.jobs import PredictJob
from vqa_pipeline.modeling.pixel_store import PixelStore
from vqa_pipeline.modeling.pixels import read_pixel_rules
from vqa_pipeline.modeling.questions import Asked, read_asked, tokenize
from vqa_pipeline.schemas import PREDICTIONS

NUM_TOP_ANSWERS = 5
VARIANT = "model"


def predict(job: PredictJob, report: Report, should_stop: Callable[[], bool]) -> None:
    """Write the predictions file; questions without image get no row.

    Raises:
        VocabularyMismatch: the checkpoint's weights and vocabulary do not belong together.
        BackboneError: the checkpoint cannot be read.
        TrainingCancelled: `should_stop` said so; nothing was written.
    """
    started = time.monotonic()
    threads = use_threads(job.threads)
    placement = choose_placement(job.device, job.precision)
    checkpoint = load_checkpoint(Path(job.checkpoint))
    splits = {split: [Path(file) for asked, file in job.questions if asked == split] for split, _ in job.questions}
    answering = Answering(checkpoint, placement, threads, job.batch_size)
    rows: list[dict[str, Any]] = []
    for split, files in splits.items():
        asked = read_asked(files)
        packs = ImagePacks([Path(pack) for pack in job.image_packs], asked.shas)
        answered = answering.answer(asked, packs, should_stop)
        constant = {"split": split, "variant": VARIANT, "checkpoint": job.checkpoint_version}
        rows += [{"question_id": question_id, **constant, **told} for question_id, told in answered]
    rows.sort(key=lambda row: row["question_id"])
    _write(rows, Path(job.output_file))
    seconds = round(time.monotonic() - started, 3)
    report({"event": "finished", "num_predictions": len(rows), "seconds": seconds})


class Answering:
    """A checkpoint ready to answer."""

    def __init__(self, checkpoint: Checkpoint, placement: Placement, threads: int, batch_size: int) -> None:
        self._checkpoint, self._placement = checkpoint, placement
        self._threads, self._batch_size = threads, batch_size
        self._model = checkpoint.model.to(placement.device).eval()
        self._rules = read_pixel_rules(checkpoint.processor.image_processor)

    def answer(
        self, asked: Asked, packs: ImagePacks, should_stop: Callable[[], bool]
    ) -> list[tuple[str, dict[str, Any]]]:
        """Question id and `answer`, `score`, `top_answers` of every question, in no particular order.

        Raises:
            TrainingCancelled: `should_stop` said so.
        """
        tokenizer, config = self._checkpoint.processor.tokenizer, self._model.config
        tokenized = tokenize(asked.questions, tokenizer, config.max_position_embeddings, "checkpoint")
        pixels = PixelStore(packs, sorted(set(asked.shas)), self._rules, self._threads)
        pixels.fill(should_stop)
        batches = BatchSource(asked, tokenized, pixels, self._placement.device)
        answered: list[tuple[str, dict[str, Any]]] = []
        with torch.inference_mode():
            for positions in batches.plan_reading(self._batch_size):
                if should_stop():
                    raise TrainingCancelled(0, None)
                logits = compute_logits(self._model, batches.load(positions), self._placement)
                told = self._describe(logits.sigmoid().cpu())
                answered += zip([asked.question_ids[position] for position in positions], told, strict=True)
        return answered

    def _describe(self, scores: torch.Tensor) -> list[dict[str, Any]]:
        """The best answers of each row of scores (batch, answers); ties in the order of the vocabulary."""
        ordered = scores.sort(dim=-1, descending=True, stable=True)
        best_scores = ordered.values[:, :NUM_TOP_ANSWERS].tolist()
        best_indexes = ordered.indices[:, :NUM_TOP_ANSWERS].tolist()
        return [self._name(indexes, row) for indexes, row in zip(best_indexes, best_scores, strict=True)]

    def _name(self, indexes: Sequence[int], scores: Sequence[float]) -> dict[str, Any]:
        answers = self._checkpoint.vocabulary.answers
        top = [{"answer": answers[index], "score": score} for index, score in zip(indexes, scores, strict=True)]
        return {**top[0], "top_answers": top}


def _write(rows: list[dict[str, Any]], path: Path) -> None:
    unfinished = path.with_name(f".{path.name}")
    pq.write_table(pa.Table.from_pylist(rows, schema=PREDICTIONS), unfinished, compression="zstd")
    unfinished.replace(path)
