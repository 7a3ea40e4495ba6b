"""Files written anew with the same rows end in the same data versions and train nothing; one changed row is a change."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from colours_world import Runner, declare_source, make_pipeline, write_source
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_pipeline import stages
from vqa_pipeline.pipeline import Pipeline

Rows = list[dict[str, str]]
DOWN = ("vocabulary", "checkpoint", "predictions", "metrics")


def read_rows(root: Path) -> Rows:
    with (root / "raw" / "questions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write_csv(rows: Rows, delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, quoting=quoting, lineterminator="\r\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def write_lines(rows: Rows) -> bytes:
    return "".join(json.dumps(dict(sorted(row.items()))) + "\n" for row in rows).encode()


def touch(root: Path, rows: Rows) -> None:
    for path in (root / "raw").rglob("*"):
        os.utime(path, (1, 1))


def reorder(root: Path, rows: Rows) -> None:
    random.Random(1).shuffle(rows)
    (root / "raw" / "questions.csv").write_bytes(write_csv(rows))


def quote(root: Path, rows: Rows) -> None:
    (root / "raw" / "questions.csv").write_bytes(write_csv(rows, quoting=csv.QUOTE_ALL))


def compress(root: Path, rows: Rows) -> None:
    (root / "raw" / "questions.csv").unlink()
    (root / "raw" / "questions.csv.gz").write_bytes(gzip.compress(write_csv(rows), mtime=7))


def compress_again(root: Path, rows: Rows) -> None:
    compress(root, rows)
    (root / "raw" / "questions.csv.gz").write_bytes(gzip.compress(write_csv(rows), compresslevel=1, mtime=9))


def archive(root: Path, rows: Rows) -> None:
    (root / "raw" / "questions.csv").unlink()
    with zipfile.ZipFile(root / "raw" / "questions.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("export/of/today.csv", write_csv(rows))


def export_as_lines(root: Path, rows: Rows) -> None:
    (root / "raw" / "questions.csv").unlink()
    (root / "raw" / "questions.jsonl").write_bytes(write_lines(rows))


def export_as_list(root: Path, rows: Rows) -> None:
    (root / "raw" / "questions.csv").unlink()
    (root / "raw" / "questions.json").write_text(json.dumps(rows, indent=3))


def part(root: Path, rows: Rows) -> None:
    (root / "raw" / "questions.csv").write_bytes(write_csv(rows[5:]))
    (root / "raw" / "questions-2.jsonl").write_bytes(write_lines(rows[:5]))


def rename(root: Path, rows: Rows) -> None:
    (root / "raw" / "questions.csv").rename(root / "raw" / "questions_v2_final.csv")


def repeat(root: Path, rows: Rows) -> None:
    (root / "raw" / "questions.csv").write_bytes(write_csv([*rows, rows[3]]))


REWRITES: dict[str, Callable[[Path, Rows], None]] = {
    one.__name__: one
    for one in (
        *(touch, reorder, quote, compress, compress_again, archive),
        *(export_as_lines, export_as_list, part, rename, repeat),
    )
}


def declare(root: Path) -> Pipeline:
    return make_pipeline(root, sources=[declare_source(files="raw/questions*")])


@pytest.mark.parametrize("name", list(REWRITES))
def test_the_same_rows_in_other_files_train_nothing(tmp_path, name):
    write_source(tmp_path)
    runner = Runner(declare(tmp_path))
    before = runner.run()
    num_jobs = len(runner.worker.jobs)
    REWRITES[name](tmp_path, read_rows(tmp_path))
    after = runner.run()
    versions = [{asset: one.version.manifest.data_version for asset, one in done.items()} for done in (before, after)]
    changes = after["dataset"].version.manifest.details["changes"]
    assert versions[1]["dataset"] == versions[0]["dataset"]
    assert (versions[1]["raw"] == versions[0]["raw"]) == (name == "touch")
    assert [after[asset].reused for asset in DOWN] == [True] * len(DOWN)
    assert len(runner.worker.jobs) == num_jobs
    assert changes is None or changes["sources"]["colours"]["num_added"] == 0


EDITS = ("question", "answer", "image", "split", "id")


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from(sorted(REWRITES)), max_size=3, unique=True), st.sampled_from(EDITS), st.randoms())
def test_one_changed_row_is_a_change_however_the_files_are_written(tmp_path_factory, names, edit, chance):
    root = tmp_path_factory.mktemp("edit")
    write_source(root)
    runner = Runner(declare(root))
    before = runner.run("dataset")["dataset"].version.manifest.data_version
    rows = read_rows(root)
    changed = chance.randrange(12)
    other = {"question": "which colour?", "answer": "pink", "image": "1.png", "split": "val", "id": "99"}
    rows[changed][edit] = other[edit] if rows[changed][edit] != other[edit] else "2.png"
    (root / "raw" / "questions.csv").write_bytes(write_csv(rows))
    for name in names:
        if (root / "raw" / "questions.csv").is_file():
            REWRITES[name](root, list(rows))
    assert runner.run("dataset")["dataset"].version.manifest.data_version != before


def test_a_look_that_was_interrupted_goes_on_where_it_was(tmp_path):
    """20,001 files are digested; the look is stopped at the 15,000th, and the first 10,000 are known to the next."""
    write_source(tmp_path)
    more = tmp_path / "raw" / "images" / "more"
    more.mkdir()
    for number in range(20_000):
        (more / f"{number}.png").write_bytes(b"x")
    pipeline = declare(tmp_path)
    told: list[tuple[int, int]] = []

    def stop(_task: str, done: int, total: int, _unit: str) -> None:
        told.append((done, total))
        if len(told) == 15_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.observe_source(pipeline, "colours", print, stop)
    told.clear()
    found = stages.observe_source(
        pipeline, "colours", print, lambda _task, done, total, _unit: told.append((done, total))
    )
    assert len(told) == 20_000 + 21 - 10_000 + 1
    assert found.version.manifest.numbers["num_files"] == 20_021
    told.clear()
    assert stages.observe_source(pipeline, "colours", print, lambda *words: told.append(words)).reused
    assert len(told) == 1
