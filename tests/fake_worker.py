"""A worker without torch: `train` copies the vocabulary, `predict` answers from a table or with the first answer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vqa_pipeline.modeling.jobs import PredictJob, TrainJob
from vqa_pipeline.schemas import PREDICTIONS


class FakeWorker:
    """Does jobs in this process and remembers them."""

    def __init__(self, answers: Mapping[str, str] | None = None) -> None:
        self.answers = answers or {}
        self.reloaded = {"num_questions": 2, "num_same_answers": 2, "largest_difference": 0.0, "problem": None}
        self.jobs: list[TrainJob | PredictJob] = []

    def __call__(self, job: TrainJob | PredictJob) -> None:
        self.jobs.append(job)
        if isinstance(job, TrainJob):
            self._train(job)
        else:
            self._predict(job)

    @property
    def num_trainings(self) -> int:
        return sum(isinstance(job, TrainJob) for job in self.jobs)

    def _train(self, job: TrainJob) -> None:
        folder = Path(job.output_folder)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(job.vocabulary, folder / "vocabulary.json")
        (folder / "model.safetensors").write_text(job.fingerprint)
        calibration = {"temperature": 2.0, "offset": 0.0, "abstain_threshold": 0.5, "num_questions": 4}
        (folder / "calibration.json").write_text(json.dumps(calibration | {"ece_before": 0.2, "ece": 0.1}))
        point = {"epoch": 1, "step": 2, "loss": 1.5, "learning_rate": 0.1, "val_accuracy": 0.5, "seconds": 0.1}
        told = {
            "fingerprint": job.fingerprint,
            "curve": [point],
            "learnable": {"num_parameters": 10, "num_learnable": 10, "parts": [], "names": ["classifier.weight"]},
            "best_epoch": 1,
            "best_val_accuracy": 0.5,
            "best_val_by_answer_type": {"other": 0.25, "yes/no": 0.75},
            "num_steps": 2,
            "num_skipped_steps": 0,
            "num_returns": 0,
            "micro_batch": 4,
            "host_memory_bytes": 2**30,
            "gpu_memory_bytes": None,
            "seconds": 0.1,
            "questions_per_second": 20.0,
            "num_train_questions": 4,
            "num_val_questions": 2,
            "device": "cpu",
            "hardware": "CPU (x86_64)",
            "precision": "fp32",
            "threads": 1,
            "switches": {"threads": {"value": 1, "reason": "asked for"}},
            "warm_start": None,
            "reloaded": self.reloaded,
            "frozen_work": {"num_layers": 0, "num_questions": 0, "num_cached": 0},
            "backbone": job.settings.backbone,
            "settings": job.settings.model_dump(mode="json"),
            "vocabulary_fingerprint": "",
            "packages": {"torch": "0.0"},
        }
        (folder / "training.json").write_text(json.dumps(told))

    def _predict(self, job: PredictJob) -> None:
        first = json.loads((Path(job.checkpoint) / "vocabulary.json").read_text())["answers"][0]
        rows = []
        for split, file in job.questions:
            for row in pq.read_table(file, columns=["question_id", "image_sha256"]).to_pylist():
                if row["image_sha256"] is None:
                    continue
                told = {"model": self.answers.get(row["question_id"], first)}
                if split in job.shuffled_splits:
                    told["shuffled_image"] = first
                rows += [self._answer(job, row["question_id"], split, *answered) for answered in told.items()]
        rows.sort(key=lambda row: (row["variant"], row["question_id"]))
        pq.write_table(pa.Table.from_pylist(rows, PREDICTIONS), job.output_file)

    def _answer(self, job: PredictJob, question_id: str, split: str, variant: str, answer: str) -> dict[str, Any]:
        return {
            "question_id": question_id,
            "split": split,
            "variant": variant,
            "checkpoint": job.checkpoint_version,
            "answer": answer,
            "score": 0.9,
            "probability": 0.8,
            "top_answers": [{"answer": answer, "score": 0.9, "probability": 0.8}],
        }
