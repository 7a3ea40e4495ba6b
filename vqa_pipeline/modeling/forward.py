"""ViLT's forward pass for a batch of equally large images: exact, without the stock model's detours.

Two things are left out because they change nothing. The stock `visual_embed` handles padded images one by one and
shuffles their patches with the global random generator, in evaluation too; where all images of a batch have one size,
there is nothing to pad. And the head reads the first token only, so the last layer is computed for that token alone,
which saves a third of the work of a model with two layers. Parity with the stock model, gradients included:
tests/modeling/test_forward.py.

What comes after the last layer is computed in fp32 whatever the precision: it is one token, and in bf16, whose steps
are 1/32 between 4 and 8, the best answers of a question would often have the very same score.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

from vqa_pipeline.modeling.batches import Batch
from vqa_pipeline.modeling.devices import Placement

_TEXT, _IMAGE = 0, 1
"""Rows of the modality embedding."""


def compute_logits(model: Any, batch: Batch, placement: Placement) -> torch.Tensor:
    """fp32 logits (batch, answers) of a `ViltForQuestionAnswering`, on its device."""
    with placement.autocast():
        embeddings, (*layers, last) = model.vilt.embeddings, model.vilt.encoder.layer
        modality = embeddings.token_type_embeddings.weight
        text = embeddings.text_embeddings(input_ids=batch.input_ids) + modality[_TEXT]
        image = embed_images(embeddings, batch.pixel_values) + modality[_IMAGE]
        hidden = torch.cat([text, image], dim=1)
        mask = _build_mask(batch.attention_mask, image.shape[1], hidden.dtype)
        for layer in layers:
            hidden = layer(hidden, mask)[0]
        first = _compute_first_token(last, hidden, mask)
    with placement.full_precision():
        logits: torch.Tensor = model.classifier(model.vilt.pooler(model.vilt.layernorm(first.float())))
    return logits


def embed_images(embeddings: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """Patches with their positions, the image's own [CLS] first: (batch, 1 + patches, width).

    Positions are interpolated once for the batch, bilinearly with aligned corners, as ViLT does per image.
    """
    patches = embeddings.patch_embeddings(pixel_values)
    batch, width, rows, columns = patches.shape
    positions = embeddings.position_embeddings
    side = math.isqrt(positions.shape[1] - 1)
    grid = positions[:, 1:].transpose(1, 2).view(1, width, side, side)
    if (rows, columns) != (side, side):
        grid = functional.interpolate(grid, size=(rows, columns), mode="bilinear", align_corners=True)
    placed = (patches + grid).flatten(2).transpose(1, 2)
    first = (embeddings.cls_token + positions[:, :1]).expand(batch, -1, -1)
    embedded: torch.Tensor = embeddings.dropout(torch.cat([first.to(placed.dtype), placed], dim=1))
    return embedded


def _build_mask(attention_mask: torch.Tensor, num_image_tokens: int, dtype: torch.dtype) -> torch.Tensor:
    """What is added to attention scores, (batch, 1, 1, tokens): 0, or the least number where text is padded."""
    hidden = functional.pad(attention_mask == 0, (0, num_image_tokens), value=False)
    added = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    return added.masked_fill_(hidden, torch.finfo(dtype).min)[:, None, None, :]


def _compute_first_token(layer: Any, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """A layer's output for the first token alone, (batch, 1, width); it attends to all tokens."""
    attention, normed = layer.attention.attention, layer.layernorm_before(hidden)
    query, key, value = (
        projected.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
        for projected in (attention.query(normed[:, :1]), attention.key(normed), attention.value(normed))
    )
    scores = query @ key.transpose(-1, -2) / math.sqrt(attention.attention_head_size) + mask
    context = attention.dropout(scores.softmax(dim=-1)) @ value
    first = hidden[:, :1]
    attended = layer.attention.output(context.transpose(1, 2).flatten(2), first) + first
    output: torch.Tensor = layer.output(layer.intermediate(layer.layernorm_after(attended)), attended)
    return output
