"""The models that `training.py` compares, and a step of training that treats them alike."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from training_inputs import NUM_ANSWERS, Fed

from vqa_pipeline.modeling.batches import Batch
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.fast_vilt import Hidden
from vqa_pipeline.modeling.stock import ViltConfig

NUM_LAYERS = 12
LEARNING = {
    "full": ("",),
    "last_layers": tuple(f"vilt.{part}" for part in ("encoder.layer.10.", "encoder.layer.11.", "layernorm", "pooler")),
    "head": (),
}
"""Prefixes of the parameters that learn under a strategy, beside the head's."""

DEPTHS = {"last_layers": NUM_LAYERS - 2, "head": NUM_LAYERS}
"""Layers that are frozen under a strategy, so that they are computed once."""

_LORA_TARGETS = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
_LORA_RANK = 16


def build_model(kind: type[Any], device: torch.device, like: Any = None) -> Any:
    """A model of ViLT-B/32's size, with random weights or the very ones, in memory too, of another."""
    torch.manual_seed(0)
    model = kind(ViltConfig(num_labels=NUM_ANSWERS)).to(device)
    if like is not None:
        model.load_state_dict(like.state_dict(keep_vars=True), assign=True)
    return model.train()


def _let_learn(model: Any, strategy: str) -> Any:
    if strategy == "lora":
        import peft

        warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)  # peft calls it by its old name
        config = peft.LoraConfig(r=_LORA_RANK, target_modules=_LORA_TARGETS, modules_to_save=["classifier"])
        return peft.get_peft_model(model, config)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith((*LEARNING[strategy], "classifier.")))
    return model


class Learner:
    """A model, of which learns what a strategy lets, with its optimizer."""

    def __init__(self, model: Any, strategy: str, placement: Placement) -> None:
        self.model, self._placement = _let_learn(model, strategy), placement
        self._learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(self._learning, lr=1e-6, fused=True)

    def step(self, fed: Fed) -> None:
        """From a batch to an update."""
        self._step(fed, lambda: self.model(**fed.inputs).logits)

    def step_from(self, hidden: Hidden, depth: int, fed: Fed) -> None:
        """The same from what `encode` gave."""
        self._step(fed, lambda: self.model.answer(hidden, depth))

    def _step(self, fed: Fed, compute_logits: Callable[[], torch.Tensor]) -> None:
        with self._placement.autocast():
            logits = compute_logits()
        loss = functional.binary_cross_entropy_with_logits(logits.float(), fed.targets) * fed.targets.shape[1]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._learning, 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def encode(self, fed: Fed, depth: int) -> Hidden:
        """What is computed once where the first `depth` layers are frozen."""
        with torch.no_grad(), self._placement.autocast():
            return self.model.encode(Batch(**fed.inputs), depth)

    def answer(self, fed: Fed) -> None:
        """The best answer to every question of a batch."""
        with torch.inference_mode(), self._placement.autocast():
            self.model(**fed.inputs).logits.argmax(dim=-1).cpu()
