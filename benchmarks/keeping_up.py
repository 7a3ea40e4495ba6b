"""What it costs a pipeline to keep itself up to date while nothing changes, and how soon a click is at work.

    python benchmarks/keeping_up.py [--files 200000] [--repeats 3] [--only observing evaluating loading clicking]

    observing   a source of many small images: a plain walk with a `stat` of each file, the first look, which reads
                them all, and another look, when nothing moved; functions of the stage `raw`, without Dagster
    evaluating  a pipeline like the demo, with a cron, where everything was made: one look of the automation's
                conditions, by a daemon that was just started and by one that goes on; and every stage's own function,
                which finds its version up to date, beside the run that made them
    loading     the project's definitions in a process of their own, beside the import of dagster alone
    clicking    a training launched over GraphQL from a running `dagster dev`, until its worker is there, beside
                `vqa-pipeline train`, until its worker is there

Wall seconds, medians of the repeats; the first look and the run that made everything are measured once.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import describe_machine

sys.path.append(str(Path(__file__).parents[1] / "tests"))
if TYPE_CHECKING:
    from live_project import Project, Server

    from vqa_pipeline.pipeline import Pipeline

FILES_PER_FOLDER = 1_000
SHAPES = {"name": "shapes", "format": "shapes", "images": 60, "broken_rows": False}
TRAINING = {"backbone": "tiny", "epochs": 3, "batch_size": 16, "device": "cpu", "threads": 1}
NIGHTLY = {"cron": "0 2 * * *", "timezone": "Europe/Berlin"}
LOAD = "from vqa_pipeline.definitions import defs; defs().resolve_asset_graph()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parts: dict[str, Callable[[argparse.Namespace, Path], None]] = {
        "observing": measure_observing,
        "evaluating": measure_evaluating,
        "loading": measure_loading,
        "clicking": measure_clicking,
    }
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    options = parser.parse_args()
    print(f"{options.files:,} files; wall seconds, medians of {options.repeats}; {describe_machine()}")
    for part in options.only:
        with tempfile.TemporaryDirectory() as scratch:
            parts[part](options, Path(scratch))


def take_median(repeats: int, run: Callable[..., object]) -> float:
    """Median wall seconds."""
    return statistics.median(take_seconds(run) for _ in range(repeats))


def take_seconds(run: Callable[..., object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def tell(name: str, seconds: float, baseline: float | None = None, goal: float | None = None) -> None:
    """A line of the table."""
    compared = "" if baseline is None else f"{seconds / baseline:.3g} x"
    print(f"{name:<42} {seconds:>8.2f} s  {compared:>9}  {'' if goal is None else f'goal < {goal:g} s'}".rstrip())


# ------------------------------------------------------------------------------------------------------------ observing


def measure_observing(options: argparse.Namespace, root: Path) -> None:
    """Another look costs a `stat` per file, so it is compared with a walk that does no more."""
    pipeline = write_images(root, options.files)
    look = partial(observe, pipeline)
    walk = take_median(options.repeats, lambda: walk_plainly(root / "raw"))
    tell("observing: walk and stat", walk, walk)
    tell("observing: first look", take_seconds(look), walk)
    tell("observing: another look", take_median(options.repeats, look), walk, goal=3)


def write_images(root: Path, num_files: int) -> Pipeline:
    """A source that consists of so many files; what is in them does not matter here."""
    from vqa_pipeline.pipeline import Pipeline, PipelineSettings

    for number in range(num_files):
        folder = root / "raw" / "images" / f"{number // FILES_PER_FOLDER:03}"
        if number % FILES_PER_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:06}.jpg").write_bytes(b"%06d" % number)
    (root / "raw" / "rows.csv").write_text("image,question,answer\n000/000000.jpg,what?,red\n")
    source = {"name": "scans", "format": "table", "files": "raw/rows.csv", "image_root": "raw/images"}
    settings = PipelineSettings.model_validate({"sources": [source]})
    return Pipeline("bench", settings, root)


def walk_plainly(folder: Path) -> int:
    """Returns the number of bytes."""
    num_bytes = 0
    for entry in os.scandir(folder):
        num_bytes += walk_plainly(Path(entry.path)) if entry.is_dir() else entry.stat().st_size
    return num_bytes


def observe(pipeline: Pipeline) -> None:
    from vqa_pipeline import stages

    stages.observe_source(pipeline, "scans", log=lambda _line: None)


# ----------------------------------------------------------------------------------------------------------- evaluating


def measure_evaluating(options: argparse.Namespace, root: Path) -> None:
    """What the daemon does twice a minute, and what a run does that finds nothing to do."""
    import dagster as dg

    from vqa_pipeline.orchestration.assets import build_definitions
    from vqa_pipeline.pipeline import Pipeline, PipelineSettings

    declared = {"sources": [SHAPES], "training": TRAINING, "retrain": NIGHTLY}
    pipeline = Pipeline("bench", PipelineSettings.model_validate(declared), root)
    with dg.DagsterInstance.ephemeral() as instance, silence():
        definitions = build_definitions(pipeline)
        job = definitions.resolve_implicit_global_asset_job_def()
        made = take_seconds(lambda: job.execute_in_process(instance=instance))
        first = dg.evaluate_automation_conditions(definitions, instance)
        again = partial(dg.evaluate_automation_conditions, definitions, instance)
        fresh = take_median(options.repeats, again)
        going_on = take_median(options.repeats, partial(again, cursor=first.cursor))
        assert again(cursor=first.cursor).total_requested == 0
        reused = take_median(options.repeats, lambda: run_stages(pipeline))
    tell("evaluating: a daemon that just started", fresh, fresh)
    tell("evaluating: a daemon that goes on", going_on, fresh, goal=5)
    tell("stages: everything made, by a run", made, made)
    tell("stages: everything reused", reused, made)


def run_stages(pipeline: Pipeline) -> None:
    """Every stage's own function, as a run calls them."""
    from vqa_pipeline import stages

    log: Callable[[str], None] = lambda _line: None  # noqa: E731 - shorter than a function

    def never(job: Any) -> None:
        raise AssertionError(job)

    outcomes = [
        stages.observe_source(pipeline, "shapes", log),
        stages.build_records(pipeline, "shapes", log),
        stages.build_dataset(pipeline, log),
        stages.build_vocabulary(pipeline, log),
        stages.train_checkpoint(pipeline, pipeline.settings.training, never, log),
        stages.predict(pipeline, never, log),
        stages.evaluate(pipeline, log),
        stages.decide_champion(pipeline, log),
    ]
    assert all(outcome.reused for outcome in outcomes)


