"""A world small enough to train on in a second: pictures of one colour, asked which it is; files as `dataset` has them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.modeling.jobs import PredictJob, TrainJob
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.schemas import IMAGES, QUESTIONS

COLORS = {"red": (230, 20, 30), "green": (10, 220, 40), "blue": (30, 40, 240)}
VOCABULARY = AnswerVocabulary(answers=("yes", "no", "blue", "green", "red"), counts=(9, 8, 5, 5, 5))
_NAMES = list(COLORS)


class World(NamedTuple):
    folder: Path

    @property
    def packs(self) -> list[Path]:
        return [self.folder / "images-0.parquet", self.folder / "images-1.parquet"]

    def questions(self, split: str) -> Path:
        return self.folder / f"{split}.parquet"

    @property
    def vocabulary(self) -> Path:
        return self.folder / "vocabulary.json"


def png(color: tuple[int, int, int], width: int = 16, height: int = 16) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), color).save(file, "PNG")
    return file.getvalue()


def answer(text: str) -> dict[str, Any]:
    return {"answer": text, "answer_id": None, "answer_confidence": None}


def question_row(
    question_id: str,
    question: str,
    answers: Sequence[str] | None,
    sha256: str | None,
    split: str = "train",
    answer_type: str | None = None,
) -> dict[str, Any]:
    return {
        "question_id": question_id,
        "native_id": None,
        "source": "w",
        "split": split,
        "image": "x.png",
        "image_sha256": sha256,
        "question": question,
        "question_type": None,
        "answer_type": answer_type,
        "answers": None if answers is None else [answer(text) for text in answers],
        "most_common_answer": answers[0] if answers else None,
        "repairs": [],
        "locator": {"file": "q", "record": 0, "item": None, "byte_offset": None, "line": None},
    }


def write_questions(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows), schema=QUESTIONS), path)
    return path


def write_pack(path: Path, images: Sequence[bytes], row_group_size: int = 4) -> list[str]:
    """Write images as a pack; returns their digests in the order given."""
    digests = [hashlib.sha256(data).hexdigest() for data in images]
    rows = []
    for sha256, data in sorted(zip(digests, images, strict=True)):
        with Image.open(io.BytesIO(data)) as opened:
            width, height = opened.size
        rows.append(
            {
                "image_sha256": sha256,
                "image": {"bytes": data, "path": "x.png"},
                "width": width,
                "height": height,
                "mode": "RGB",
                "format": "PNG",
                "dhash": 0,
                "alterations": [],
            }
        )
    table = pa.Table.from_pylist(rows, schema=IMAGES)
    pq.write_table(table, path, row_group_size=row_group_size, compression="none")
    return digests


def write_world(folder: Path, num_images: int = 24) -> World:
    """Square and wide pictures alternate; one picture in six is for validation, one for testing."""
    folder.mkdir(parents=True, exist_ok=True)
    world, shades = World(folder), []
    for number in range(num_images):
        red, green, blue = COLORS[_NAMES[number % 3]]
        shades.append(png((red - number % 9, green, blue), 16 + 16 * (number % 2), 16))
    half = num_images // 2
    shas = write_pack(world.packs[0], shades[:half]) + write_pack(world.packs[1], shades[half:])
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    for number, sha256 in enumerate(shas):
        name, split = _NAMES[number % 3], {4: "val", 5: "test"}.get(number // 3 % 6, "train")
        asked = _NAMES[number // 2 % 3]
        rows[split] += [
            question_row(f"w/{number:03d}-0", "what color is it?", [name], sha256, split, "other"),
            question_row(
                f"w/{number:03d}-1", f"is it {asked}?", ["yes" if asked == name else "no"], sha256, split, "yes/no"
            ),
        ]
    rows["train"].append(question_row("w/no-image", "what color is it?", ["red"], None))
    rows["train"].append(question_row("w/unannotated", "what is it?", None, shas[0]))
    for split, listed in rows.items():
        write_questions(world.questions(split), listed)
    world.vocabulary.write_text(VOCABULARY.to_json(), encoding="utf-8")
    return world


SMALL = {
    "backbone": "tiny",
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "tiny_width": 32,
    "tiny_patch_pixels": 8,
    "tiny_image_pixels": 16,
    "threads": 1,
    "device": "cpu",
    "warmup_fraction": 0.1,
}


def settings(**changes: Any) -> TrainingSettings:
    return TrainingSettings.model_validate({**SMALL, **changes})


def train_job(world: World, folder: Path, fingerprint: str = "f" * 8, **changes: Any) -> TrainJob:
    return TrainJob(
        fingerprint=fingerprint,
        settings=settings(**changes),
        metric="normalized",
        train_questions=(str(world.questions("train")),),
        val_questions=(str(world.questions("val")),),
        image_packs=tuple(map(str, world.packs)),
        vocabulary=str(world.vocabulary),
        cache_folder=str(world.folder / "cache"),
        progress_folder=str(folder / "progress"),
        output_folder=str(folder / "checkpoint"),
    )


def head_job(world: World, trained: Path, folder: Path, **changes: Any) -> TrainJob:
    """A new head on the trunk of a trained checkpoint, with a cache of its own."""
    job = train_job(world, folder, **{"backbone": str(trained / "checkpoint"), "strategy": "head", **changes})
    return job.model_copy(update={"cache_folder": str(folder / "cache")})


def predict_job(world: World, folder: Path, checkpoint: Path | None = None) -> PredictJob:
    return PredictJob(
        checkpoint=str(checkpoint or folder / "checkpoint"),
        checkpoint_version="v1",
        questions=(("test", str(world.questions("test"))), ("train", str(world.questions("train")))),
        image_packs=tuple(map(str, world.packs)),
        cache_folder=str(world.folder / "cache"),
        batch_size=8,
        device="cpu",
        threads=1,
        output_file=str(folder / "predictions.parquet"),
    )


def never() -> bool:
    return False


class Events:
    """Remembers what a job reported."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []

    def __call__(self, event: dict[str, Any]) -> None:
        json.dumps(event)  # whoever listens gets it as JSON
        self.all.append(event)

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.all if event["event"] == name]
