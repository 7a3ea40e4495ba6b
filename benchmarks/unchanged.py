"""How long it takes to find out that nothing changed, and to take in one row that did.

    python benchmarks/unchanged.py [--rows 1000000] [--repeats 3]

The stages `raw`, `records` and `dataset` of a table in JSON Lines without images, called as Dagster calls them.

    first            the baseline: everything from nothing
    nothing changed  the same again
    one row changed  the same after another question was put into one row
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from measuring import Benchmark, run_benchmark


def write_project(folder: Path, num_rows: int) -> None:
    """The rows, and a project that has taken them in."""
    _write_rows(folder / "project", num_rows)
    _run(folder / "project")


def _write_rows(project: Path, num_rows: int) -> None:
    project.mkdir()
    with (project / "rows.jsonl").open("w") as file:
        for row in range(num_rows):
            asked, answer = f"What is the thing {row}?", ("yes", "no", "red", "two", "left")[row % 5]
            file.write(f'{{"id": {row}, "image": "{row // 5}.jpg", "question": "{asked}", "answers": ["{answer}"]}}\n')


def _run(project: Path) -> Any:
    from vqa_pipeline import stages
    from vqa_pipeline.pipeline import Pipeline, PipelineSettings

    source = {"name": "table", "format": "table", "files": "rows.jsonl", "columns": {"id": "id"}, "splits": "by_image"}
    settings = PipelineSettings.model_validate({"sources": [source], "dataset": {"images_required": False}})
    pipeline = Pipeline("bench", settings, project)
    stages.observe_source(pipeline, "table", print)
    stages.build_records(pipeline, "table", print)
    return stages.build_dataset(pipeline, print)


def _count(outcome: Any) -> int:
    return int(outcome.version.manifest.numbers["num_questions"])


def run_first(folder: Path, output: Path) -> int:
    """Returns the number of accepted questions."""
    shutil.copy(folder / "project" / "rows.jsonl", output)
    return _count(_run(output))


def run_again(folder: Path, _output: Path) -> int:
    """Returns the number of accepted questions."""
    outcome = _run(folder / "project")
    assert outcome.reused
    return _count(outcome)


def run_changed(folder: Path, output: Path) -> int:
    """Returns the number of accepted questions."""
    shutil.copytree(folder / "project", output / "project", copy_function=shutil.copy2)
    rows = (output / "project" / "rows.jsonl").read_text()
    (output / "project" / "rows.jsonl").write_text(rows.replace("What is the thing 7?", "Where is the thing 7?"))
    outcome = _run(output / "project")
    assert not outcome.reused
    return _count(outcome)


BENCHMARK = Benchmark(
    title="{rows} rows without images; count: accepted questions",
    prepare=write_project,
    contenders={"first": run_first, "nothing changed": run_again, "one row changed": run_changed},
    baseline="first",
    rows=1_000_000,
)

if __name__ == "__main__":
    run_benchmark(BENCHMARK, __doc__)
