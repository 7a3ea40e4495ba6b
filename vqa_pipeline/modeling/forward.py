"""ViLT's forward pass for a batch of equally large images: exact, without the stock embedding's detours.

The stock `visual_embed` handles padded images one by one and shuffles their patches with the global random generator,
in evaluation too. Where all images of a batch have one size there is nothing to pad, so the patches can be embedded at
once; the result goes into the otherwise unchanged stock model (parity: tests/modeling/test_forward.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from vqa_pipeline.modeling.batches import Batch
from vqa_pipeline.modeling.devices import Placement


def embed_images(embeddings: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """Patches with their positions, the image's own [CLS] first: (batch, 1 + patches, width).

    Positions are interpolated once for the batch, bilinearly with aligned corners, as ViLT does per image.
    """
    patches = embeddings.patch_embeddings(pixel_values)
    batch, width, rows, columns = patches.shape
    positions = embeddings.position_embeddings
    side = int((positions.shape[1] - 1) ** 0.5)
    grid = positions[:, 1:].transpose(1, 2).view(1, width, side, side)
    if (rows, columns) != (side, side):
        grid = functional.interpolate(grid, size=(rows, columns), mode="bilinear", align_corners=True)
    placed = (patches + grid).flatten(2).transpose(1, 2)
    first = (embeddings.cls_token + positions[:, :1]).expand(batch, -1, -1)
    embedded: torch.Tensor = embeddings.dropout(torch.cat([first.to(placed.dtype), placed], dim=1))
    return embedded


def compute_logits(model: Any, batch: Batch, placement: Placement) -> torch.Tensor:
    """fp32 logits (batch, answers) of a `ViltForQuestionAnswering`, on its device."""
    with placement.autocast():
        image_embeds = embed_images(model.vilt.embeddings, batch.pixel_values)
        output = model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            image_embeds=image_embeds,
            pixel_mask=batch.attention_mask.new_ones(image_embeds.shape[:2]),
        )
    logits: torch.Tensor = output.logits.float()
    return logits
