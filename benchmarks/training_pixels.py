"""The way from a JPEG to pixel values, for `training.py`: stock's, this project's first one, and every later one."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from training_inputs import generate_jpegs

from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.pixel_cache import PixelCache
from vqa_pipeline.modeling.pixels import read_pixel_rules
from vqa_pipeline.modeling.stock import ViltImageProcessorPil
from vqa_pipeline.schemas import IMAGES

NUM_IMAGES = 32


def build_pipelines(folder: Path) -> Mapping[str, Callable[[], object]]:
    """Each makes normalized fp32 pixel values of all images, one after the other; `read` only the bytes.

    On a GPU, which normalizes by itself, `read` is all that a core has to do.
    """
    jpegs, processor = generate_jpegs(NUM_IMAGES), ViltImageProcessorPil()
    shas = _write_pack(folder / "images.parquet", jpegs)
    packs, rules = ImagePacks([folder / "images.parquet"], shas), read_pixel_rules(processor)

    def fill() -> PixelCache:
        cache = PixelCache(Path(tempfile.mkdtemp(dir=folder)), packs, shas, rules)
        cache.fill()
        return cache

    def normalize(cache: PixelCache) -> None:
        for number in range(len(shas)):
            rules.normalize(torch.from_numpy(cache.read([number])))

    def read(cache: PixelCache) -> None:
        for number in range(len(shas)):
            cache.read([number])

    def stock() -> None:
        for jpeg in jpegs:
            processor(Image.open(io.BytesIO(jpeg)).convert("RGB"), return_tensors="pt")

    filled = fill()
    return {
        "stock": stock,
        "first": lambda: normalize(fill()),
        "cached": lambda: normalize(filled),
        "cached, read": lambda: read(filled),
    }


def _write_pack(path: Path, jpegs: Sequence[bytes]) -> list[str]:
    shas = [hashlib.sha256(jpeg).hexdigest() for jpeg in jpegs]
    rows = []
    for sha256, jpeg in zip(shas, jpegs, strict=True):
        width, height = Image.open(io.BytesIO(jpeg)).size
        row = dict.fromkeys(IMAGES.names) | {"image_sha256": sha256, "width": width, "height": height}
        rows.append(row | {"image": {"bytes": jpeg, "path": None}, "alterations": []})
    nullable = pa.schema([field.with_nullable(True) for field in IMAGES])
    pq.write_table(pa.Table.from_pylist(rows, schema=nullable), path, compression="none")
    return shas
