"""What a search for near-duplicates among many hashes takes.

    python benchmarks/near_duplicates.py [--rows 1000000] [--repeats 3]

Random hashes and colours, one image in a thousand a copy of another with two other bits: every copy must be found. The
figures are those of the whole process, with Python and the data. There is no baseline: comparing all pairs would take
hours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from measuring import Benchmark, run_benchmark

_ONE_IN = 1_000


def write_hashes(folder: Path, num_rows: int) -> None:
    """Hashes and colours of as many images."""
    chance = np.random.default_rng(0)
    hashes = chance.integers(-(2**63), 2**63, num_rows, dtype=np.int64)
    colours = np.repeat(chance.integers(0, 256, (num_rows, 12), dtype=np.uint8), 16, axis=1)
    copies = num_rows // _ONE_IN
    hashes[num_rows - copies :], colours[num_rows - copies :] = hashes[:copies] ^ 5, colours[:copies] ^ 3
    np.save(folder / "hashes.npy", hashes)
    np.save(folder / "colours.npy", colours)


def search(folder: Path, _output: Path) -> int:
    """Returns the number of pairs."""
    from vqa_pipeline.curation.near_duplicates import find_groups, find_pairs

    hashes, colours = np.load(folder / "hashes.npy"), np.load(folder / "colours.npy")
    pairs = find_pairs(hashes, colours, max_distance=3)
    groups = find_groups(len(hashes), pairs)
    assert len(np.unique(groups)) == len(hashes) - len(hashes) // _ONE_IN
    assert pairs.num_not_compared == 0
    return len(pairs.distance)


BENCHMARK = Benchmark(
    title="{rows} hashes, pairs at most 3 bits apart; count: pairs found",
    prepare=write_hashes,
    contenders={"search": search},
    baseline="search",
    rows=1_000_000,
)

if __name__ == "__main__":
    run_benchmark(BENCHMARK, __doc__)
