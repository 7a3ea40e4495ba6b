"""How long it takes to learn what a source is, beside one pass over its bytes.

    python benchmarks/inspecting.py [--rows 1150000] [--repeats 3]

Generates the VQA files of `curation.py`, a gigabyte by default, and an empty file for each image that they name.

    inspect  format, counts, first rows, images, problems: what `vqa-pipeline inspect` does
    bytes    the baseline: the files read once, and nothing looked at
"""

from __future__ import annotations

from pathlib import Path

from curation import QUESTIONS_PER_IMAGE, write_annotations, write_questions
from measuring import Benchmark, run_benchmark

_FIRST_IMAGE = 100_000
_BLOCK = 1 << 20


def write_files(folder: Path, num_rows: int) -> None:
    """Questions, annotations, and the names of the images."""
    write_questions(folder, num_rows)
    write_annotations(folder, num_rows)
    (folder / "images").mkdir()
    for number in range(num_rows // QUESTIONS_PER_IMAGE + 1):
        (folder / "images" / f"COCO_train2014_{_FIRST_IMAGE + number:012d}.jpg").touch()


def inspect(folder: Path, _output: Path) -> int:
    """Returns the number of questions that there are about."""
    from vqa_pipeline.curation.inspection import inspect as inspect_path

    [source] = inspect_path(folder, folder).sources
    return source.num_questions.value


def read_bytes(folder: Path, _output: Path) -> int:
    """Returns the number of bytes."""
    num_bytes = 0
    for name in ("questions.json", "annotations.json"):
        with (folder / name).open("rb") as file:
            while block := file.read(_BLOCK):
                num_bytes += len(block)
    return num_bytes


BENCHMARK = Benchmark(
    title="{rows} questions with their annotations and images; count: questions estimated, and bytes",
    prepare=write_files,
    contenders={"inspect": inspect, "bytes": read_bytes},
    baseline="bytes",
    rows=1_150_000,
)

if __name__ == "__main__":
    run_benchmark(BENCHMARK, __doc__)
