"""Each image that a record names is read and decoded once; what it is, or why it cannot be used, goes into one table.

Images used by accepted questions are packed: the files' own bytes in Parquet, sorted by sha256, immutable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vqa_pipeline.curation.image_roots import ImageRoot
from vqa_pipeline.curation.known_images import KnownImages, view_fixed
from vqa_pipeline.errors import SourceChanged, SourceError
from vqa_pipeline.schemas import ALTERATIONS, IMAGES
from vqa_pipeline.sources.archives import ArchiveError
from vqa_pipeline.sources.formats.format import MalformedRecord
from vqa_pipeline.sources.images import GRID, ImageError, inspect_image

COLOUR_BYTES = 3 * GRID * GRID

VERDICTS = pa.schema(
    [
        ("source", pa.string()),
        ("image", pa.string()),
        ("image_sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("mode", pa.string()),
        ("format", pa.string()),
        ("dhash", pa.int64()),
        ("num_bytes", pa.int64()),
        ("alterations", ALTERATIONS),
        ("colours", pa.binary(COLOUR_BYTES)),
        ("image_rule", pa.string()),  # null: the image is good
        ("image_reason", pa.string()),
        ("image_fix", pa.string()),
    ]
)
"""One row per distinct file of a source, and per image reference that means none; `image` is its name."""

NOT_FOUND = pa.array(
    ["image_missing", "image_ambiguous", "image_outside_root", "image_path_absolute", "image_path_drive"]
)
"""Rules of images that are judged by the file system alone: what is not there now may be back in a moment."""

FACTS = ["image_sha256", "width", "height", "mode", "format", "dhash", "num_bytes", "alterations"]
DECODED = pa.schema([VERDICTS.field(name) for name in [*FACTS, "colours"]])
"""What decoding an image tells; the same for the same bytes."""

_NONE = KnownImages(DECODED.empty_table())
_ROWS_PER_GROUP = 100
_PACK_BYTES = 512 << 20


def check_images(source: str, root: ImageRoot, names: Sequence[str], known: KnownImages = _NONE) -> pa.Table:
    """A verdict for each image of a source, by its name in its root.

    Every image is read; those are decoded whose bytes are not `known`, by facts as `DECODED`.

    Raises:
        SourceChanged: a file went away while it was read.
        SourceError: a file cannot be read, which says nothing about the image.
    """
    return pa.Table.from_pylist([_check_image(source, root, name, known) for name in names], VERDICTS)


def _check_image(source: str, root: ImageRoot, name: str, known: KnownImages) -> dict[str, Any]:
    verdict: dict[str, Any] = {"source": source, "image": name}
    try:
        with reading(source, root.path / name):
            data = root.read(name)
            facts = known.find(hashlib.sha256(data).hexdigest()) or _decode(data)
    except (MalformedRecord, ImageError) as error:
        return verdict | _fail(error.rule, error.reason, error.fix)
    return verdict | facts


def _decode(data: bytes) -> dict[str, Any]:
    return inspect_image(data)._asdict() | {"num_bytes": len(data)}


def collect_decoded(paths: Sequence[Path]) -> pa.Table:
    """`DECODED` of each good image in some files of verdicts, once, in the order of sha256."""
    tables = [pq.read_table(path, columns=DECODED.names) for path in paths]
    checked = pa.concat_tables([DECODED.empty_table(), *tables])
    good = checked.filter(pc.is_valid(checked["image_sha256"])).combine_chunks()
    _, first = np.unique(view_fixed(good["image_sha256"], 64).view("S64").ravel(), return_index=True)
    return good.take(pa.array(first)).combine_chunks()


@contextmanager
def reading(source: str, path: Path) -> Iterator[None]:
    """Turn what goes wrong with the machine, its disks or its rights into an error: it is no verdict on an image."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceChanged(source, path) from error
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        fix = "Check the file, its rights and the disk, then run again."
        raise SourceError(source, "image_root", path, reason, fix) from error
    except ArchiveError as error:
        raise SourceError(source, "image_root", path, str(error), "Write or download it again.") from error


def _fail(rule: str, reason: str, fix: str) -> dict[str, str]:
    return {"image_rule": rule, "image_reason": reason, "image_fix": fix}


def read_packed(packs: Sequence[Path]) -> set[str]:
    """The sha256 of every image in the packs; reads that column only."""
    return {sha for pack in packs for sha in pq.read_table(pack, columns=["image_sha256"])["image_sha256"].to_pylist()}


def has_present_form(pack: Path) -> bool:
    """Whether a pack has the columns that packs have today; one of an earlier form is not taken into a new version."""
    return bool(pq.read_schema(pack).equals(IMAGES))


class Found(NamedTuple):
    """An image that was checked, and where it is read again to be packed."""

    facts: dict[str, Any]
    source: str
    root: ImageRoot
    name: str


def write_packs(images: Iterable[Found], folder: Path, *, pack_bytes: int = _PACK_BYTES) -> list[Path]:
    """Pack images in the order of their sha256, the files' own bytes uncompressed.

    A pack is closed when its images have `pack_bytes` or more.

    Raises:
        SourceChanged: an image is gone, or not the one any more that was checked.
        SourceError: an image cannot be read.
    """
    packs: list[Path] = []
    block: list[dict[str, Any]] = []
    size = 0
    for facts, source, root, name in images:
        data = _read_again(source, root, name)
        if hashlib.sha256(data).hexdigest() != facts["image_sha256"]:
            raise SourceChanged(source, root.path / name)
        path = f"{facts['image_sha256']}.{facts['format'].lower()}"
        block.append({**facts, "image": {"bytes": data, "path": path}})
        size += len(data)
        if size >= pack_bytes:
            packs.append(_write_pack(block, folder, len(packs)))
            block, size = [], 0
    if block:
        packs.append(_write_pack(block, folder, len(packs)))
    return packs


def _read_again(source: str, root: ImageRoot, name: str) -> bytes:
    try:
        with reading(source, root.path / name):
            return root.read(name)
    except MalformedRecord as error:
        raise SourceChanged(source, root.path / name) from error


def _write_pack(rows: list[dict[str, Any]], folder: Path, number: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"pack-{number:05d}.parquet"
    with pq.ParquetWriter(path, IMAGES, compression="none") as writer:
        for begin in range(0, len(rows), _ROWS_PER_GROUP):
            group = [{name: row[name] for name in IMAGES.names} for row in rows[begin : begin + _ROWS_PER_GROUP]]
            writer.write_table(pa.Table.from_pylist(group, IMAGES), _ROWS_PER_GROUP)
    return path
