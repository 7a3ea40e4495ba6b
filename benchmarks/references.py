"""How fast image references are resolved when there is nothing to repair, beside asking the disk about each.

    python benchmarks/references.py [--rows 200000] [--repeats 3]

Makes as many empty files as references, a thousand to a folder; their names are in the file system's cache for both.

    resolved      one walk over the image root, then texts are compared: what `dataset` does
    Path.is_file  the baseline: one question to the disk per reference, and no thought of what lies outside
"""

from __future__ import annotations

from pathlib import Path

from measuring import Benchmark, run_benchmark

_FILES_PER_FOLDER = 1000


def write_files(folder: Path, num_rows: int) -> None:
    """Empty files named as COCO's are, and the list of them."""
    names = [f"part{n // _FILES_PER_FOLDER:04d}/COCO_train2014_{n:012d}.jpg" for n in range(num_rows)]
    for name in names[::_FILES_PER_FOLDER]:
        (folder / "images" / name).parent.mkdir(parents=True)
    for name in names:
        (folder / "images" / name).touch()
    (folder / "references.txt").write_text("\n".join(names))


def _read_references(folder: Path) -> list[str]:
    return (folder / "references.txt").read_text().split("\n")


def resolve(folder: Path, _output: Path) -> int:
    """Returns the number of files found."""
    from vqa_pipeline.curation.image_roots import Folder
    from vqa_pipeline.curation.resolution import resolve_references

    return len(resolve_references("coco", Folder(folder / "images"), _read_references(folder)).files)


def ask_disk(folder: Path, _output: Path) -> int:
    """Returns the number of files found."""
    return sum((folder / "images" / reference).is_file() for reference in _read_references(folder))


BENCHMARK = Benchmark(
    title="{rows} image references, nothing to repair; count: files found",
    prepare=write_files,
    contenders={"resolved": resolve, "Path.is_file": ask_disk},
    baseline="Path.is_file",
    rows=200_000,
)

if __name__ == "__main__":
    run_benchmark(BENCHMARK, __doc__)
