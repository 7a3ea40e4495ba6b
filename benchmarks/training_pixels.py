"""The way from a JPEG to pixel values, for `training.py`: stock's, this project's first one, and every later one."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from training_inputs import generate_jpegs

from vqa_pipeline.modeling.image_packs import decode_packed
from vqa_pipeline.modeling.pixels import read_pixel_rules
from vqa_pipeline.modeling.stock import ViltImageProcessorPil

NUM_IMAGES = 32


def build_pipelines(folder: Path) -> Mapping[str, Callable[[], object]]:
    """Each makes normalized fp32 pixel values of all images, those of one image at a time."""
    jpegs, processor = generate_jpegs(NUM_IMAGES), ViltImageProcessorPil()
    rules = read_pixel_rules(processor)
    resized = [rules.resize(decode_packed("", jpeg)) for jpeg in jpegs]
    files = []
    for number, image in enumerate(resized):
        cached = np.memmap(folder / f"{number}", np.uint8, "w+", shape=image.shape)
        cached[:] = image
        files.append(cached)

    def stock() -> None:
        for jpeg in jpegs:
            processor(Image.open(io.BytesIO(jpeg)).convert("RGB"), return_tensors="pt")

    def first() -> None:
        for jpeg in jpegs:
            rules.normalize(torch.from_numpy(rules.resize(decode_packed("", jpeg)))[None])

    def cached() -> None:
        for file in files:
            rules.normalize(torch.from_numpy(np.array(file))[None])

    return {"stock": stock, "first": first, "cached": cached}
