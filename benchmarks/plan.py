"""How fast and with how much memory the plan makes a dataset of records, each measure beside its baseline.

    python benchmarks/plan.py [join] [memory] [digest] [near] [images] [unchanged] [--rows 1000000] [--repeats 1]

All data are generated; every contender runs in a process of its own, whose CPU seconds and peak memory are measured.

    join       join, deduplicate, split, write, without digest and images: CPU to that of the same in SQL (DuckDB)
    memory     peak of the same for --rows and for a fifth of them
    digest     content digest of questions with ten answers: rows per CPU second to those of a loop over JSON texts
    near       near-duplicates among as many random hashes as --rows, one in a thousand a copy
    images     the check of 2,000 photographs' size of JPEGs: CPU to that of a loop that does the same
    unchanged  a run in which nothing changed, and one in which one row did: seconds of the stages' functions
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

QUESTIONS_PER_IMAGE = 5
NUM_ANSWERS = 10
NUM_JPEGS = 2_000
_WORDS = ("yes", "no", "2", "1", "white", "red", "blue", "left", "on the table", "a dog", "none", "T-shirt")
_BLOCK_ROWS = 50_000


class Measured(NamedTuple):
    """One run of a contender, or the medians of several."""

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float
    told: float
    """What it printed: rows that it kept, or seconds of the part that is measured."""


# ------------------------------------------------------------------------------------------------------------ the data


def write_records(folder: Path, num_rows: int) -> None:
    """Records of a two-file source as `records` publishes them: 1 % of the ids twice, 1 % without annotation."""
    import pyarrow as pa

    from vqa_pipeline.curation.buckets import write_buckets
    from vqa_pipeline.schemas import ANNOTATION_RECORDS, QUESTION_RECORDS

    for number, begin in enumerate(range(0, num_rows, _BLOCK_ROWS)):
        ids = np.arange(begin, min(num_rows, begin + _BLOCK_ROWS))
        again = np.where(ids % 100 == 7, ids - 1, ids)
        asked = {
            "question_id": [f"vqa/{one}" for one in again],
            "native_id": [str(one) for one in again],
            "image": [f"COCO_train2014_{one // QUESTIONS_PER_IMAGE:012d}.jpg" for one in ids],
            "question": [f"What is the thing number {one % 4} in the picture?" for one in ids],
            "split": [None] * len(ids),
            "question_type": [None] * len(ids),
            "answer_type": [None] * len(ids),
            "answers": [None] * len(ids),
            "repairs": [[]] * len(ids),
            "locator": [_locate("questions.json", int(one)) for one in ids],
            "raw": [f'{{"question_id": {one}, "image_id": {one // 5}, "question": "What?"}}'.encode() for one in ids],
        }
        told = ids[ids % 100 != 9]
        annotated = {
            "question_id": [f"vqa/{one}" for one in told],
            "question_type": ["what is the"] * len(told),
            "answer_type": ["other"] * len(told),
            "answers": [_answer(int(one)) for one in told],
            "locator": [_locate("annotations.json", int(one)) for one in told],
            "raw": [b'{"answers": [' + b"x" * 700 + b"]}"] * len(told),
        }
        for kind, rows, schema in (
            ("questions", asked, QUESTION_RECORDS),
            ("annotations", annotated, ANNOTATION_RECORDS),
        ):
            table = pa.Table.from_arrays([pa.array(rows[field.name], field.type) for field in schema], schema=schema)
            write_buckets(table, "question_id", folder / f"{kind}-{number:05d}.parquet")


def _locate(file: str, record: int) -> dict[str, Any]:
    return {"file": file, "record": record, "item": None, "byte_offset": record * 100, "line": None}


def _answer(row: int) -> list[dict[str, Any]]:
    return [
        {"answer": _WORDS[(row * number) % 12], "answer_id": number, "answer_confidence": "yes"}
        for number in range(1, NUM_ANSWERS + 1)
    ]


def write_images(folder: Path, count: int) -> None:
    """JPEGs of 640 x 480 pixels that differ in every part."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        soft = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        picture = Image.fromarray(soft).resize((640, 480), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:06d}.jpg", quality=92)


def write_table(folder: Path, num_rows: int, changed: int | None = None) -> None:
    """JSON Lines of questions that name images which are not there."""
    with (folder / "rows.jsonl").open("w") as file:
        for row in range(num_rows):
            words = "another" if row == changed else "the"
            answer = _WORDS[row % 12]
            file.write(
                f'{{"id": {row}, "image": "{row // 5}.jpg", "question": "What is {words} thing {row}?", '
                f'"answers": ["{answer}", "{answer}"]}}\n'
            )


