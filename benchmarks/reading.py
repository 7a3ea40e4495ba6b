"""How much it costs to read and validate annotations, beside `json.load` alone, which checks nothing.

    python benchmarks/reading.py [--rows 1000000] [--repeats 3]

Generates the annotations file of `curation.py`: ten answers to each question.

    validated  every record sliced out of the stream, checked by Pydantic and by the rules that all formats share
    json.load  the baseline: the file loaded whole, nothing else
"""

from __future__ import annotations

import gc
import json
from pathlib import Path

from curation import NUM_ANSWERS, write_annotations, write_questions
from measuring import Benchmark, run_benchmark


def write_files(folder: Path, num_rows: int) -> None:
    """The annotations, and a questions file without questions, which the format asks for."""
    write_questions(folder, 0)
    write_annotations(folder, num_rows)


def validate(folder: Path, _output: Path) -> int:
    """Returns the number of valid annotations."""
    from vqa_pipeline.curation.validation import validate_records
    from vqa_pipeline.sources.formats.vqa_v2 import VqaV2Source

    source = VqaV2Source(name="vqa", format="vqa_v2", questions="questions.json", annotations="annotations.json")
    gc.disable()  # as `validate_source` does
    return sum(isinstance(outcome, dict) for _, outcome in validate_records(source, folder))


def load(folder: Path, _output: Path) -> int:
    """Returns the number of annotations."""
    with (folder / "annotations.json").open(encoding="utf-8") as file:
        return len(json.load(file)["annotations"])


BENCHMARK = Benchmark(
    title=f"{{rows}} annotations with {NUM_ANSWERS} answers each; count: annotations",
    prepare=write_files,
    contenders={"validated": validate, "json.load": load},
    baseline="json.load",
    rows=1_000_000,
)

if __name__ == "__main__":
    run_benchmark(BENCHMARK, __doc__)
