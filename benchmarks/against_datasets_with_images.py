"""Curation beside the same checks written with Hugging Face `datasets`: rows with images.

    python benchmarks/against_datasets_with_images.py [--rows 10000] [--repeats 3]

The files are those of `curation.py`, with a JPEG of 640 x 480 pixels for every five questions. Both contenders use two
processes, decode each image whole, hash its bytes, join everything and write the images' bytes into Parquet.

    curation  every row that is left out is kept with its reason; each image is decoded and stored once
    datasets  the baseline: what `against_datasets.py` does, and an image column that is checked and embedded
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from against_datasets import NUM_PROCESSES, load_questions
from curation import BROKEN_FRACTION, QUESTIONS_PER_IMAGE, curate, write_files
from measuring import Benchmark, run_benchmark
from PIL import Image

IMAGES = "images"


def write_all(folder: Path, num_rows: int) -> None:
    """Questions, annotations, and an image for every five questions."""
    write_files(folder, num_rows)
    (folder / IMAGES).mkdir()
    for number in range(-(-num_rows // QUESTIONS_PER_IMAGE)):
        chance = np.random.default_rng(number)
        coarse = Image.fromarray(chance.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        picture = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = np.clip(picture + chance.integers(-20, 20, picture.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / IMAGES / f"COCO_train2014_{100_000 + number:012d}.jpg", quality=90)


def curate_with_images(folder: Path, output: Path) -> int:
    """Returns the number of accepted questions."""
    return curate(folder, output, IMAGES, NUM_PROCESSES)


def load_with_datasets(folder: Path, output: Path) -> int:
    """Returns the number of rows kept."""

    def check(row: dict[str, Any]) -> dict[str, Any]:
        data = (folder / IMAGES / row["image"]).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            image.convert("RGB")
        return {"sha256": hashlib.sha256(data).hexdigest(), "image": {"bytes": data, "path": row["image"]}}

    joined = load_questions(folder, output / "cache").map(check, num_proc=NUM_PROCESSES)
    joined.to_parquet(str(output / "questions.parquet"))
    return len(joined)


BENCHMARK = Benchmark(
    title=f"{{rows}} questions on a fifth as many images, {BROKEN_FRACTION:.0%} broken; count: questions kept",
    prepare=write_all,
    contenders={"curation": curate_with_images, "datasets": load_with_datasets},
    baseline="datasets",
    rows=10_000,
)

if __name__ == "__main__":
    run_benchmark(BENCHMARK, __doc__)
