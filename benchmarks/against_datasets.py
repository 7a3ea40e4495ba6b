"""Curation beside the same checks written with Hugging Face `datasets`: rows without images.

    python benchmarks/against_datasets.py [--rows 300000] [--repeats 3]

The files are those of `curation.py`. Both contenders check ids, questions and answers, join the two files, keep each
row once and write Parquet.

    curation  one process; every row that is left out is kept with its reason
    datasets  the baseline: load_dataset, filter and map with two processes, to_parquet; what is left out is gone
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from curation import BROKEN_FRACTION, NUM_ANSWERS, curate, write_files
from measuring import Benchmark, run_benchmark

NUM_PROCESSES = 2


def check_question(row: dict[str, Any]) -> bool:
    """Whether a question can be used."""
    return (
        isinstance(row["question_id"], int)
        and isinstance(row["image_id"], int)
        and isinstance(row["question"], str)
        and bool(row["question"].strip())
    )


def check_annotation(row: dict[str, Any]) -> bool:
    """Whether an annotation can be used."""
    return isinstance(row["question_id"], int) and any(answer["answer"].strip() for answer in row["answers"])


def load_questions(folder: Path, cache: Path) -> Any:
    """Checked questions with their answers, each id once, as a `datasets.Dataset`."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets

    datasets.disable_progress_bars()
    loaded = {
        kind: datasets.load_dataset(
            "json", data_files=str(folder / f"{kind}.json"), field=kind, split="train", cache_dir=str(cache)
        )
        for kind in ("questions", "annotations")
    }
    questions = loaded["questions"].filter(check_question, num_proc=NUM_PROCESSES)
    annotations = loaded["annotations"].filter(check_annotation, num_proc=NUM_PROCESSES)
    ids = questions["question_id"][:]
    answers = dict(zip(annotations["question_id"][:], annotations["answers"][:], strict=True))
    last = {native_id: number for number, native_id in enumerate(ids)}
    kept = questions.select([number for number, one in enumerate(ids) if last[one] == number and one in answers])

    def join(row: dict[str, Any]) -> dict[str, Any]:
        return {"answers": answers[row["question_id"]], "image": f"COCO_train2014_{row['image_id']:012d}.jpg"}

    return kept.map(join, num_proc=NUM_PROCESSES)


def load_with_datasets(folder: Path, output: Path) -> int:
    """Returns the number of rows kept."""
    joined = load_questions(folder, output / "cache")
    joined.to_parquet(str(output / "questions.parquet"))
    return len(joined)


BENCHMARK = Benchmark(
    title=f"{{rows}} questions with {NUM_ANSWERS} answers each, {BROKEN_FRACTION:.0%} broken; count: questions kept",
    prepare=write_files,
    contenders={"curation": curate, "datasets": load_with_datasets},
    baseline="datasets",
    rows=300_000,
)

if __name__ == "__main__":
    run_benchmark(BENCHMARK, __doc__)
