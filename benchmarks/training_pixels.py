"""The way from JPEGs to pixel values, for `training.py`: stock's, and this project's the first time and ever after."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping
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

NUM_IMAGES = 64


def build_pipelines(folder: Path, batch_size: int) -> Mapping[str, Callable[[], object]]:
    """Each makes normalized fp32 pixel values of all images, in batches; for a GPU, which normalizes, bytes.

    Stock's batches are of one shape too, and its images are decoded from memory; `first` reads them from a pack, and
    writes a cache like that from which `cached` reads.
    """
    jpegs, processor = generate_jpegs(NUM_IMAGES), ViltImageProcessorPil()
    shas = [hashlib.sha256(jpeg).hexdigest() for jpeg in jpegs]
    packs, rules = ImagePacks([write_pack(folder / "pack.parquet", shas, jpegs)], shas), read_pixel_rules(processor)
    kept = PixelCache(folder / "kept", packs, shas, rules)
    kept.fill()
    batches = _cut_by_size(kept.sizes, batch_size)

    def stock() -> None:
        for numbers in batches:
            images = [Image.open(io.BytesIO(jpegs[number])).convert("RGB") for number in numbers]
            processor(images, return_tensors="pt")

    def read(cache: PixelCache) -> None:
        for numbers in batches:
            rules.normalize(torch.from_numpy(cache.read(numbers)))

    def first() -> None:
        shutil.rmtree(folder / "new", ignore_errors=True)
        cache = PixelCache(folder / "new", packs, shas, rules)
        cache.fill()
        read(cache)

    def read_bytes() -> None:
        for numbers in batches:
            kept.read(numbers)

    return {"stock": stock, "first": first, "cached": lambda: read(kept), "cached, for a GPU": read_bytes}


def write_pack(path: Path, shas: list[str], jpegs: list[bytes]) -> Path:
    """An image pack of JPEG files, by their digests."""
    sizes = [Image.open(io.BytesIO(jpeg)).size for jpeg in jpegs]
    columns = {"image_sha256": shas, "image": [{"bytes": jpeg, "path": None} for jpeg in jpegs]}
    columns |= {"width": [width for width, _ in sizes], "height": [height for _, height in sizes]}
    pq.write_table(pa.table(columns), path, compression="none", row_group_size=100)
    return path


def _cut_by_size(sizes: list[tuple[int, int]], batch_size: int) -> list[list[int]]:
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, size in enumerate(sizes):
        groups[size].append(number)
    return [
        group[start : start + batch_size] for group in groups.values() for start in range(0, len(group), batch_size)
    ]
