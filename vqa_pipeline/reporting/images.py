"""Single images out of a dataset's packs, for galleries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds


def read_image(packs: Sequence[Path], sha: str) -> bytes:
    """The original bytes of an image.

    Raises:
        KeyError: no pack holds it.
    """
    table = ds.dataset([str(pack) for pack in packs]).to_table(
        columns=["image"], filter=pc.field("image_sha256") == sha
    )
    if table.num_rows == 0:
        raise KeyError(sha)
    data: bytes = table["image"][0].as_py()["bytes"]
    return data
