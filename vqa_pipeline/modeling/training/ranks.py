"""Several processes that train one model on one machine: each computes its share of every batch, sums make it whole.

accelerate joins them (gloo between CPUs, NCCL between GPUs) and gives each its GPU. What starts and ends them, such as
`vqa_pipeline.launcher` or torchrun, tells them by environment variables which of how many they are; accelerate reads
those, this module reads none. A rank that fails takes the others with it: their next sum fails, or they are ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import PartialState
from torch import distributed

from vqa_pipeline.errors import SettingsError

_BACKENDS = {"cpu": "gloo", "cuda": "cuda:nccl,cpu:gloo"}
_PATIENCE = timedelta(days=7)
"""How long a rank waits for the others. Whoever started them sees when one dies; a slow one is not dead."""
_BUCKET_ELEMENTS = 2**23
"""Tensors are summed together up to this many numbers: few messages, and little memory for their copies."""


class Ranks:
    """This process as one of those that train together: the way `Processes` are with more than one."""

    def __init__(self, device: torch.device, count: int) -> None:
        """Join the other `count` - 1 ranks, which compute on the same kind of device.

        Raises:
            SettingsError: this process was not started as one of `count`, or there are fewer GPUs.
        """
        _check_gpus(device, count)
        self._state = PartialState(cpu=device.type == "cpu", backend=_BACKENDS[device.type], timeout=_PATIENCE)
        if self._state.num_processes != count:
            raise SettingsError(
                "training.processes",
                f"{count} processes are asked for and {self._state.num_processes} joined",
                f"Start the worker by itself, or by `torchrun --standalone --nproc-per-node {count}`.",
            )

    @property
    def count(self) -> int:
        """How many train together."""
        return int(self._state.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this process writes and reports."""
        return bool(self._state.is_main_process)

    def share(self, num_questions: int) -> range:
        """Which of a batch's questions this process computes: neighbours, which may be about one image.

        The shares of all ranks make the batch; their sizes differ by at most 1, so some are empty in a small batch.
        """
        rank, count = int(self._state.process_index), self.count
        return range(rank * num_questions // count, (rank + 1) * num_questions // count)

    def sum(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over ranks, in place; every rank gets the same bits.

        Every rank gives tensors of the same shapes in the same order.
        """
        for bucket in _fill_buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            distributed.all_reduce(flat)
            parts = torch.split(flat, [tensor.numel() for tensor in bucket])
            for tensor, summed in zip(bucket, parts, strict=True):
                tensor.copy_(summed.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any rank; all get the same answer."""
        raised = torch.tensor(int(flag))
        distributed.all_reduce(raised)
        return bool(raised.item())

    def spread(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every rank the main one's values, in place, so that all start from the same bits."""
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The main rank does what is inside, such as filling a cache, before the others do."""
        with self._state.main_process_first():
            yield

    def leave(self) -> None:
        """There is nothing more to do together."""
        self._state.destroy_process_group()


def _check_gpus(device: torch.device, count: int) -> None:
    if device.type == "cuda" and torch.cuda.device_count() < count:
        raise SettingsError(
            "training.processes",
            f"{count} processes are asked for and there are {torch.cuda.device_count()} GPUs",
            "Ask for at most one process per GPU.",
        )


def _fill_buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """The tensors in order, in runs of one kind on one device: at most so many numbers, or a single large tensor."""
    bucket: list[torch.Tensor] = []
    size = 0
    for tensor in tensors:
        fits = size + tensor.numel() <= _BUCKET_ELEMENTS
        if bucket and not (fits and (tensor.dtype, tensor.device) == (bucket[0].dtype, bucket[0].device)):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket
