"""A model of three layers whose upper part learns, and questions about two sizes of image with texts of two lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import torch
from modeling_world import VOCABULARY, World, settings

from vqa_pipeline.modeling.backbones import Materials, build_backbone
from vqa_pipeline.modeling.batches import BatchSource
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.image_packs import ImagePacks
from vqa_pipeline.modeling.pixel_cache import PixelCache
from vqa_pipeline.modeling.pixels import PixelRules, read_pixel_rules
from vqa_pipeline.modeling.questions import Asked, tokenize
from vqa_pipeline.modeling.trunk import Trunk
from vqa_pipeline.modeling.trunk_cache import TrunkCache

CPU = Placement(torch.device("cpu"), "fp32")
BF16 = Placement(torch.device("cpu"), "bf16")
LONG = "is it a red or a green or a blue one and which of them is it?"
"""More than 8 tokens, so that it is padded to another length."""


class TrunkWorld(NamedTuple):
    world: World
    model: Any
    tokenizer: Any
    rules: PixelRules

    def ask(self, count: int = 12, first: int = 0) -> BatchSource:
        """Questions about the first pictures: of each a short and a long one, the even pictures of one size."""
        packs = [
            row
            for pack in self.world.packs
            for row in pq.read_table(pack).select(["image_sha256", "width"]).to_pylist()
        ]
        packs.sort(key=lambda row: (row["width"], row["image_sha256"]))
        shas = [row["image_sha256"] for pair in zip(packs, reversed(packs), strict=True) for row in pair][: len(packs)]
        asked = Asked()
        for number in range(first, first + count):
            text = LONG if number % 3 == 0 else f"what color is it{' now' * (number % 2)}?"
            text += " and why?" * (number // 12 % 2)
            row = {"question_id": f"w/{number}", "question": text, "image_sha256": shas[number % 12]}
            asked.append(row)
        wanted = sorted(set(asked.shas))
        pixels = PixelCache(
            self.world.folder / "cache" / "pixels", ImagePacks(self.world.packs, wanted), wanted, self.rules
        )
        return BatchSource(asked, tokenize(asked.questions, self.tokenizer, 40), pixels, torch.device("cpu"))

    def freeze(self, depth: int) -> None:
        """Let learn what is above so many layers, and nothing else."""
        for parameter in self.model.parameters():
            parameter.requires_grad_(True)
        for part in (self.model.vilt.embeddings, *self.model.vilt.encoder.layer[:depth]):
            part.requires_grad_(False)

    def cache(self, folder: Path, batches: BatchSource, depth: int = 2, placement: Placement = CPU) -> TrunkCache:
        """A cache that is not filled."""
        return TrunkCache(folder, Trunk(self.model, depth, self.rules, placement), batches)


def make_trunk_world(world: World) -> TrunkWorld:
    packs = ImagePacks(world.packs, shas := sorted(pq.read_table(world.packs[0])["image_sha256"].to_pylist()))
    wanted = settings(tiny_layers=3)
    backbone = build_backbone(wanted, Materials(VOCABULARY, [LONG, "what color is it now and why?"], packs, shas))
    rules = read_pixel_rules(backbone.processor.image_processor)
    return TrunkWorld(world, backbone.model, backbone.processor.tokenizer, rules)


def fill(cache: TrunkCache, max_bytes: int = 10**9, **options: Any) -> TrunkCache:
    """Take what there is and compute the rest."""
    cache.look_up()
    cache.fill(max_bytes, **options)
    cache.look_up()
    return cache
