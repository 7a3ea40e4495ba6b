"""What `test_ranks` runs as two ranks: each writes what it saw as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch

from vqa_pipeline.errors import SettingsError
from vqa_pipeline.modeling.training.ranks import Ranks


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    try:
        Ranks(torch.device("cpu"), 3)
    except SettingsError as error:
        refused = str(error)
    ranks = Ranks(torch.device("cpu"), 2)
    told: dict[str, object] = {"refused": refused}
    told |= {"count": ranks.count, "is_main": ranks.is_main, "shares": [list(ranks.share(size)) for size in (5, 1, 0)]}
    mine = [torch.tensor([[1.0, 2.0]]) * (rank + 1), torch.tensor(5, dtype=torch.int64), torch.zeros(0)]
    mine.append((torch.tensor([[1.0, 2.0], [3.0, 4.0]]) * rank).t())
    large = torch.arange(2**23 + 1, dtype=torch.float32) * (1 - rank)
    ranks.sum([*mine, large])
    told["sums"] = [tensor.tolist() for tensor in mine]
    told["large"] = [large[0].item(), large[-1].item()]
    told["any"] = [ranks.any(rank == 1), ranks.any(False), ranks.any(True)]
    values = torch.tensor([float(rank), 7.0])
    ranks.spread([values])
    told["spread"] = values.tolist()
    with ranks.main_first():
        if rank == 0:
            time.sleep(0.2)
            (folder / "cache").touch()
        told["found_cache"] = (folder / "cache").exists()
    ranks.leave()
    (folder / f"told-{rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
