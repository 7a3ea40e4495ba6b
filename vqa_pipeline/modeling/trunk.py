"""The part of a model that does not learn, from the input up: what it makes of a question never changes.

How far up it reaches is read off the model itself, not off its settings: in it nothing learns and nothing is random.
What comes out of a trunk depends on the question and its image alone, on a CPU to the last bit.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

import torch
from torch import nn

from vqa_pipeline.modeling.batches import Batch
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.pixels import PixelRules
from vqa_pipeline.modeling.segments import Data
from vqa_pipeline.modeling.tensor_files import digest_tensors

_ENCODING = 1
"""Raised by hand when `Trunk.encode` makes other rows of the same question."""

_ROWS_AT_ONCE = {"cpu": 1, "cuda": 32}
"""Questions encoded together, by device. A matrix product may round a row otherwise in other company, so on a CPU each
is alone; at ViLT-B's size that costs nothing (8 at once: 0.97 of the time)."""

_OF_ANSWERS = ("id2label", "label2id", "vocabulary_fingerprint")
_OF_FILES = ("name_or_path", "_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")


class FrozenLayers(NamedTuple):
    """The part of a model below whatever learns."""

    depth: int
    """Encoder layers in it; 0: the embeddings or the first layer learn."""
    refusal: str = ""
    """Why what it makes of a question cannot be computed once; empty: it can."""


def find_frozen_layers(model: Any) -> FrozenLayers:
    """Those of a `FastViltForQuestionAnswering`, wrapped or not, whose parameters know whether they learn."""
    vilt = model.vilt
    layers = list(vilt.encoder.layer)
    learning = [number for number, layer in enumerate(layers) if _learns(layer)]
    depth = 0 if _learns(vilt.embeddings) else min(learning, default=len(layers))
    dropout = max(map(_find_dropout, [vilt.embeddings, *layers[:depth]]))
    if depth and dropout:
        return FrozenLayers(depth, f"dropout of {dropout:g} makes it other every time")
    if depth and model.config.max_image_length >= 0:
        return FrozenLayers(depth, "it looks at patches drawn at random")
    return FrozenLayers(depth)


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _find_dropout(module: nn.Module) -> float:
    return max((part.p for part in module.modules() if isinstance(part, nn.Dropout)), default=0.0)


class Trunk:
    """A model's embeddings and first layers."""

    def __init__(self, model: Any, depth: int, rules: PixelRules, placement: Placement) -> None:
        """The first `depth` layers of a model that is on the device of `placement`; `rules` made its pixels."""
        self.model, self.depth, self.placement = model, depth, placement
        self.rows_at_once = _ROWS_AT_ONCE[placement.device.type]
        """Questions of a batch to encode."""
        config = model.config
        self.is_whole = depth == config.num_hidden_layers
        """Whether it is all but the head, so that a question's first token is all that is kept: its features."""
        self.dtype = torch.float32 if self.is_whole or placement.precision == "fp32" else torch.float16
        """Of what is kept. The first token alone takes little room; of many tokens, what is computed in bf16, to eight
        bits, is rounded to eleven: by a share of 2**-11 at most. A number beyond 65,504 would become infinite, which
        training would tell; ViT's are some hundreds."""
        self.num_bytes = config.hidden_size * self.dtype.itemsize
        """Of a token."""
        self.key = self._compute_key(rules)
        """A name for all that rows depend on, but for question, image and the number of threads."""

    def _compute_key(self, rules: PixelRules) -> str:
        vilt = self.model.vilt
        parts = [vilt.embeddings, *vilt.encoder.layer[: self.depth]]
        weights = {f"{number}.{name}": tensor for number, part in enumerate(parts) for name, tensor in _list(part)}
        config = self.model.config.to_dict()
        told = [
            _ENCODING,
            self.depth,
            str(self.dtype),
            [rules.key, rules.rescale_factor, rules.mean, rules.std],
            [self.placement.device.type, self.placement.precision, self.rows_at_once, torch.__version__],
            {name: value for name, value in config.items() if name not in {*_OF_ANSWERS, *_OF_FILES}},
            digest_tensors(weights),
        ]
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def encode(self, batch: Batch) -> list[Data]:
        """For each question of a batch its hidden states: (tokens, `num_bytes`), bytes of `dtype`, without padding.

        Tokens are text before image; at the depth of all layers there is the first alone.
        """
        with torch.no_grad(), self.placement.autocast():
            hidden = self.model.encode(batch, self.depth)
        rows: Data = hidden.states.to(self.dtype).cpu().contiguous().view(torch.uint8).numpy()
        if hidden.mask is None:
            return list(rows)
        return [row[is_token] for row, is_token in zip(rows, hidden.mask.cpu().numpy(), strict=True)]


def _list(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]
