"""What a trunk makes of questions, computed once: memory-mapped files in scratch, for every epoch and training.

A question is known by its image and its tokens, what is done to it by `Trunk.key`; so after new data only what is new
is computed. What is not cached is computed whenever it is asked for, by the same function, to the same bytes: a cache
changes how long a training takes, never, on a CPU, a bit of its outcome. The files are mapped, so that as much of them
is in the host's memory as it has to spare; on a GPU that has room for all of it, all of it lies there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from vqa_pipeline.errors import DiskError
from vqa_pipeline.files import make_folder
from vqa_pipeline.modeling.batches import BATCHES_AHEAD, BatchSource, Positions
from vqa_pipeline.modeling.events import Event, Report, log, tell_progress
from vqa_pipeline.modeling.fast_vilt import Hidden
from vqa_pipeline.modeling.hidden_rows import DeviceRows, stack_rows
from vqa_pipeline.modeling.read_ahead import Cut, ReadAhead
from vqa_pipeline.modeling.segments import Data, SegmentWriter, Stored, measure_room, read_segments
from vqa_pipeline.modeling.trunk import Trunk

_AT_ONCE = 256
"""Questions between two looks at whether to stop."""

_SLOW = "They are computed in every epoch."


def _never() -> bool:
    return False


def _ignore(_event: Event) -> None:
    return


class TrunkCache:
    """Hidden states of one set of questions, by their positions."""

    def __init__(self, folder: Path, trunk: Trunk, batches: BatchSource) -> None:
        """Nothing is read or computed yet."""
        self.trunk = trunk
        self._root, self._folder, self._batches = folder, folder / trunk.key, batches
        self._digests = [batches.identify(position) for position in range(len(batches.question_ids))]
        self._rows: list[Data | None] = [None] * len(self._digests)
        self._on_device: DeviceRows | None = None
        self._ahead = ReadAhead(self._read_rows)
        self.num_encoded = 0
        """How often a question went through the trunk."""

    @property
    def num_questions(self) -> int:
        """Of the set."""
        return len(self._rows)

    @property
    def missing(self) -> Positions:
        """Questions that are not cached."""
        return np.array([position for position, row in enumerate(self._rows) if row is None], np.int64)

    def look_up(self, should_stop: Callable[[], bool] = _never, report: Report = _ignore) -> None:
        """Take whatever is on disk and intact; stops early when asked to."""
        if self._folder.exists():
            os.utime(self._folder)  # in use: others go first when there is no room
        wanted: dict[str, list[int]] = {}
        for position in self.missing.tolist():
            wanted.setdefault(self._digests[position], []).append(position)
        found = [stored for stored in read_segments(self._folder) if stored.sha256 in wanted]
        damaged: set[str] = set()
        for done, stored in enumerate(found, 1):
            row = self._check(stored)
            if row is None:
                damaged.add(stored.sha256)
            for position in wanted[stored.sha256]:
                self._rows[position] = self._rows[position] if row is None else row
            if done % _AT_ONCE == 0 or done == len(found):
                tell_progress(report, "checking hidden states", done, len(found), "questions")
                if should_stop():
                    return
        lost = damaged.intersection(self._digests[position] for position in self.missing)
        if lost:
            log(report, f"The hidden states of {len(lost)} questions are damaged and are computed again.")

    def _check(self, stored: Stored) -> Data | None:
        if not stored.data.size or stored.data.size % self.trunk.num_bytes or not stored.is_intact(self.trunk.key):
            return None
        return stored.data.reshape(-1, self.trunk.num_bytes)

    def fill(
        self,
        max_bytes: int,
        share: Callable[[int], range] = range,
        should_stop: Callable[[], bool] = _never,
        report: Report = _ignore,
    ) -> None:
        """Compute what is missing and write it to disk, for `look_up` to take; stops early when asked to.

        Args:
            max_bytes: So much may lie in the folder of all trunks; a tenth of the disk is left free in any case. What
                other trunks left makes room, the longest unused first.
            share: Which of so many questions are to be computed here; the others, by other processes.
            should_stop: Asked now and then.
            report: Hears how far it is, and of a disk that is full or cannot be written.
        """
        distinct = {self._digests[position]: position for position in self.missing.tolist()}
        everything = np.array(list(distinct.values()), np.int64)
        own = share(len(everything))
        positions = everything[own.start : own.stop]
        if not len(positions):
            return
        try:
            make_folder(self._folder)
            room = min(measure_room(self._root), max_bytes - _measure_used(self._root))
            done = self._encode_to_disk(positions, room * len(positions) // len(everything), should_stop, report)
            if done < len(positions) and not should_stop():
                left = len(positions) - done
                log(report, f"{self._root} has no room for the hidden states of {left} questions. {_SLOW}")
        except DiskError as error:
            log(report, f"The hidden states of {len(positions)} questions are not kept: {error} {_SLOW}")

    def _encode_to_disk(
        self, positions: Positions, room_bytes: int, should_stop: Callable[[], bool], report: Report
    ) -> int:
        """How many of these were written before there was no room or it was to stop."""
        done, used = 0, 0
        with SegmentWriter(self._folder, self.trunk.key) as segment:
            for chunk, rows in self._encode(positions):
                used += sum(row.nbytes for row in rows)
                while used > room_bytes and (freed := self._forget_another()):
                    room_bytes += freed
                if used > room_bytes or should_stop():
                    break
                named = zip((self._digests[position] for position in chunk), rows, strict=True)
                segment.append((digest, np.ascontiguousarray(row)) for digest, row in named)
                done += len(chunk)
                tell_progress(report, "computing hidden states", done, len(positions), "questions")
        return done

    def _encode(self, positions: Positions) -> Iterator[tuple[Positions, list[Data]]]:
        """Rows of these questions, in batches of one shape; the last of each shape is filled up with repeats."""
        at_once, groups = self.trunk.rows_at_once, self._batches.split_by_shape(positions)
        chunks = [group[start : start + at_once] for group in groups for start in range(0, len(group), at_once)]
        for chunk in self._batches.follow(chunks, lambda chunk: [np.resize(chunk, at_once)]):
            rows = self.trunk.encode(self._batches.load(np.resize(chunk, at_once)))
            self.num_encoded += len(chunk)
            yield chunk, rows[: len(chunk)]

    def _forget_another(self) -> int:
        """Remove the states of the other trunk that was not used for longest, if there is one; the bytes they took."""
        others = [folder for folder in self._root.iterdir() if folder != self._folder]
        if not others:
            return 0
        oldest = min(others, key=lambda folder: folder.stat().st_mtime)
        freed = _measure_used(oldest)
        shutil.rmtree(oldest, ignore_errors=True)  # another process may be at it
        return freed

    def move_to_device(self, max_bytes: int) -> bool:
        """Copy everything to the trunk's device, if it is all there and takes no more; says whether it was."""
        rows = [row for row in self._rows if row is not None]
        if len(rows) < len(self._rows) or sum(row.nbytes for row in rows) > max_bytes:
            return False
        self._on_device = DeviceRows(rows, self.trunk.dtype, self.trunk.placement.device)
        return True

    def read(self, positions: Positions) -> Hidden:
        """Hidden states of questions whose images have one size, at the depth of the trunk, on its device."""
        return self._ahead(positions) if self._on_device is None else self._on_device.stack(positions)

    @property
    def waited_seconds(self) -> float:
        """How long callers of `read` had to wait so far, also for rows that had to be computed."""
        return self._ahead.waited_seconds

    def follow(self, plan: Sequence[Positions], cut: Cut) -> Iterator[Positions]:
        """Pass a plan's batches on, reading ahead what `cut` says will be asked for of them, where that saves time."""
        is_quick = self.trunk.placement.device.type == "cpu" or self._on_device is not None
        return iter(plan) if is_quick or len(self.missing) else self._ahead.follow(plan, cut, BATCHES_AHEAD)

    def _read_rows(self, positions: Positions) -> Hidden:
        rows = {position: self._rows[position] for position in positions.tolist()}
        for chunk, encoded in self._encode(np.array([position for position in rows if rows[position] is None], int)):
            rows.update(zip(chunk.tolist(), encoded, strict=True))
        found = [row for row in (rows[position] for position in positions.tolist()) if row is not None]
        return stack_rows(found, self.trunk.dtype, self.trunk.placement.device)


def _measure_used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.data"))
