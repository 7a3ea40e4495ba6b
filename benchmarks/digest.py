"""How fast the content of questions is digested, beside a loop over their JSON texts.

python benchmarks/digest.py [--rows 300000] [--repeats 3]

digest   the sum of a hash per row, encoded by Arrow's kernels
orjson   the baseline: each row as JSON with sorted keys, hashed and summed
json     the same with the standard library
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from joining import write_records
from measuring import Benchmark, run_benchmark

_TIMES = 5
"""How often the rows are digested once they are read, so that reading them does not decide."""

_COLUMNS = ["question_id", "question_type", "answer_type", "answers"]


def _list_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("annotations-*.parquet"))


def digest(folder: Path, _output: Path) -> int:
    """Returns the number of rows."""
    from vqa_pipeline.curation.digest import sum_rows

    num_rows = total = 0
    for path in _list_files(folder):
        table = pq.read_table(path, columns=_COLUMNS)
        for _ in range(_TIMES):
            total += sum_rows(table, _COLUMNS)
            num_rows += table.num_rows
    return num_rows


def _digest_texts(folder: Path, write: Callable[[dict[str, Any]], bytes]) -> int:
    num_rows = total = 0
    for path in _list_files(folder):
        for batch in pq.read_table(path, columns=_COLUMNS).to_batches(max_chunksize=8192) * _TIMES:
            for row in batch.to_pylist():
                total += int.from_bytes(hashlib.blake2b(write(row), digest_size=16).digest(), "big")
            num_rows += batch.num_rows
    return num_rows


def digest_with_orjson(folder: Path, _output: Path) -> int:
    """Returns the number of rows."""
    import orjson

    return _digest_texts(folder, lambda row: orjson.dumps(row, option=orjson.OPT_SORT_KEYS))


def digest_with_json(folder: Path, _output: Path) -> int:
    """Returns the number of rows."""
    return _digest_texts(folder, lambda row: json.dumps(row, sort_keys=True).encode())


BENCHMARK = Benchmark(
    title=f"{{rows}} questions with ten answers each, digested {_TIMES} times; count: rows digested",
    prepare=write_records,
    contenders={"digest": digest, "orjson": digest_with_orjson, "json": digest_with_json},
    baseline="orjson",
    rows=300_000,
)

if __name__ == "__main__":
    run_benchmark(BENCHMARK, __doc__)
