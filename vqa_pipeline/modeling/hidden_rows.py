"""Hidden states of questions with different numbers of tokens, put together into one batch.

Padding comes last, after the image: layers do not mind the order of tokens, and the first stays the first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vqa_pipeline.modeling.batches import Positions
from vqa_pipeline.modeling.fast_vilt import Hidden
from vqa_pipeline.modeling.segments import Data

_COPIED_AT_ONCE = 256
"""Rows; of a ViLT-B in fp32, all tokens of so many questions are 160 MB."""


def stack_rows(rows: Sequence[Data], dtype: torch.dtype, device: torch.device) -> Hidden:
    """A batch in fp32 on a device, of rows on the host: (tokens, bytes of a token) each, bytes of `dtype`."""
    lengths = np.array([len(row) for row in rows], np.int64)
    shape = (len(rows), int(lengths.max()), rows[0].shape[1])
    block = torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    lines = block.numpy()
    for line, row in zip(lines, rows, strict=True):
        line[: len(row)] = row
        line[len(row) :] = 0  # weighted with zero, whatever was there might be NaN
    states = block.to(device, non_blocking=True).view(dtype).float()
    return Hidden(states, _mask(torch.from_numpy(lengths), shape[1], device))


class DeviceRows:
    """Rows that are all on the device: a batch of them is gathered without the host."""

    def __init__(self, rows: Sequence[Data], dtype: torch.dtype, device: torch.device) -> None:
        """Copies them there; they are as `stack_rows` takes them."""
        self._lengths = torch.tensor([len(row) for row in rows])
        self._starts = self._lengths.cumsum(0) - self._lengths
        shape = (int(self._lengths.sum()), rows[0].shape[1] // dtype.itemsize)
        self._states = torch.empty(shape, dtype=dtype, device=device)
        done = 0
        for first in range(0, len(rows), _COPIED_AT_ONCE):
            together = np.concatenate(rows[first : first + _COPIED_AT_ONCE])
            self._states[done : done + len(together)] = torch.from_numpy(together).view(dtype).to(device)
            done += len(together)

    def stack(self, positions: Positions) -> Hidden:
        """What `stack_rows` makes of the rows at these positions."""
        device, chosen = self._states.device, torch.from_numpy(positions)
        lengths = self._lengths[chosen]
        longest = int(lengths.max())
        places = (self._starts[chosen, None] + torch.arange(longest)).clamp_(max=len(self._states) - 1)
        states = self._states[places.to(device, non_blocking=True)].float()
        mask = _mask(lengths, longest, device)
        return Hidden(states if mask is None else states.masked_fill_(~mask[..., None], 0.0), mask)


def _mask(lengths: torch.Tensor, longest: int, device: torch.device) -> torch.Tensor | None:
    mask = torch.arange(longest) < lengths[:, None]
    return None if bool(mask.all()) else mask.to(device)
