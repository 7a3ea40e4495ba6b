"""What a training computes once instead of in every epoch, because it does not learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vqa_pipeline.modeling.batches import BatchSource
from vqa_pipeline.modeling.devices import Placement
from vqa_pipeline.modeling.events import Report, log
from vqa_pipeline.modeling.inputs import AboveTrunk, Inputs, WholeForward
from vqa_pipeline.modeling.pixel_cache import PixelCache
from vqa_pipeline.modeling.pixels import PixelRules
from vqa_pipeline.modeling.settings import TrainingSettings
from vqa_pipeline.modeling.training.processes import Processes
from vqa_pipeline.modeling.trunk import Trunk, find_frozen_layers
from vqa_pipeline.modeling.trunk_cache import TrunkCache

_DEVICE_SHARE = 0.5
"""Of a GPU's free memory, for hidden states; the rest is for computing."""

_GIGABYTE = 10**9


class FrozenWork:
    """The frozen part of one model, if there is any, for all sets of questions that are asked of it."""

    def __init__(
        self,
        model: Any,
        settings: TrainingSettings,
        rules: PixelRules,
        placement: Placement,
        folder: Path,
        report: Report,
    ) -> None:
        """For a model that knows what learns, on its device; `folder` is where caches are kept."""
        self._model, self._settings, self._placement = model, settings, placement
        self._folder, self._report = folder / "trunk", report
        self._caches: list[TrunkCache] = []
        layers = find_frozen_layers(model)
        if layers.depth:
            frozen = f"The embeddings and {layers.depth} of {model.config.num_hidden_layers} layers do not learn"
            how = f"in every epoch all the same: {layers.refusal}" if layers.refusal else "once"
            log(report, f"{frozen}; what they make of a question is computed {how}.")
        self._depth = 0 if layers.refusal else layers.depth
        self._trunk = Trunk(model, self._depth, rules, placement) if self._depth else None

    def make_inputs(self, batches: BatchSource) -> Inputs:
        """The way from questions to their logits; call `prepare` before it is taken."""
        if self._trunk is None:
            return WholeForward(self._model, batches, self._placement)
        self._caches.append(TrunkCache(self._folder, self._trunk, batches))
        return AboveTrunk(self._caches[-1])

    def prepare(self, pixels: PixelCache, processes: Processes, should_stop: Callable[[], bool]) -> None:
        """Compute what is to be computed once, together with the other processes; stops early when asked to.

        Images are decoded only if something has to be computed from them.
        """
        keeps = self._settings.cache == "auto"
        if keeps:
            self._look_up(should_stop)
        needs_pixels = not self._caches or any(len(cache.missing) for cache in self._caches)
        if processes.any(needs_pixels):  # when all have answered, all have looked up, and their shares fit together
            with processes.main_first():
                pixels.fill(should_stop, self._report)
        if keeps:
            self._compute(processes, should_stop)

    def describe(self) -> dict[str, int]:
        """For the record: layers computed once, questions that pass through them, and how many of those are kept."""
        num_questions = sum(cache.num_questions for cache in self._caches)
        num_missing = sum(len(cache.missing) for cache in self._caches)
        return {
            "num_layers": self._depth,
            "num_questions": num_questions,
            "num_cached": num_questions - num_missing,
        }

    def _compute(self, processes: Processes, should_stop: Callable[[], bool]) -> None:
        for cache in self._caches:
            max_bytes = int(self._settings.cache_gigabytes * _GIGABYTE)
            cache.fill(max_bytes, processes.share, should_stop, self._report)
        processes.any(flag=False)  # when all are here, all is there
        self._look_up(should_stop)
        for cache in self._caches:
            cache.move_to_device(_measure_room(self._placement.device))

    def _look_up(self, should_stop: Callable[[], bool]) -> None:
        for cache in self._caches:
            cache.look_up(should_stop, self._report)


def _measure_room(device: torch.device) -> int:
    """Bytes of a GPU to keep hidden states in; on a CPU they are where they are needed already."""
    return int(_DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0
