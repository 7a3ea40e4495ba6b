"""ViLT for question answering, computed faster than stock and exactly the same: names, weights, outputs, gradients.

What stock does and the answer does not need is left out. Images of a batch have one size, so nothing of them is padded,
positions are interpolated once, and the host never waits for the device. Attention is torch's fused one, without a
mask where nothing is padded. The head reads the first token only, so the last layer is computed for that token alone.
What this does not cover (attention maps, hidden states, padded images, sampled patches) the stock forward computes.

The head is computed in fp32 whatever the precision: it is one token, and in bf16, whose steps are 1/32 between 4 and
8, the best answers of a question would often have the very same score. Knows nothing of training or devices.
"""

from __future__ import annotations

import math
from os import PathLike
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from vqa_pipeline.modeling.batches import Batch
from vqa_pipeline.modeling.stock import SequenceClassifierOutput, ViltForQuestionAnswering, ViltSelfAttention

_TEXT, _IMAGE = 0, 1
"""Rows of the modality embedding."""


class Hidden(NamedTuple):
    """A batch on its way through the encoder, with some number of layers behind it: its depth."""

    states: torch.Tensor
    """(batch, tokens, width), text before image; after the last layer its first token alone, (batch, 1, width)."""
    mask: torch.Tensor | None
    """(batch, tokens), bool: whether a token is real, not padding; None: all are."""


class FastViltForQuestionAnswering(ViltForQuestionAnswering):  # type: ignore[misc]  # transformers has no types
    """A `ViltForQuestionAnswering` with a fast forward. Either reads the other's checkpoints."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        for layer in self.vilt.encoder.layer:
            layer.attention.attention.__class__ = _FusedSelfAttention  # the same parameters, another forward

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        *,
        pixel_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        image_index: torch.Tensor | None = None,
        **stock: Any,
    ) -> Any:
        """Logits (batch, answers) and, where `labels` are given, stock's loss.

        Args:
            input_ids: (batch, tokens).
            attention_mask: (batch, tokens), 0 where text is padded; None: nowhere.
            pixel_values: (images, 3, height, width), all of it image.
            labels: (batch, answers), soft targets in [0, 1].
            image_index: (batch,), which of the images each question is about; None: one image each, in order.
            stock: Any other argument of the stock forward, which then answers.
        """
        if input_ids is None or pixel_values is None or self._needs_stock(stock):
            images = {"pixel_values": pixel_values, "pixel_mask": stock.pop("pixel_mask", None)}
            if image_index is not None:
                images = {name: given if given is None else given[image_index] for name, given in images.items()}
            return super().forward(input_ids, attention_mask, labels=labels, **images, **stock)
        logits = self.answer(self.encode(Batch(input_ids, attention_mask, pixel_values, image_index), 0), 0)
        loss = None
        if labels is not None:
            loss = functional.binary_cross_entropy_with_logits(logits, labels) * labels.shape[1]
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def encode(self, batch: Batch, depth: int) -> Hidden:
        """A batch after the first `depth` layers; `answer` does the rest."""
        layers = self.vilt.encoder.layer
        hidden = _embed(self.vilt.embeddings, batch)
        return _run_layers(hidden, layers[:depth], is_last=depth == len(layers))

    def answer(self, hidden: Hidden, depth: int) -> torch.Tensor:
        """Logits (batch, answers), fp32 where the weights are, of what `encode` gave for the same `depth`."""
        hidden = _run_layers(hidden, self.vilt.encoder.layer[depth:], is_last=True)
        with torch.autocast(hidden.states.device.type, enabled=False):
            first = self.vilt.layernorm(hidden.states.to(self.vilt.layernorm.weight.dtype))
            logits: torch.Tensor = self.classifier(self.vilt.pooler(first))
        return logits

    def save_pretrained(self, save_directory: str | PathLike[str], **options: Any) -> None:
        """Save as stock does, and as a stock model: nobody needs this class to read it."""
        super().save_pretrained(save_directory, **options)
        self.config.architectures = [ViltForQuestionAnswering.__name__]
        self.config.save_pretrained(save_directory)

    def _needs_stock(self, arguments: dict[str, Any]) -> bool:
        """Whether inputs or outputs are asked for, here or by the configuration, that only the stock forward has."""

        def wants(output: str) -> bool:
            wanted = arguments.get(output)
            return bool(getattr(self.config, output) if wanted is None else wanted)

        has_inputs = any(given is not None and not isinstance(given, bool) for given in arguments.values())
        has_outputs = wants("output_attentions") or wants("output_hidden_states") or not wants("return_dict")
        return has_inputs or has_outputs or self.config.max_image_length >= 0


def _embed(embeddings: Any, batch: Batch) -> Hidden:
    """Text and image tokens with their positions and modalities; images of several questions are embedded once."""
    modality = embeddings.token_type_embeddings.weight
    text = embeddings.text_embeddings(input_ids=batch.input_ids) + modality[_TEXT]
    image = _embed_images(embeddings, batch.pixel_values)
    if batch.image_index is not None:
        image = image.index_select(0, batch.image_index)  # image[index] adds up gradients in another order every time
    image = embeddings.dropout(image) + modality[_IMAGE]
    states = torch.cat([text, image], dim=1)
    if batch.attention_mask is None:
        return Hidden(states, None)
    return Hidden(states, functional.pad(batch.attention_mask.bool(), (0, image.shape[1]), value=True))


def _embed_images(embeddings: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """Patches with their positions, the image's own [CLS] first: (images, 1 + patches, width).

    Positions are interpolated bilinearly with aligned corners, as ViLT does per image.
    """
    patches = embeddings.patch_embeddings(pixel_values)
    images, _, rows, columns = patches.shape
    positions = embeddings.position_embeddings
    side = math.isqrt(positions.shape[1] - 1)
    grid = positions[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    if (rows, columns) != (side, side):
        grid = functional.interpolate(grid, size=(rows, columns), mode="bilinear", align_corners=True)
    placed = (patches + grid).flatten(2).transpose(1, 2)
    first = (embeddings.cls_token + positions[:, :1]).expand(images, -1, -1)
    return torch.cat([first, placed], dim=1)


def _run_layers(hidden: Hidden, layers: Any, *, is_last: bool) -> Hidden:
    """Through these layers; where the encoder's last is among them, it leaves the first token alone."""
    mask = None if hidden.mask is None else hidden.mask[:, None, None, :]
    states = hidden.states
    for layer in layers[:-1] if is_last else layers:
        states = layer(states, mask)[0]
    if not is_last or not len(layers):
        return hidden._replace(states=states)
    return Hidden(_compute_first_token(layers[-1], states, mask), None)