# ------------------------------------------------------------------------------------------------------ the contenders


def join(folder: Path, output: Path, num_rows: int) -> float:
    """The plan over records, without its digest."""
    from vqa_pipeline.curation import plan
    from vqa_pipeline.curation.settings import DatasetSettings

    plan.sum_rows = lambda *_: 0
    sources = [plan.SourceRecords("vqa", folder, None, num_rows, num_rows - num_rows // 100)]
    settings = DatasetSettings(images_required=False)
    output.mkdir()
    summary = plan.build_dataset(sources, settings, plan.Known(), output.with_name("scratch"), output)
    assert not summary.ledger.find_imbalances()
    return sum(summary.num_questions_by_split.values())


def join_in_sql(folder: Path, output: Path, num_rows: int) -> float:  # noqa: ARG001 - contenders are called alike
    """The same fates and files in one database query per table."""
    import duckdb

    output.mkdir()
    with duckdb.connect(config={"threads": 1, "memory_limit": "4GB", "temp_directory": str(output / "spill")}) as base:
        base.execute(_SQL.format(records=folder, output=output))
        ((kept,),) = base.execute("SELECT count(*) FROM fates WHERE rule IS NULL").fetchall()
    return float(kept)


_SQL = r"""
CREATE VIEW asked AS SELECT * FROM read_parquet('{records}/questions-*.parquet');
CREATE VIEW told AS SELECT * FROM read_parquet('{records}/annotations-*.parquet');
CREATE TABLE used AS
    SELECT question_id, count(*) AS times, count(DISTINCT hash(answer_type, question_type, answers)) AS contents,
        min(locator.record) AS record
    FROM told GROUP BY question_id;
CREATE TABLE expected AS SELECT count(*) > 0 AS expected FROM used;
CREATE TABLE fates AS
WITH counted AS (
    SELECT question_id, locator.record AS record, image, split, question,
        row_number() OVER (PARTITION BY question_id ORDER BY locator.record) AS position,
        count(DISTINCT hash(image, question, split, question_type, answer_type, answers))
            OVER (PARTITION BY question_id) AS contents
    FROM asked
), settled AS (
    SELECT counted.*, used.record AS told, CASE
        WHEN counted.contents > 1 THEN 'duplicate_id'
        WHEN position > 1 THEN 'duplicate_row'
        WHEN used.contents > 1 THEN 'annotation_conflict'
        WHEN used.record IS NULL THEN 'annotation_missing'
    END AS rule
    FROM counted LEFT JOIN used USING (question_id)
), placed AS (
    SELECT *, ('0x' || substr(sha256('assign:' || image), 1, 16))::UBIGINT / 18446744073709551616.0 AS place
    FROM settled
), assigned AS (
    SELECT * EXCLUDE (split, place), coalesce(split,
        CASE WHEN place < 0.1 THEN 'test' WHEN place < 0.2 THEN 'val' ELSE 'train' END) AS split
    FROM placed
), leaking AS (
    SELECT *, count(DISTINCT CASE WHEN rule IS NULL THEN split END) OVER (PARTITION BY image) > 1 AS leaks FROM assigned
), worded AS (
    SELECT leaking.*, row_number() OVER (PARTITION BY rule IS NULL, image, split, hash(answers),
        trim(regexp_replace(lower(question), '\s+', ' ', 'g'), ' ?.!') ORDER BY leaking.question_id) AS times
    FROM leaking LEFT JOIN (SELECT question_id, answers, locator.record AS told FROM told) USING (question_id, told)
)
SELECT question_id, record, told, split,
    coalesce(rule, CASE WHEN times > 1 THEN 'duplicate_question' END) AS rule FROM worded;
COPY (
    SELECT question_id, native_id, 'vqa' AS source, fates.split, image, NULL::VARCHAR AS image_sha256, question,
        coalesce(told.question_type, asked.question_type) AS question_type,
        coalesce(told.answer_type, asked.answer_type) AS answer_type, coalesce(told.answers, asked.answers) AS answers,
        list_aggregate(list_transform(told.answers, lambda one: one.answer), 'mode') AS most_common_answer,
        repairs, asked.locator
    FROM fates JOIN asked ON asked.question_id = fates.question_id AND asked.locator.record = fates.record
    LEFT JOIN told ON told.question_id = fates.question_id AND told.locator.record = fates.told
    WHERE rule IS NULL ORDER BY split, question_id
) TO '{output}/questions' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (split), WRITE_PARTITION_COLUMNS true);
COPY (
    SELECT fates.question_id, rule, asked.locator, asked.raw
    FROM fates JOIN asked ON asked.question_id = fates.question_id AND asked.locator.record = fates.record
    WHERE rule IS NOT NULL
) TO '{output}/rejects.parquet' (FORMAT parquet, COMPRESSION zstd);
"""


def _read_answers(folder: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(folder / "annotations-00000.parquet").select(["question_id", "question_type", "answers"])


def digest(folder: Path, output: Path, num_rows: int) -> float:  # noqa: ARG001
    """Seconds for the content digest."""
    from vqa_pipeline.curation.digest import sum_rows

    table = _read_answers(folder)
    begin = time.process_time()
    sum_rows(table, table.column_names)
    return time.process_time() - begin


def digest_texts(folder: Path, output: Path, num_rows: int) -> float:  # noqa: ARG001
    """Seconds for a digest of each row's JSON text."""
    try:
        from orjson import OPT_SORT_KEYS, dumps

        options: tuple[int, ...] = (OPT_SORT_KEYS,)
    except ImportError:
        raise SystemExit("the baseline needs orjson: pip install orjson") from None
    table = _read_answers(folder)
    begin = time.process_time()
    total = 0
    for batch in table.to_batches(max_chunksize=8192):
        for row in batch.to_pylist():
            total += int.from_bytes(hashlib.blake2b(dumps(row, None, *options), digest_size=16).digest(), "big")
    return time.process_time() - begin


def find_near_duplicates(folder: Path, output: Path, num_rows: int) -> float:  # noqa: ARG001
    """CPU seconds for pairs and groups; the hashes are random, one in a thousand is a copy with two other bits."""
    from vqa_pipeline.curation.near_duplicates import find_groups, find_pairs

    rng = np.random.default_rng(0)
    hashes = rng.integers(-(2**63), 2**63, num_rows, dtype=np.int64)
    colours = np.repeat(rng.integers(0, 256, (num_rows, 12), dtype=np.uint8), 16, axis=1)
    copies = num_rows // 1000
    hashes[-copies:] = hashes[:copies] ^ 5
    colours[-copies:] = colours[:copies] ^ 3
    begin = time.process_time()
    pairs = find_pairs(hashes, colours, 3)
    find_groups(num_rows, pairs)
    seconds = time.process_time() - begin
    assert len(pairs.distance) == copies
    return seconds


def check(folder: Path, output: Path, num_rows: int) -> float:  # noqa: ARG001
    """The plan's image stage: bytes, sha256, decoding, hash, table."""
    from vqa_pipeline.curation import plan
    from vqa_pipeline.curation.settings import DatasetSettings

    names = sorted(path.name for path in folder.iterdir())
    source = plan.SourceRecords("vqa", output, folder, 0, 0)
    output.mkdir()
    stage = plan._Plan((source,), DatasetSettings(), output.with_name("scratch"), output, output / "known.arrow")  # noqa: SLF001
    for number in range(0, len(names), 512):
        stage.check((number, (source, names[number : number + 512])))
    stage.relate_images()
    return len(names)


def check_in_a_loop(folder: Path, output: Path, num_rows: int) -> float:  # noqa: ARG001
    """The same check on the same files, and nothing else."""
    from PIL import Image

    from vqa_pipeline.sources.images import compute_colours, compute_dhash

    facts = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        rgb = Image.open(io.BytesIO(data)).convert("RGB")
        facts.append((hashlib.sha256(data).hexdigest(), rgb.size, compute_dhash(rgb), compute_colours(rgb)))
    return len(facts)


CONTENDERS: dict[str, Callable[[Path, Path, int], float]] = {
    one.__name__: one for one in (join, join_in_sql, digest, digest_texts, find_near_duplicates, check, check_in_a_loop)
}


# ----------------------------------------------------------------------------------------------------------- measuring


def measure(name: str, folder: Path, num_rows: int, repeats: int) -> Measured:
    """Medians of runs of a contender, each in a process of its own."""
    runs = [_measure_once(name, folder, num_rows) for _ in range(repeats)]
    return Measured(*(statistics.median(column) for column in zip(*runs, strict=True)))


def _measure_once(name: str, folder: Path, num_rows: int) -> Measured:
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, (Path(scratch) / "told").open("w+") as told:
        command = [sys.executable, __file__, "--contender", name, "--folder", str(folder)]
        command += ["--output", f"{scratch}/output", "--rows", str(num_rows)]
        begin = time.monotonic()
        process = subprocess.Popen(command, stdout=told)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begin
        if process.returncode:
            raise SystemExit(f"{name} ended with status {process.returncode}")
        told.seek(0)
        return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, float(told.read()))


def _tell(name: str, run: Measured) -> str:
    return f"  {name:<22} {run.cpu_seconds:8.1f} CPU s {run.wall_seconds:8.1f} s {run.peak_mb:8,.0f} MB"


def report_join(scratch: Path, num_rows: int, repeats: int) -> None:
    write_records(scratch / "records", num_rows)
    ours = measure("join", scratch / "records", num_rows, repeats)
    oracle = measure("join_in_sql", scratch / "records", num_rows, repeats)
    print(f"join, deduplicate, split, write {num_rows:,} rows, without digest")
    print(f"{_tell('plan', ours)}\n{_tell('DuckDB', oracle)}")
    print(f"  CPU {ours.cpu_seconds / oracle.cpu_seconds:.2f} x; kept {ours.told:,.0f} and {oracle.told:,.0f}")


def report_memory(scratch: Path, num_rows: int, repeats: int) -> None:
    few = num_rows // 5
    write_records(scratch / "few", few)
    write_records(scratch / "many", num_rows)
    small = measure("join", scratch / "few", few, repeats)
    large = measure("join", scratch / "many", num_rows, repeats)
    print(f"peak memory, {num_rows:,} rows against {few:,}")
    print(f"{_tell(f'{few:,}', small)}\n{_tell(f'{num_rows:,}', large)}\n  {large.peak_mb / small.peak_mb:.2f} x")


def report_digest(scratch: Path, num_rows: int, repeats: int) -> None:  # noqa: ARG001
    write_records(scratch / "records", _BLOCK_ROWS)
    ours = measure("digest", scratch / "records", _BLOCK_ROWS, max(3, repeats))
    loop = measure("digest_texts", scratch / "records", _BLOCK_ROWS, max(3, repeats))
    rows = _BLOCK_ROWS * 99 // 100
    print(f"content digest: {rows / ours.told:,.0f} rows per CPU s; a loop over orjson: {rows / loop.told:,.0f}")
    print(f"  {loop.told / ours.told:.2f} x")


def report_near(scratch: Path, num_rows: int, repeats: int) -> None:
    run = measure("find_near_duplicates", scratch / "none", num_rows, repeats)
    print(f"near-duplicates among {num_rows:,} hashes: {run.told:.1f} CPU s, {run.peak_mb:,.0f} MB with the data")


def report_images(scratch: Path, num_rows: int, repeats: int) -> None:  # noqa: ARG001
    write_images(scratch / "images", NUM_JPEGS)
    ours = measure("check", scratch / "images", NUM_JPEGS, repeats)
    loop = measure("check_in_a_loop", scratch / "images", NUM_JPEGS, repeats)
    print(f"check {NUM_JPEGS:,} JPEGs\n{_tell('plan', ours)}\n{_tell('loop', loop)}")
    print(f"  CPU {ours.cpu_seconds / loop.cpu_seconds:.2f} x")


def report_unchanged(scratch: Path, num_rows: int, repeats: int) -> None:  # noqa: ARG001
    from vqa_pipeline import stages
    from vqa_pipeline.pipeline import Pipeline, PipelineSettings

    source = {"name": "table", "format": "table", "files": "rows.jsonl", "columns": {"id": "id"}, "splits": "by_image"}
    settings = {"sources": [source], "dataset": {"images_required": False}}
    pipeline = Pipeline("bench", PipelineSettings.model_validate(settings), scratch / "project")

    def run() -> float:
        begin = time.monotonic()
        stages.observe_source(pipeline, "table", lambda _: None)
        stages.build_records(pipeline, "table", lambda _: None)
        stages.build_dataset(pipeline, lambda _: None)
        return time.monotonic() - begin

    (scratch / "project").mkdir()
    write_table(scratch / "project", num_rows)
    first, nothing = run(), run()
    write_table(scratch / "project", num_rows, changed=random.Random(0).randrange(num_rows))
    one = run()
    print(f"{num_rows:,} rows: {first:.1f} s; nothing changed: {nothing:.2f} s; one row changed: {one:.1f} s")


REPORTS = {
    "join": report_join,
    "memory": report_memory,
    "digest": report_digest,
    "near": report_near,
    "images": report_images,
    "unchanged": report_unchanged,
}


def main() -> None:
    """Generate, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measures", nargs="*", choices=[[], *REPORTS], default=[])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(CONTENDERS[options.contender](options.folder, options.output, options.rows))
        return
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}; medians of {options.repeats}")
    for name in options.measures or REPORTS:
        with tempfile.TemporaryDirectory() as scratch:
            REPORTS[name](Path(scratch), options.rows, options.repeats)
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
