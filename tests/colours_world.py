"""Pictures of one colour each, a table that asks for it, and the stages run on them in order without Dagster."""

from __future__ import annotations

import csv
from pathlib import Path

from fake_worker import FakeWorker
from PIL import Image

from vqa_pipeline import stages
from vqa_pipeline.pipeline import Pipeline, PipelineSettings

COLOURS = ["red", "green", "blue", "yellow"]
SPLITS = ["train"] * 12 + ["val"] * 4 + ["test"] * 4


def write_source(root: Path, rows: int = 20, change: dict[int, dict[str, str]] | None = None) -> None:
    """Pictures of one colour each and a table that asks for it; `change` alters fields of single rows."""
    images = root / "raw" / "images"
    images.mkdir(parents=True, exist_ok=True)
    with (root / "raw" / "questions.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["id", "image", "question", "answer", "split"])
        table.writeheader()
        for number in range(rows):
            colour = COLOURS[number % 4]
            Image.new("RGB", (16 + number, 16), colour).save(images / f"{number}.png")
            row = {
                "id": str(number),
                "image": f"{number}.png",
                "question": "what colour is it?",
                "answer": colour,
                "split": SPLITS[number % len(SPLITS)],
            }
            table.writerow({**row, **(change or {}).get(number, {})})


def declare_source(**settings) -> dict[str, object]:
    return {
        "name": "colours",
        "format": "table",
        "files": "raw/questions.csv",
        "image_root": "raw/images",
        "columns": {"id": "id", "image": "image", "question": "question", "answers": "answer"},
        "splits": {"column": "split"},
        **settings,
    }


def make_pipeline(root: Path, **settings) -> Pipeline:
    declared = {
        "sources": [declare_source()],
        "training": {"backbone": "tiny"},
        **settings,
    }
    return Pipeline("clinic", PipelineSettings.model_validate(declared), root)


class Runner:
    """Runs the stages of a pipeline in order, as Dagster would."""

    def __init__(self, pipeline: Pipeline, worker: FakeWorker | None = None) -> None:
        self.pipeline, self.worker, self.said = pipeline, worker or FakeWorker(), []
        self.training = pipeline.settings.training

    def run(self, until: str = "metrics") -> dict[str, stages.Outcome]:
        p, log = self.pipeline, self.said.append
        steps = {
            "raw": lambda: stages.observe_source(p, "colours", log),
            "records": lambda: stages.build_records(p, "colours", log),
            "dataset": lambda: stages.build_dataset(p, log),
            "vocabulary": lambda: stages.build_vocabulary(p, log),
            "checkpoint": lambda: stages.train_checkpoint(p, self.training, self.worker, log),
            "predictions": lambda: stages.predict(p, self.worker, log),
            "metrics": lambda: stages.evaluate(p, log),
            "champion": lambda: stages.decide_champion(p, log),
        }
        done = {}
        for name, step in steps.items():
            done[name] = step()
            if name == until:
                break
        return done
