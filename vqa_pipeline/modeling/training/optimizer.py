"""AdamW over the learnable parameters, and its state as plain tensors, so that saving it needs no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from vqa_pipeline.modeling.strategies import Learnable

BETAS = (0.9, 0.98)
EPSILON = 1e-8
"""Both from the original fine-tuning. Source: dandelin/ViLT 762fd39, `vilt/modules/vilt_utils.py`."""

_MOMENTS = ("exp_avg", "exp_avg_sq")
_STATE = ("step", *_MOMENTS)


class Optimizer:
    """AdamW whose rate is set at every step. Its state is there from the start, so that no step needs more memory."""

    def __init__(self, learnable: Learnable) -> None:
        self._groups = learnable.groups
        self._named = {
            name: parameter
            for group in learnable.groups
            for name, parameter in zip(group.names, group.parameters, strict=True)
        }
        groups = [{"params": list(group.parameters), "weight_decay": group.weight_decay} for group in self._groups]
        self._adamw: Any = torch.optim.AdamW(groups, lr=0.0, betas=BETAS, eps=EPSILON, fused=True)
        for parameter in self._named.values():
            moments = {quantity: torch.zeros_like(parameter) for quantity in _MOMENTS}
            self._adamw.state[parameter] = {"step": torch.zeros((), device=parameter.device), **moments}

    def clear(self) -> None:
        """Forget gradients."""
        self._adamw.zero_grad(set_to_none=True)

    def fill_gradients(self) -> list[torch.Tensor]:
        """The gradients, in an order that is always the same; zeros where a parameter got none."""
        for parameter in self._named.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [parameter.grad for parameter in self._named.values() if parameter.grad is not None]

    def clip(self, max_norm: float) -> torch.Tensor:
        """Scale gradients down to a total norm; returns the norm before, which may be NaN or infinite."""
        return torch.nn.utils.clip_grad_norm_(list(self._named.values()), max_norm)

    def update(self, learning_rate: float, skip: torch.Tensor) -> None:
        """One step; where `skip`, a scalar on the device, is 1 instead of 0, weights and state stay as they are.

        The kernel looks at `skip`, so nobody waits for the device. Source: torch's `AdamW(fused=True)` leaves out a
        step when the attribute `found_inf` says so, which is how its GradScaler uses it.
        """
        for group, adamw_group in zip(self._groups, self._adamw.param_groups, strict=True):
            adamw_group["lr"] = learning_rate * group.rate_factor
        self._adamw.found_inf = skip
        self._adamw.step()

    def get_weights(self) -> dict[str, torch.Tensor]:
        """The learnable parameters by name."""
        return {name: parameter.detach() for name, parameter in self._named.items()}

    def set_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Give every learnable parameter the value that `get_weights` told."""
        for name, weight in self.get_weights().items():
            weight.copy_(weights[name])

    def get_tensors(self) -> dict[str, torch.Tensor]:
        """The state by `<parameter>/<quantity>`."""
        return {
            f"{name}/{quantity}": self._adamw.state[parameter][quantity]
            for name, parameter in self._named.items()
            for quantity in _STATE
        }

    def set_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state that `get_tensors` gave."""
        for name, tensor in self.get_tensors().items():
            tensor.copy_(tensors[name])
