"""What earlier runs found out about images by decoding them, so that each image is decoded once.

Facts by sha256 in one Arrow file, sorted, uncompressed and memory-mapped: processes share it, and nothing is loaded.
Only good images are remembered; what could not be used is looked at again. Deleting the file costs time only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vqa_pipeline.files import make_folder, name_disk_errors

_KEY = "image_sha256"


class KnownImages:
    """Facts of images, by sha256."""

    def __init__(self, facts: pa.Table) -> None:
        """Take facts that are sorted by sha256, in one chunk."""
        self._facts = facts
        self._keys = view_fixed(facts[_KEY], 64).view("S64").ravel()

    def find(self, sha256: str) -> dict[str, Any] | None:
        """The facts of an image; None: it is new."""
        key = sha256.encode()
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key:
            return None
        facts: dict[str, Any] = self._facts.slice(place, 1).to_pylist()[0]
        return facts


def read_known_images(path: Path, schema: pa.Schema) -> KnownImages:
    """The facts that an earlier run left; of no image where there are none, other ones, or a file that is damaged."""
    try:
        with pa.memory_map(str(path)) as file:
            facts = pa.ipc.open_file(file).read_all()
    except (FileNotFoundError, pa.ArrowInvalid):
        facts = schema.empty_table()
    return KnownImages(facts if facts.schema.equals(schema) else schema.empty_table())


def write_known_images(facts: pa.Table, path: Path) -> None:
    """Replace what is known, whole or not at all.

    Args:
        facts: Sorted by sha256, each image once.
        path: Where it is kept.

    Raises:
        DiskError: the disk is full, or the folder cannot be used.
    """
    make_folder(path.parent)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with name_disk_errors(path):
        try:
            with unfinished.open("wb") as file:
                with pa.ipc.new_file(file, facts.schema) as writer:
                    writer.write_table(facts.combine_chunks())
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


def view_fixed(column: pa.ChunkedArray, width: int) -> NDArray[np.uint8]:
    """A column whose values all have `width` bytes, without nulls, as rows of bytes; one chunk is not copied."""
    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # what older versions of Arrow give for a column without rows
        values = pa.concat_arrays(values.chunks)
    data = values.buffers()[-1]
    if data is None or not len(values):
        return np.empty((0, width), np.uint8)
    whole = np.frombuffer(data, np.uint8)
    begin = values.offset * width
    return whole[begin : begin + len(values) * width].reshape(-1, width)
