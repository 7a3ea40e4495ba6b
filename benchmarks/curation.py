"""How fast and with how much memory questions are curated, beside the script that people write instead.

    python benchmarks/curation.py [--rows 1000000] [--repeats 3]

Generates a VQA file in the official two-file form (ten answers to each question, no images, 1 % of the rows broken in
ways that people's files are), then lets each contender turn it into Parquet, in turn, each time in a process of its
own: wall seconds, CPU seconds and peak memory are that process's. Reported are medians, and ratios to the baseline.

    curation   read, validate, join, deduplicate, split, ledger: what `records` and `dataset` do, in one process
    json.load  the baseline: both files loaded whole, joined in a dictionary, written; rows that do not join are lost
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

QUESTIONS_PER_IMAGE = 5
NUM_ANSWERS = 10
BROKEN_FRACTION = 0.01
_ANSWERS = ("yes", "no", "2", "1", "white", "red", "blue", "left", "on the table", "a dog", "none", "T-shirt")
_CONFIDENCES = ("yes", "maybe", "no")


class Measured(NamedTuple):
    """One run of a contender."""

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float
    num_rows: int
    """Rows that it kept."""


# ------------------------------------------------------------------------------------------------------------ the data


def write_files(folder: Path, num_rows: int) -> None:
    """`questions.json` and `annotations.json`, the same for the same number of rows."""
    chance = random.Random(0)
    broken = set(chance.sample(range(num_rows), int(BROKEN_FRACTION * num_rows)))
    _write_list(folder / "questions.json", "questions", (_ask(row, row in broken) for row in range(num_rows)))
    _write_list(folder / "annotations.json", "annotations", (_answer(row, chance) for row in range(num_rows)))


def _write_list(path: Path, key: str, records: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"info": {{"version": "2.0"}}, "data_subtype": "train2014", "{key}": [')
        for number, record in enumerate(records):
            file.write(("" if number == 0 else ", ") + json.dumps(record))
        file.write("]}")


def _ask(row: int, is_broken: bool) -> dict[str, Any]:
    question = {
        "image_id": 100_000 + row // QUESTIONS_PER_IMAGE,
        "question": f"What is the thing number {row} in the picture?",
        "question_id": row,
    }
    if not is_broken:
        return question
    mend: tuple[Callable[[], dict[str, Any]], ...] = (
        lambda: {**question, "question": "  "},
        lambda: {**question, "image_id": None},
        lambda: {key: value for key, value in question.items() if key != "question"},
        lambda: {**question, "question_id": max(0, row - 1)},
    )
    return mend[row % len(mend)]()


def _answer(row: int, chance: random.Random) -> dict[str, Any]:
    favourite = chance.choice(_ANSWERS)
    answers = [
        {
            "answer": favourite if chance.random() < 0.7 else chance.choice(_ANSWERS),
            "answer_confidence": chance.choice(_CONFIDENCES),
            "answer_id": number,
        }
        for number in range(1, NUM_ANSWERS + 1)
    ]
    return {
        "question_type": "what is the",
        "multiple_choice_answer": favourite,
        "answers": answers,
        "image_id": 100_000 + row // QUESTIONS_PER_IMAGE,
        "answer_type": "other",
        "question_id": row,
    }


# ------------------------------------------------------------------------------------------------------ the contenders


def curate(folder: Path, output: Path) -> int:
    """Records and dataset, as the stages make them; returns the number of accepted questions."""
    from vqa_pipeline.curation.plan import SourceRecords, build_dataset
    from vqa_pipeline.curation.settings import DatasetSettings
    from vqa_pipeline.curation.validation import validate_source
    from vqa_pipeline.sources.formats.vqa_v2 import VqaV2Source

    source = VqaV2Source(name="vqa", format="vqa_v2", questions="questions.json", annotations="annotations.json")
    records = output / "records"
    records.mkdir(parents=True)
    read = validate_source(source, folder, records)
    summary = build_dataset(
        [SourceRecords("vqa", records, None, read.num_question_records, read.num_annotation_records)],
        DatasetSettings(images_required=False),
        (),
        output / "scratch",
        output / "dataset",
    )
    assert not summary.ledger.find_imbalances()  # a benchmark of a curation that loses rows would be worth nothing
    return sum(summary.num_questions_by_split.values())


def load_naively(folder: Path, output: Path) -> int:
    """The usual script; returns the number of rows that joined."""
    import pandas as pd

    with (folder / "questions.json").open(encoding="utf-8") as file:
        questions = json.load(file)["questions"]
    with (folder / "annotations.json").open(encoding="utf-8") as file:
        annotations = {one["question_id"]: one for one in json.load(file)["annotations"]}
    rows = []
    for question in questions:
        try:
            found = annotations[question["question_id"]]
            answers = [answer["answer"] for answer in found["answers"]]
            rows.append(
                {
                    "question_id": question["question_id"],
                    "image": f"COCO_train2014_{question['image_id']:012d}.jpg",
                    "question": question["question"],
                    "answers": answers,
                    "answer": Counter(answers).most_common(1)[0][0],
                }
            )
        except (KeyError, TypeError):
            continue
    output.mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(output / "questions.parquet")
    return len(rows)


CONTENDERS: dict[str, Callable[[Path, Path], int]] = {"curation": curate, "json.load": load_naively}
BASELINE = "json.load"


# ----------------------------------------------------------------------------------------------------------- measuring


def measure(name: str, folder: Path, scratch: Path) -> Measured:
    """Run a contender in a process of its own."""
    output = scratch / "output"
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, __file__, "--contender", name, "--folder", str(folder), "--output", str(output)]
    begin = time.monotonic()
    with (scratch / "kept").open("w+") as told:
        process = subprocess.Popen(command, stdout=told)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_seconds = time.monotonic() - begin
        if process.returncode:
            raise SystemExit(f"{name} ended with status {process.returncode}")
        told.seek(0)
        kept = int(told.read())
    return Measured(wall_seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, kept)


def report(num_rows: int, runs: dict[str, list[Measured]]) -> str:
    """A table of medians, and what they are to the baseline's."""
    lines = [
        f"{num_rows:,} questions with {NUM_ANSWERS} answers each, {BROKEN_FRACTION:.0%} broken",
        f"medians of {len(runs[BASELINE])}; {describe_machine()}",
        f"{'':<10} {'rows/s':>8} {'seconds':>8} {'CPU s':>7} {'peak MB':>8} {'kept':>10}   to {BASELINE}",
    ]
    baseline = _take_median(runs[BASELINE])
    for name, measured in runs.items():
        median = _take_median(measured)
        time_ratio, memory_ratio = median.wall_seconds / baseline.wall_seconds, median.peak_mb / baseline.peak_mb
        lines.append(
            f"{name:<10} {num_rows / median.wall_seconds:>8,.0f} {median.wall_seconds:>8.1f} "
            f"{median.cpu_seconds:>7.1f} {median.peak_mb:>8,.0f} {median.num_rows:>10,}   "
            f"{time_ratio:.2f} x time, {memory_ratio:.2f} x memory"
        )
    return "\n".join(lines)


def _take_median(runs: list[Measured]) -> Measured:
    middle = [statistics.median(column) for column in zip(*runs, strict=True)]
    return Measured(*middle[:3], int(middle[3]))


def describe_machine() -> str:
    """Processor, cores and interpreter."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> None:
    """Generate, measure in turn, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(CONTENDERS[options.contender](options.folder, options.output))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "vqa"
        folder.mkdir()
        write_files(folder, options.rows)
        runs: dict[str, list[Measured]] = {name: [] for name in CONTENDERS}
        for _ in range(options.repeats):
            for name, measured in runs.items():
                measured.append(measure(name, folder, Path(scratch)))
        print(report(options.rows, runs))


if __name__ == "__main__":
    main()
