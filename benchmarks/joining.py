"""How fast records become the dataset, without digest and images, beside the same in SQL; and how memory grows.

    python benchmarks/joining.py [--rows 1000000] [--repeats 3] [--only plan]

Generates the records of a two-file source as `records` publishes them, ten answers to each question; 2 % of the ids are
given to two questions, and 1 % of the questions have no annotation.

    plan            join, deduplicate, split, write, ledger: what `dataset` does, without its digest, in one thread
    plan, a fifth   the same for a fifth of the rows: the peaks tell whether memory grows
    DuckDB          the baseline: the same fates and files by SQL, in one thread
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Benchmark, run_benchmark

QUESTIONS_PER_IMAGE = 5
NUM_ANSWERS = 10
_WORDS = ("yes", "no", "2", "1", "white", "red", "blue", "left", "on the table", "a dog", "none", "T-shirt")
_BLOCK_ROWS = 50_000
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
        count(DISTINCT hash(image, question, split, question_type, answer_type, paraphrase_of, answers))
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
    SELECT fates.question_id, native_id, 'vqa' AS source, fates.split, image, NULL::VARCHAR AS image_sha256, question,
        coalesce(told.question_type, asked.question_type) AS question_type,
        coalesce(told.answer_type, asked.answer_type) AS answer_type, paraphrase_of,
        coalesce(told.answers, asked.answers) AS answers,
        list_aggregate(list_transform(told.answers, lambda one: one.answer), 'mode') AS most_common_answer,
        repairs, asked.locator
    FROM fates JOIN asked ON asked.question_id = fates.question_id AND asked.locator.record = fates.record
    LEFT JOIN told ON told.question_id = fates.question_id AND told.locator.record = fates.told
    WHERE rule IS NULL ORDER BY fates.split, fates.question_id
) TO '{output}/questions' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (split), WRITE_PARTITION_COLUMNS true);
COPY (
    SELECT fates.question_id, rule, asked.locator, asked.raw
    FROM fates JOIN asked ON asked.question_id = fates.question_id AND asked.locator.record = fates.record
    WHERE rule IS NOT NULL
) TO '{output}/rejects.parquet' (FORMAT parquet, COMPRESSION zstd);
"""


def write_both(folder: Path, num_rows: int) -> None:
    """Records of all rows, and of a fifth of them."""
    write_records(folder / "whole", num_rows)
    write_records(folder / "fifth", num_rows // 5)


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
            "paraphrase_of": [None] * len(ids),
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


def _join(records: Path, output: Path) -> int:
    os.environ["POLARS_MAX_THREADS"] = "1"  # as a process of `TaskProcesses` has; polars reads it when it is imported
    import pyarrow as pa
    import pyarrow.parquet as pq

    from vqa_pipeline.curation import plan
    from vqa_pipeline.curation.settings import DatasetSettings
    from vqa_pipeline.curation.source_records import SourceRecords

    pa.set_cpu_count(1)
    plan.sum_rows = lambda *_: 0
    counts = [
        sum(pq.read_metadata(path).num_rows for path in records.glob(f"{kind}-*"))
        for kind in ("questions", "annotations")
    ]
    sources = [SourceRecords("vqa", records, None, *counts)]
    (output / "dataset").mkdir()
    settings = DatasetSettings(images_required=False)
    summary = plan.build_dataset(sources, settings, plan.Known(), output / "scratch", output / "dataset")
    assert not summary.ledger.find_imbalances()
    return sum(summary.num_questions_by_split.values())


def join(folder: Path, output: Path) -> int:
    """Returns the number of accepted questions."""
    return _join(folder / "whole", output)


def join_a_fifth(folder: Path, output: Path) -> int:
    """Returns the number of accepted questions."""
    return _join(folder / "fifth", output)


def join_in_sql(folder: Path, output: Path) -> int:
    """Returns the number of accepted questions."""
    import duckdb

    settings = {"threads": 1, "memory_limit": "4GB", "temp_directory": str(output / "spill")}
    with duckdb.connect(config=settings) as base:
        base.execute(_SQL.format(records=folder / "whole", output=output))
        ((kept,),) = base.execute("SELECT count(*) FROM fates WHERE rule IS NULL").fetchall()
    return int(kept)


BENCHMARK = Benchmark(
    title="{rows} questions and their annotations; count: accepted questions",
    prepare=write_both,
    contenders={"plan": join, "plan, a fifth": join_a_fifth, "DuckDB": join_in_sql},
    baseline="DuckDB",
    rows=1_000_000,
)

if __name__ == "__main__":
    run_benchmark(BENCHMARK, __doc__)
