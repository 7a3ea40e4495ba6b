"""The shapes world run through all stages, with a worker that is right so often and sure of it so much, by chance."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from fake_worker import FakeWorker

from vqa_pipeline import stages
from vqa_pipeline.deployment import Deployment
from vqa_pipeline.modeling.jobs import PredictJob, TrainJob
from vqa_pipeline.pipeline import Pipeline, PipelineSettings
from vqa_pipeline.schemas import PREDICTIONS

_CHANCE = "chance.json"
"""In a checkpoint: how often it is right."""


class ChanceWorker(FakeWorker):
    """Gives right answers to a share of the questions, to a smaller one where the image is another's."""

    def __init__(self, right: float) -> None:
        super().__init__()
        self.right = right

    def _train(self, job: TrainJob) -> None:
        super()._train(job)
        path = Path(job.output_folder) / "training.json"
        told = json.loads(path.read_text())
        told["curve"] = [
            {
                "epoch": epoch,
                "step": 40 * epoch,
                "loss": 3.2 * 0.75**epoch + 0.2,
                "learning_rate": 0.001 * (1 - epoch / 12),
                "val_accuracy": 0.9 - 0.6 * 0.7**epoch - 0.01 * (epoch % 2),
                "seconds": 4.0 * epoch,
            }
            for epoch in range(1, 13)
        ]
        path.write_text(json.dumps(told | {"best_epoch": 12, "num_steps": 480, "seconds": 48.0}))
        (path.parent / _CHANCE).write_text(json.dumps(self.right))

    def _predict(self, job: PredictJob) -> None:
        super()._predict(job)
        asked = [row for _, file in job.questions for row in pq.read_table(file).to_pylist()]
        truth = {row["question_id"]: row["most_common_answer"] for row in asked}
        answers = json.loads((Path(job.checkpoint) / "vocabulary.json").read_text())["answers"]
        rows = pq.read_table(job.output_file).to_pylist()
        right = json.loads((Path(job.checkpoint) / _CHANCE).read_text())
        for row in rows:
            row.update(_choose(truth[row["question_id"]], answers, row, right if row["variant"] == "model" else 0.3))
        pq.write_table(pa.Table.from_pylist(rows, PREDICTIONS), job.output_file)


def _choose(truth: str, answers: list[str], row: dict, share: float) -> dict:
    """What a model that is right about a share of the questions answers, by chance that depends on the row alone."""
    chance = random.Random(f"{row['question_id']} {row['variant']}")
    right = chance.random() < share
    sure = chance.betavariate(8, 1.5) if right or chance.random() < 0.3 else chance.betavariate(3, 3)
    answer = truth if right else chance.choice([one for one in answers if one != truth])
    told = {name: sure for name in ("score", "probability") if name in row}
    return {"answer": answer, **told, "top_answers": [{"answer": answer, **told}]}


def run_shapes(root: Path, images: int, right: float, **settings) -> stages.Outcome:
    """All stages to the metrics, and the checkpoint put into use; the broken rows of the world are rejected."""
    source = {"name": "shapes", "format": "shapes", "images": images, "image_pixels": 128}
    declared = {"sources": [source], "training": {"backbone": "tiny"}, "dataset": {"max_reject_fraction": 0.5}}
    pipeline = Pipeline("demo", PipelineSettings.model_validate(declared | settings), root)
    worker, said = ChanceWorker(right), []
    stages.observe_source(pipeline, "shapes", said.append)
    stages.build_records(pipeline, "shapes", said.append)
    stages.build_dataset(pipeline, said.append)
    stages.build_vocabulary(pipeline, said.append)
    checkpoint = stages.train_checkpoint(pipeline, pipeline.settings.training, worker, said.append).version
    stages.predict(pipeline, worker, said.append)
    done = stages.evaluate(pipeline, said.append)
    Deployment(stages.open_store(pipeline)).deploy(checkpoint, "", "promoted", "it is new")
    return done
