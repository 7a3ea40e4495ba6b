"""Images decoded and resized once: memory-mapped files in scratch, shared by every training and prediction.

Images are known by the digest of their file and by what is done to them, so that whoever wants the same pixels finds
them. What the disk has no room for is decoded again for every batch, to the same bytes; deleting it all costs no more
than time. Decoding runs in threads, since Pillow and torch release the interpreter's lock while they work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from vqa_pipeline.errors import DiskError
from vqa_pipeline.files import make_folder
from vqa_pipeline.modeling.events import Event, Report, log, tell_progress
from vqa_pipeline.modeling.image_packs import ImagePacks, decode_packed
from vqa_pipeline.modeling.pixels import PixelRules, Pixels
from vqa_pipeline.modeling.segments import SegmentWriter, Stored, measure_room, read_segment, read_segments

_AT_ONCE = 64
"""Images between two looks at whether to stop."""

Thing = TypeVar("Thing")


def _never() -> bool:
    return False


def _ignore(_event: Event) -> None:
    return


class PixelCache:
    """Images by number, resized as the rules say."""

    def __init__(
        self, folder: Path, packs: ImagePacks, shas: Sequence[str], rules: PixelRules, threads: int = 1
    ) -> None:
        """Images `shas`, numbered in their order; nothing is read or decoded yet."""
        self.rules = rules
        self._folder, self._packs, self._shas = folder / rules.key, packs, tuple(shas)
        self._numbers = {sha256: number for number, sha256 in enumerate(self._shas)}
        self.sizes = [rules.compute_size(*packs.measure(sha256)) for sha256 in self._shas]
        """(height, width) of each image after resizing."""
        self._cached: dict[int, Pixels] = {}
        self._decoders, self._reading = ThreadPoolExecutor(threads, "decoder"), threading.Lock()

    @property
    def num_cached(self) -> int:
        """Images that need not be decoded for every batch."""
        return len(self._cached)

    @property
    def is_complete(self) -> bool:
        """Whether no image has to be decoded any more."""
        return len(self._cached) == len(self._shas)

    def number(self, sha256: str) -> int:
        """The number of an image."""
        return self._numbers[sha256]

    def fill(
        self,
        should_stop: Callable[[], bool] = _never,
        report: Report = _ignore,
        room_bytes: int | None = None,
    ) -> None:
        """Check what is cached, and decode what is missing as far as there is room; stops early when asked to.

        Args:
            should_stop: Asked now and then.
            report: Hears how far it is, and of damaged images and of a disk that is full or cannot be written.
            room_bytes: How much may be added; None: all that leaves a tenth of the disk free.
        """
        self._check(should_stop, report)
        missing = [number for number in range(len(self._shas)) if number not in self._cached]
        if not missing or should_stop():
            return
        try:
            make_folder(self._folder)
            fitting = self._choose_fitting(missing, measure_room(self._folder) if room_bytes is None else room_bytes)
            if len(fitting) < len(missing):
                log(
                    report,
                    f"{self._folder} has no room for the pixels of {len(missing) - len(fitting)} images. {_SLOW}",
                )
            self._decode_to_disk(fitting, should_stop, report)
        except DiskError as error:
            log(report, f"The pixels of {len(missing)} images are not kept: {error} {_SLOW}")

    def read(self, numbers: Iterable[int], pixels: Pixels | None = None) -> Pixels:
        """Images of one size: bytes of shape (images, 3, height, width), written to `pixels` where that is given."""
        listed = list(numbers)
        read = np.empty((len(listed), 3, *self.sizes[listed[0]]), np.uint8) if pixels is None else pixels
        decoded = self._decode_again({number for number in listed if number not in self._cached})
        for line, number in enumerate(listed):
            read[line] = decoded[number] if number in decoded else self._cached[number]
        return read

    def _check(self, should_stop: Callable[[], bool], report: Report) -> None:
        """Take whatever is cached and intact."""
        wanted = [stored for stored in read_segments(self._folder) if stored.sha256 in self._numbers]
        damaged, done = set(), 0
        for chunk in _cut(wanted):
            if should_stop():
                return
            for stored, is_intact in zip(chunk, self._decoders.map(self._is_intact, chunk), strict=True):
                if is_intact:
                    self._take(stored)
                else:
                    damaged.add(self._numbers[stored.sha256])
            done += len(chunk)
            tell_progress(report, "checking cached images", done, len(wanted), "images")
        if damaged - self._cached.keys():
            log(report, f"{len(damaged - self._cached.keys())} cached images are damaged and are decoded again.")

    def _is_intact(self, stored: Stored) -> bool:
        height, width = self.sizes[self._numbers[stored.sha256]]
        return stored.data.size == 3 * height * width and stored.is_intact(self.rules.key)

    def _take(self, stored: Stored) -> None:
        number = self._numbers[stored.sha256]
        self._cached[number] = stored.data.reshape(3, *self.sizes[number])

    def _choose_fitting(self, missing: Sequence[int], room_bytes: int) -> list[int]:
        ends = np.cumsum([3 * height * width for height, width in (self.sizes[number] for number in missing)])
        return list(missing[: int(np.searchsorted(ends, room_bytes, "right"))])

    def _decode_to_disk(self, numbers: Sequence[int], should_stop: Callable[[], bool], report: Report) -> None:
        done = 0
        with SegmentWriter(self._folder, self.rules.key) as segment:
            for chunk in _cut(self._packs.read(self._shas[number] for number in numbers)):
                if should_stop():
                    break
                for named in self._decoders.map(self._decode, chunk):
                    segment.append([named])  # while its pixels are still in the processor's cache
                done += len(chunk)
                tell_progress(report, "decoding images", done, len(numbers), "images")
        for stored in read_segment(segment.index):
            self._take(stored)

    def _decode_again(self, numbers: Iterable[int]) -> dict[int, Pixels]:
        with self._reading:  # packs are read by one thread at a time
            packed = list(self._packs.read(self._shas[number] for number in numbers))
        return {self._numbers[sha256]: pixels for sha256, pixels in self._decoders.map(self._decode, packed)}

    def _decode(self, packed: tuple[str, bytes]) -> tuple[str, Pixels]:
        sha256, data = packed
        return sha256, self.rules.resize(decode_packed(sha256, data))


_SLOW = "They are decoded for every batch, which is slow."


def _cut(things: Iterable[Thing]) -> Iterator[list[Thing]]:
    iterator = iter(things)
    while chunk := list(islice(iterator, _AT_ONCE)):
        yield chunk
