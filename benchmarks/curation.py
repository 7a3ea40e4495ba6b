"""How fast and with how much memory questions are curated, beside the script that people write instead.

    python benchmarks/curation.py [--rows 1000000] [--repeats 3]

Generates a VQA file in the official two-file form (ten answers to each question, no images, 1 % of the rows broken in
ways that people's files are), then lets each contender turn it into Parquet, in turn, each time in a process of its
own: wall seconds, CPU seconds and peak memory are that process's. Reported are medians, and ratios to the baseline.

    curation   read, validate, join, deduplicate, split, ledger: what `records` and `dataset` do, in one process
    json.load  the baseline: both files loaded whole, joined in a dictionary, written; rows that do not join are lost
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measuring import Benchmark, run_benchmark

QUESTIONS_PER_IMAGE = 5
NUM_ANSWERS = 10
BROKEN_FRACTION = 0.01
_ANSWERS = ("yes", "no", "2", "1", "white", "red", "blue", "left", "on the table", "a dog", "none", "T-shirt")
_CONFIDENCES = ("yes", "maybe", "no")


# ------------------------------------------------------------------------------------------------------------ the data


def write_files(folder: Path, num_rows: int) -> None:
    """`questions.json` and `annotations.json`, the same for the same number of rows."""
    write_questions(folder, num_rows)
    write_annotations(folder, num_rows)


def write_questions(folder: Path, num_rows: int) -> None:
    """`questions.json`, some of its rows broken."""
    broken = set(random.Random(0).sample(range(num_rows), int(BROKEN_FRACTION * num_rows)))
    _write_list(folder / "questions.json", "questions", (_ask(row, row in broken) for row in range(num_rows)))


def write_annotations(folder: Path, num_rows: int) -> None:
    """`annotations.json`."""
    chance = random.Random(1)
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


def curate(folder: Path, output: Path, image_root: str | None = None, workers: int = 1) -> int:
    """Records and dataset, as the stages make them; returns the number of accepted questions."""
    from vqa_pipeline.curation.plan import Known, build_dataset
    from vqa_pipeline.curation.records import validate_source
    from vqa_pipeline.curation.settings import DatasetSettings
    from vqa_pipeline.curation.source_records import SourceRecords
    from vqa_pipeline.curation.tasks import TaskProcesses
    from vqa_pipeline.sources.formats.vqa_v2 import VqaV2Source

    source = VqaV2Source(
        name="vqa",
        format="vqa_v2",
        questions="questions.json",
        annotations="annotations.json",
        image_root=image_root,
        image_pattern="COCO_train2014_{image_id:012d}.jpg",
    )
    records = output / "records"
    records.mkdir()
    read = validate_source(source, folder, records)
    images = None if image_root is None else folder / image_root
    given = SourceRecords("vqa", records, images, read.num_question_records, read.num_annotation_records)
    settings = DatasetSettings(images_required=image_root is not None, leakage="report")
    with TaskProcesses(workers) as tasks:
        summary = build_dataset([given], settings, Known(), output / "scratch", output / "dataset", tasks)
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
    pd.DataFrame(rows).to_parquet(output / "questions.parquet")
    return len(rows)


BENCHMARK = Benchmark(
    title=f"{{rows}} questions with {NUM_ANSWERS} answers each, {BROKEN_FRACTION:.0%} broken; count: questions kept",
    prepare=write_files,
    contenders={"curation": curate, "json.load": load_naively},
    baseline="json.load",
    rows=1_000_000,
)

if __name__ == "__main__":
    run_benchmark(BENCHMARK, __doc__)
