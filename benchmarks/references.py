"""How fast image references are resolved when there is nothing to repair, beside asking the disk about each.

    python benchmarks/references.py [--references 200000] [--repeats 3]

Makes a folder with as many empty files as references, in folders of a thousand, and lets each contender find all of
them, in turn; the folder is warm in the file system's cache for both. Reported are medians and the ratio of their sums.

    resolve_references   one look at the folder, then texts are compared: what `dataset` does
    Path.is_file         the baseline: one question to the disk per reference, with no thought of what lies outside
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vqa_pipeline.curation.resolution import resolve_references

_FILES_PER_FOLDER = 1000
BASELINE = "Path.is_file"


def write_files(folder: Path, count: int) -> list[str]:
    """Empty files with names as COCO has them; returns their references, sorted."""
    names = [f"part{n // _FILES_PER_FOLDER:04d}/COCO_train2014_{n:012d}.jpg" for n in range(count)]
    for name in names[::_FILES_PER_FOLDER]:
        (folder / name).parent.mkdir()
    for name in names:
        os.close(os.open(folder / name, os.O_CREAT | os.O_WRONLY))
    return names


def resolve(folder: Path, references: list[str]) -> int:
    return len(resolve_references("coco", folder, references).files)


def ask_disk(folder: Path, references: list[str]) -> int:
    return sum((folder / reference).is_file() for reference in references)


CONTENDERS: dict[str, Callable[[Path, list[str]], int]] = {"resolve_references": resolve, BASELINE: ask_disk}


def main() -> None:
    """Make the files, measure in turn, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        references = write_files(folder, options.references)
        for _ in range(options.repeats):
            for name, find in CONTENDERS.items():
                begin = time.perf_counter()
                found = find(folder, references)
                seconds[name].append(time.perf_counter() - begin)
                assert found == len(references), f"{name} found {found} of {len(references)}"
    print(f"{options.references:,} references, nothing to repair; medians of {options.repeats}")
    baseline = statistics.median(seconds[BASELINE])
    for name, runs in seconds.items():
        median = statistics.median(runs)
        print(f"{name:<20} {median:>7.2f} s   {median / baseline:.2f} x {BASELINE}")


if __name__ == "__main__":
    main()
