"""AdamW over the learnable parameters, and its state as plain tensors, so that saving it needs no pickle."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vqa_pipeline.modeling.strategies import Learnable

BETAS = (0.9, 0.98)
EPSILON = 1e-8
"""Both from the original fine-tuning. Source: dandelin/ViLT 762fd39, `vilt/modules/vilt_utils.py`."""

_STATE = ("step", "exp_avg", "exp_avg_sq")


class Optimizer:
    """AdamW whose rate is set at every step."""

    def __init__(self, learnable: Learnable) -> None:
        self._groups = learnable.groups
        self._named = {
            name: parameter
            for group in learnable.groups
            for name, parameter in zip(group.names, group.parameters, strict=True)
        }
        groups = [{"params": list(group.parameters), "weight_decay": group.weight_decay} for group in self._groups]
        self._adamw = torch.optim.AdamW(groups, lr=0.0, betas=BETAS, eps=EPSILON, fused=True)

    def clear(self) -> None:
        """Forget gradients."""
        self._adamw.zero_grad(set_to_none=True)

    def clip(self, max_norm: float) -> torch.Tensor:
        """Scale gradients down to a total norm; returns the norm before, which may be NaN or infinite."""
        return torch.nn.utils.clip_grad_norm_(list(self._named.values()), max_norm)

    def update(self, learning_rate: float) -> None:
        """One step."""
        for group, adamw_group in zip(self._groups, self._adamw.param_groups, strict=True):
            adamw_group["lr"] = learning_rate * group.rate_factor
        self._adamw.step()

    def get_tensors(self) -> dict[str, torch.Tensor]:
        """The state by `<parameter>/<quantity>`."""
        return {
            f"{name}/{quantity}": self._adamw.state[parameter][quantity]
            for name, parameter in self._named.items()
            if parameter in self._adamw.state
            for quantity in _STATE
        }

    def set_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state that `get_tensors` gave."""
        for name, parameter in self._named.items():
            if f"{name}/step" in tensors:
                moments = {quantity: tensors[f"{name}/{quantity}"] for quantity in _STATE}
                self._adamw.state[parameter] = {
                    quantity: tensor.to(parameter.device) for quantity, tensor in moments.items()
                }
