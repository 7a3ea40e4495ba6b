"""Resized images of a job, by number: kept in memory where they fit, else decoded again for every batch.

Either way gives the same bytes. Decoding runs in threads, since Pillow releases the interpreter's lock while it works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from vqa_pipeline.modeling.image_packs import ImagePacks, decode_packed
from vqa_pipeline.modeling.pixels import PixelRules

IN_MEMORY_BYTES = 2 * 1024**3
"""Images are kept in memory if all of them together need no more than this: 2 GiB are 3,600 images of 384 x 512."""

_DECODED_AT_ONCE = 256

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def _never() -> bool:
    return False


class PixelStore:
    """Images by number, resized as the rules say."""

    def __init__(
        self,
        packs: ImagePacks,
        shas: Sequence[str],
        rules: PixelRules,
        threads: int = 1,
        in_memory_bytes: int = IN_MEMORY_BYTES,
    ) -> None:
        """Images `shas`, numbered in their order; nothing is decoded yet."""
        self.rules = rules
        self._packs, self._shas, self._threads = packs, tuple(shas), threads
        self._numbers = {sha256: number for number, sha256 in enumerate(self._shas)}
        self.sizes = [rules.compute_size(*packs.measure(sha256)) for sha256 in self._shas]
        """(height, width) of each image after resizing."""
        num_bytes = sum(3 * height * width for height, width in self.sizes)
        self._kept: dict[int, Pixels] | None = {} if num_bytes <= in_memory_bytes else None

    @property
    def keeps_all(self) -> bool:
        """Whether the images are kept in memory."""
        return self._kept is not None

    def number(self, sha256: str) -> int:
        """The number of an image."""
        return self._numbers[sha256]

    def fill(self, should_stop: Callable[[], bool] = _never) -> None:
        """Decode everything that is to be kept in memory; stops early when asked to."""
        if self._kept is None:
            return
        missing = [number for number in range(len(self._shas)) if number not in self._kept]
        for start in range(0, len(missing), _DECODED_AT_ONCE):
            if should_stop():
                return
            self._kept.update(self._decode(missing[start : start + _DECODED_AT_ONCE]))

    def get(self, numbers: Sequence[int] | np.ndarray[Any, np.dtype[np.int64]]) -> Pixels:
        """Images of one size: bytes of shape (len(numbers), 3, height, width)."""
        kept = self._kept
        found = kept if kept is not None and all(number in kept for number in numbers) else self._decode(numbers)
        return np.stack([found[number] for number in numbers])

    def _decode(self, numbers: Iterable[int]) -> dict[int, Pixels]:
        read = self._packs.read(self._shas[number] for number in numbers)
        with ThreadPoolExecutor(self._threads) as pool:
            return dict(pool.map(self._decode_one, read))

    def _decode_one(self, packed: tuple[str, bytes]) -> tuple[int, Pixels]:
        sha256, data = packed
        return self._numbers[sha256], self.rules.resize(decode_packed(sha256, data))
