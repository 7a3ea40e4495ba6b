"""What the plan adds to the check of images: tasks, tables, near-duplicates, what is remembered.

    python benchmarks/image_checks.py [--rows 2000] [--repeats 3]

JPEGs of 640 x 480 pixels, all different.

    dataset     resolving, checking, relating and packing the images of as many questions: what `dataset` does
    known       the same when all images are known from an earlier run: read and hashed, not decoded
    plain loop  the baseline: read, hash, decode and describe each, and keep the answers in a list
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from measuring import Benchmark, run_benchmark


def write_world(folder: Path, num_rows: int) -> None:
    """Images, the records of a question about each, and what a first run learns of them."""
    import json

    from PIL import Image

    (folder / "images").mkdir()
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(num_rows):
            soft = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
            picture = Image.fromarray(soft).resize((640, 480), Image.Resampling.BICUBIC)
            picture.save(folder / "images" / f"{number:06d}.jpg", quality=92)
            row = {"id": number, "image": f"{number:06d}.jpg", "question": "What is it?", "answers": ["a thing"]}
            file.write(json.dumps(row) + "\n")
    (folder / "first").mkdir()
    _build(folder, folder / "first", folder / "known.arrow")


def _build(folder: Path, output: Path, known: Path) -> int:
    from vqa_pipeline.curation.plan import Known, build_dataset
    from vqa_pipeline.curation.records import validate_source
    from vqa_pipeline.curation.settings import DatasetSettings
    from vqa_pipeline.curation.source_records import SourceRecords
    from vqa_pipeline.sources.formats import get_format
    from vqa_pipeline.sources.formats.table import TableSource

    told = {"name": "table", "format": "table", "files": "rows.jsonl", "image_root": "images", "columns": {"id": "id"}}
    source = TableSource.model_validate({**told, "splits": "by_image"})
    for name in ("records", "dataset"):
        (output / name).mkdir()
    read = validate_source(source, folder, output / "records")
    images = get_format(source).find_image_root(source, folder)
    records = SourceRecords("table", output / "records", images, read.num_question_records, 0)
    summary = build_dataset([records], DatasetSettings(), Known(images=known), output / "scratch", output / "dataset")
    return summary.num_images


def build(folder: Path, output: Path) -> int:
    """Returns the number of images."""
    return _build(folder, output, output / "known.arrow")


def build_again(folder: Path, output: Path) -> int:
    """Returns the number of images."""
    return _build(folder, output, folder / "known.arrow")


def loop(folder: Path, _output: Path) -> int:
    """Returns the number of images."""
    from vqa_pipeline.sources.images import inspect_image

    facts = []
    for path in sorted((folder / "images").iterdir()):
        data = path.read_bytes()
        facts.append((path.name, hashlib.sha256(data).hexdigest(), inspect_image(data)))
    return len(facts)


BENCHMARK = Benchmark(
    title="{rows} JPEGs of 640 x 480 pixels; count: images",
    prepare=write_world,
    contenders={"dataset": build, "known": build_again, "plain loop": loop},
    baseline="plain loop",
    rows=2_000,
)

if __name__ == "__main__":
    run_benchmark(BENCHMARK, __doc__)