@contextmanager
def silence() -> Iterator[None]:
    """Dagster tells every event, and what is in beta, on stderr, which would be measured too."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


# ------------------------------------------------------------------------------------------------------------- loading


def measure_loading(options: argparse.Namespace, _root: Path) -> None:
    imported = take_median(options.repeats, lambda: run_python("import dagster"))
    tell("loading: import dagster", imported, imported)
    tell("loading: the definitions", take_median(options.repeats, lambda: run_python(LOAD)), imported, goal=3)


def run_python(code: str) -> None:
    project = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=project)


# ------------------------------------------------------------------------------------------------------------- clicking


def measure_clicking(options: argparse.Namespace, root: Path) -> None:
    """Each training has another number of epochs, so that none is reused."""
    from live_project import live_project, serve

    epochs = iter(range(TRAINING["epochs"] + 1, 1_000))
    with live_project(root / "project") as project:
        project.declare("bench", sources=[SHAPES], training=TRAINING)
        status, told = project.run("run")
        assert status == 0, told
        by_command = statistics.median(start_by_command(project, next(epochs)) for _ in range(options.repeats))
        with serve(project) as server:
            by_click = statistics.median(start_by_click(project, server, next(epochs)) for _ in range(options.repeats))
    tell("clicking: vqa-pipeline train to its worker", by_command, by_command)
    tell("clicking: a click to its worker", by_click, by_command, goal=15)


def start_by_command(project: Project, epochs: int) -> float:
    """Seconds until the worker is there; returns when all is done."""
    begin = time.perf_counter()
    with project.start("vqa_pipeline.cli", "train", "--set", f"epochs={epochs}", output=subprocess.DEVNULL) as process:
        seconds = wait_for_worker(project, begin)
        assert process.wait() == 0
    return seconds


def start_by_click(project: Project, server: Server, epochs: int) -> float:
    """Seconds until the worker is there; returns when all is done."""
    begin = time.perf_counter()
    run = server.launch("bench", ["checkpoint"], training={"epochs": epochs})
    seconds = wait_for_worker(project, begin)
    server.wait_for(run, "SUCCESS", seconds=120)
    return seconds


def wait_for_worker(project: Project, begin: float) -> float:
    while not project.find_workers():
        assert time.perf_counter() - begin < 120, "no worker came"
        time.sleep(0.05)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
