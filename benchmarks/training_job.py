"""A whole training job, as a pipeline's checkpoint runs it, on generated questions.

    python benchmarks/training_job.py [--device cuda] [--strategy full] [--questions 8192] [--set NAME=VALUE]

Where `training.py` measures steps that find their batches ready, here nothing is: images lie as JPEGs in a pack, are
decoded once, read ahead, and the worker trains in a process of its own. Random weights of ViLT-B/32's size, images of
COCO's shapes, four questions about each. Told are the seconds of the whole and of its epochs, questions per second, the
share of time that a step waited for its data, and peaks of memory. Needs torch, transformers, peft, pyarrow, Pillow.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transformers
from measuring import describe_machine
from training_inputs import NUM_ANSWERS, generate_jpegs
from training_models import build_model
from training_pixels import write_pack

from vqa_pipeline.answers.vocabulary import AnswerVocabulary
from vqa_pipeline.modeling.backbones.wordpiece import build_tokenizer
from vqa_pipeline.modeling.jobs import TrainJob
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.modeling.stock import ViltForQuestionAnswering, ViltImageProcessorPil, ViltProcessor
from vqa_pipeline.schemas import QUESTIONS

QUESTIONS_PER_IMAGE = 4
_NUM_JPEGS = 64
_WORDS = [f"word{number}" for number in range(2_000)]
_LENGTHS = (4, 5, 5, 6, 6, 7, 7, 8, 9, 12)
"""Words of a question."""
_MAX_TOKENS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--strategy", default="full")
    parser.add_argument("--questions", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="a training setting")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = dict(pair.split("=", 1) for pair in options.set)
        backbone = str(write_backbone(folder / "backbone"))
        settings = TrainingSettings.model_validate(
            {
                "backbone": backbone,
                "strategy": options.strategy,
                "epochs": options.epochs,
                "batch_size": 128,
                "learning_rate": 1e-6,
                "patience": 0,
                "device": options.device,
                **given,
            }
        )
        told, steps = run_job(write_job(folder, options.questions, settings), folder)
    gpu = f", {torch.cuda.get_device_name()}" if options.device == "cuda" else ""
    print(f"{describe_machine()}{gpu}; torch {torch.__version__}, transformers {transformers.__version__}")
    print(describe(options.strategy, told, steps))


def write_backbone(folder: Path) -> Path:
    """A ViLT of B/32's size with random weights, and a tokenizer for the questions."""
    build_model(ViltForQuestionAnswering, torch.device("cpu")).save_pretrained(folder)
    tokenizer = build_tokenizer(_WORDS, _MAX_TOKENS)
    ViltProcessor(ViltImageProcessorPil(), tokenizer).save_pretrained(folder)
    return folder


def write_job(folder: Path, num_questions: int, settings: TrainingSettings) -> TrainJob:
    """Questions, images and vocabulary in files, and the job that trains on them."""
    jpegs = generate_jpegs(_NUM_JPEGS)
    num_images = num_questions // QUESTIONS_PER_IMAGE
    # a JPEG file may be followed by anything: so few pictures make many images
    images = [jpegs[number % _NUM_JPEGS] + number.to_bytes(4, "big") for number in range(num_images)]
    shas = [hashlib.sha256(image).hexdigest() for image in images]
    pack = write_pack(folder / "pack.parquet", shas, images)
    answers = [f"answer{number:04}" for number in range(NUM_ANSWERS)]
    vocabulary = folder / "vocabulary.json"
    vocabulary.write_text(AnswerVocabulary(answers=tuple(answers), counts=(1,) * len(answers)).to_json())
    generator = random.Random(0)
    train = _write_questions(folder / "train.parquet", "train", shas * QUESTIONS_PER_IMAGE, answers, generator)
    val = _write_questions(folder / "val.parquet", "val", shas[:128], answers, generator)
    return TrainJob(
        fingerprint="benchmark",
        settings=settings,
        metric="normalized",
        train_questions=(train,),
        val_questions=(val,),
        image_packs=(str(pack),),
        vocabulary=str(vocabulary),
        cache_folder=str(folder / "cache"),
        progress_folder=str(folder / "progress"),
        output_folder=str(folder / "checkpoint"),
    )


def _write_questions(
    path: Path, split: str, shas: Sequence[str], answers: Sequence[str], generator: random.Random
) -> str:
    rows = []
    for number, sha in enumerate(shas):
        answer = generator.choice(answers)
        rows.append(
            {
                "question_id": f"{split}/{number:08}",
                "source": split,
                "split": split,
                "image": f"{sha}.jpg",
                "image_sha256": sha,
                "question": " ".join(generator.choices(_WORDS, k=generator.choice(_LENGTHS))),
                "answers": [{"answer": answer, "answer_id": None, "answer_confidence": None}],
                "most_common_answer": answer,
                "repairs": [],
                "locator": {"file": "generated", "record": number},
            }
        )
    pq.write_table(pa.Table.from_pylist(rows, schema=QUESTIONS), path)
    return str(path)


def run_job(job: TrainJob, folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run it by the worker; its `training.json`, with the seconds of the whole, and the events of its steps."""
    (folder / "job.json").write_text(job.model_dump_json())
    begin = time.perf_counter()
    command = [sys.executable, "-m", "vqa_pipeline.worker", str(folder / "job.json")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    told = json.loads((Path(job.output_folder) / "training.json").read_bytes())
    told["whole_seconds"] = time.perf_counter() - begin
    return told, [event for event in events if event["event"] == "step"]


def describe(strategy: str, told: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> str:
    """What was measured, in a line each."""
    middle = statistics.median(step["questions_per_second"] for step in steps)
    size = f"{told['num_train_questions']:,} questions, {len(told['curve'])} epochs, {told['num_steps']:,} steps"
    host, gpu = (_tell_megabytes(told[f"{place}_memory_bytes"]) for place in ("host", "gpu"))
    lines = [
        f"{strategy}, {told['precision']}: {size}",
        f"seconds: {told['whole_seconds']:.1f} with the start of the process, {told['seconds']:.1f} of training",
        f"questions/s: {told['questions_per_second']:,.0f} with validation and saving, {middle:,.0f} between",
        f"waited for data: {steps[-1]['data_wait_fraction']:.2%} of the time of steps",
        f"peak memory: host {host}, GPU {gpu}",
        f"switches: {json.dumps(told['switches'])}",
        f"frozen work: {json.dumps(told['frozen_work'])}",
    ]
    return "\n".join(lines)


def _tell_megabytes(num_bytes: int | None) -> str:
    return "none" if num_bytes is None else f"{num_bytes / 1024**2:,.0f} MB"


if __name__ == "__main__":
    main()