def _compute_first_token(layer: Any, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """A layer's output for the first token alone, (batch, 1, width); it attends to all tokens."""
    first = states[:, :1]
    context = layer.attention.attention.attend_from_first(layer.layernorm_before(states), mask)
    attended = layer.attention.output(context, first) + first
    output: torch.Tensor = layer.output(layer.intermediate(layer.layernorm_after(attended)), attended)
    return output


class _FusedSelfAttention(ViltSelfAttention):  # type: ignore[misc]  # transformers has no types
    """Self-attention by torch's fused kernel where that is the fastest way. Masks are bool: which tokens are real."""

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, output_attentions: bool = False
    ) -> Any:
        """(context of (batch, tokens, width),), and stock's weights where they are asked for.

        `attention_mask` may be what stock gives, numbers to add to scores: 0 where a token is real.
        """
        if output_attentions:
            return super().forward(hidden_states, attention_mask, output_attentions)
        mask = attention_mask if attention_mask is None or attention_mask.dtype == torch.bool else attention_mask == 0
        return (self._attend(hidden_states, hidden_states, mask),)

    def attend_from_first(self, hidden_states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """The context of the first token alone, (batch, 1, width)."""
        first = hidden_states[:, :1]
        if _is_plain(self.key) and _is_plain(self.value):
            return self._attend_absorbed(first, hidden_states, mask)
        return self._attend(first, hidden_states, mask)

    def _attend(self, asking: torch.Tensor, asked: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        query, key, value = (
            projected.unflatten(-1, (self.num_attention_heads, -1)).transpose(1, 2)
            for projected in (self.query(asking), self.key(asked), self.value(asked))
        )
        if query.device.type == "cpu" and query.dtype == torch.bfloat16:
            scores = query @ key.transpose(-1, -2) / math.sqrt(self.attention_head_size)
            context = self._weigh(scores, mask) @ value  # the fused kernel took twice as long with avx512_bf16
        else:
            dropout = self.dropout.p if self.training else 0.0
            context = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        attended: torch.Tensor = context.transpose(1, 2).flatten(2)
        return attended

    def _weigh(self, scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attention weights of scores, with `mask` of as many axes."""
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        weights: torch.Tensor = self.dropout(scores.softmax(dim=-1))
        return weights

    def _attend_absorbed(self, first: torch.Tensor, asked: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """`_attend` for one query, with its two large products regrouped.

        q·(K x + k) = (q K)·x + q·k, and the sum of w (V x + v) is V (the sum of w x) + v (the sum of w): what was
        multiplied for every token is multiplied once. That is a sixth of a layer, and almost all of it for the first
        token.
        """
        heads = self.num_attention_heads
        key, value = (linear.weight.unflatten(0, (heads, -1)) for linear in (self.key, self.value))
        query = self.query(first).unflatten(-1, (heads, -1))[:, 0].transpose(0, 1) / math.sqrt(self.attention_head_size)
        scores = (query @ key).transpose(0, 1) @ asked.transpose(1, 2)
        if self.key.bias is not None:  # the same for all tokens, so it changes no weight; but a gradient it has, of 0
            scores = scores + (query @ self.key.bias.view(heads, -1, 1)).transpose(0, 1)
        weights = self._weigh(scores, None if mask is None else mask[:, 0])
        context: torch.Tensor = (weights @ asked).transpose(0, 1) @ value.transpose(1, 2)
        if self.value.bias is not None:
            context = context + weights.sum(dim=-1).T[..., None] * self.value.bias.view(heads, 1, -1)
        return context.transpose(0, 1).flatten(1)[:, None]


def _is_plain(linear: nn.Module) -> bool:
    """Whether a layer's output is its weight times the input and nothing else: no LoRA, no hook, not quantized."""
    return type(linear) is nn.Linear and not any(vars(linear)[hooks] for hooks in _HOOKS)


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
