"""The exceptions of this package: bad worlds. A bad record is never one of these; it is a `Reject`, a value.

    VqaPipelineError            everything a user can mend; its message names the culprit and the fix
    ├── SettingsError           the pipeline's settings cannot be used
    ├── SourceError             a source's file is missing, unreadable or not of its format
    │   └── SourceChanged       a source's files changed while they were read
    ├── GateFailed              a candidate did not pass; nothing was published
    ├── StoreError              the store cannot be used as asked
    │   ├── NotPublished        an asset has no published version yet
    │   ├── StoreFormat         a version was written in another form than this package reads
    │   ├── DamagedVersion      a published version is not what its manifest says
    │   ├── StaleInput          two inputs of a stage belong to different states of the data
    │   ├── StoreBusy           another run is publishing this asset
    │   ├── NoChampion          no checkpoint has been promoted yet
    │   └── ChampionDamaged     what is deployed is not what was promoted
    ├── DiskError               a disk or folder refuses: full, read-only, no permission, something in the way
    ├── TaskProcessDied         a process that curated data was killed
    ├── VocabularyMismatch      a checkpoint and an answer vocabulary disagree
    ├── PredictionsMismatch     predictions do not fit the questions or the vocabulary that they are scored by
    └── TrainingError           training or prediction did not end well
        ├── BackboneError       the backbone cannot be found or loaded
        ├── NonFiniteLoss       loss or gradient is NaN or infinite again and again
        ├── OutOfMemory         not even one question at a time fits into memory
        ├── MissingPackage      what trains is not installed
        ├── WorkerFailed        the child process ended abnormally
        └── TrainingCancelled   somebody asked it to stop; progress is saved

Each takes its culprits as data, keeps them as attributes, and builds its own message. This module imports nothing of
the package.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class VqaPipelineError(Exception):
    """Something a user can mend. The message names the culprit and the fix; no stack trace is needed."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as what it is: with message and culprits, without being built again."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[VqaPipelineError], args: tuple[Any, ...], culprits: dict[str, Any]) -> VqaPipelineError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(culprits)
    return error


class SettingsError(VqaPipelineError):
    """The pipeline's settings cannot be used."""

    def __init__(self, setting: str, reason: str, fix: str) -> None:
        self.setting, self.reason, self.fix = setting, reason, fix
        super().__init__(f"`{setting}`: {reason}. {fix}")


class SourceError(VqaPipelineError):
    """A source's file is missing, unreadable or not of its format."""

    def __init__(
        self, source: str, setting: str, path: Path | str, reason: str, fix: str, *, line: int | None = None
    ) -> None:
        self.source, self.setting, self.path, self.reason, self.fix, self.line = (
            source,
            setting,
            path,
            reason,
            fix,
            line,
        )
        place = f"{path}, line {line}" if line is not None else str(path)
        super().__init__(f"source '{source}', `{setting}`: {place}: {reason}. {fix}")


class SourceChanged(SourceError):
    """A source's files changed while they were read, so what was read belongs to no one state of them."""

    def __init__(self, source: str, path: Path | str) -> None:
        super().__init__(
            source, "files", path, "changed while it was being read", "Run again when nothing writes to it."
        )


class GateFailed(VqaPipelineError):
    """A candidate did not pass a blocking check. Nothing was published; the candidate is kept to look at."""

    def __init__(
        self, asset: str, failures: Sequence[str], candidate: Path | str, checks: Sequence[Any] = (), markdown: str = ""
    ) -> None:
        self.asset, self.failures, self.candidate = asset, tuple(failures), candidate
        self.checks, self.markdown = tuple(checks), markdown
        """`checks`: every `schemas.Check` of the candidate, passed or not; `markdown`: its page."""
        listed = "\n".join(f"  - {failure}" for failure in failures)
        super().__init__(
            f"{asset} was not published:\n{listed}\nThe candidate is kept in {candidate}; the last good version stays."
        )


class StoreError(VqaPipelineError):
    """The store cannot be used as asked."""


class NotPublished(StoreError):
    """An asset has no published version yet."""

    def __init__(self, asset: str, root: Path | str) -> None:
        self.asset, self.root = asset, root
        super().__init__(f"{asset} has no published version in {root}. Materialize {asset} first.")


class StoreFormat(StoreError):
    """A version was written in another form than this package reads."""

    def __init__(self, path: Path | str, found: int, known: int) -> None:
        self.path, self.found, self.known = path, found, known
        newer = "A newer vqa_pipeline wrote it: upgrade this one."
        older = "Move the store away and run again: everything is computed anew, trainings too."
        super().__init__(
            f"{path}: the store has format {found}, and this package reads {known}. {newer if found > known else older}"
        )


class DamagedVersion(StoreError):
    """A published version is not what its manifest says."""

    def __init__(self, asset: str, version: str, path: Path | str, reason: str) -> None:
        self.asset, self.version, self.path, self.reason = asset, version, path, reason
        super().__init__(
            f"{asset} version {version}: {path}: {reason}. "
            f"Restore the file, or materialize {asset}, which makes the version again."
        )


class NoChampion(StoreError):
    """No checkpoint has been promoted or pinned yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(
            f"{folder}: there is no champion yet. Materialize champion, or choose one by `vqa-pipeline champion pin`."
        )


class ChampionDamaged(StoreError):
    """What is deployed is not what was promoted."""

    def __init__(self, version: str, path: Path | str, reason: str) -> None:
        self.version, self.path, self.reason = version, path, reason
        super().__init__(
            f"champion {version}: {path}: {reason}. Deploy it again by `vqa-pipeline champion pin {version}`, "
            "or go back by `vqa-pipeline champion rollback`."
        )


class StaleInput(StoreError):
    """Two inputs of a stage belong to different states of the data; together they would be a mixture."""

    def __init__(self, asset: str, stale: str, newer: str) -> None:
        self.asset, self.stale, self.newer = asset, stale, newer
        super().__init__(
            f"{asset} would mix states: {stale} was made from another {newer} than the current one. "
            f"Materialize {stale} first, or everything at once."
        )


class StoreBusy(StoreError):
    """Another run is publishing this asset."""

    def __init__(self, asset: str, lock: Path | str) -> None:
        self.asset, self.lock = asset, lock
        super().__init__(f"another run is working on {asset} (it holds {lock}). Wait for it to end, then run again.")


_NO_RIGHT = "Give this user the right to use it, or choose another folder."
_IN_THE_WAY = "Move away what stands in its place, or choose another folder."
_TOO_MANY_OPEN = "Raise the limit of open files (`ulimit -n`)."
_NO_LOCKS = "Choose a folder on a file system with locks."
_DISK_FIXES = {
    errno.ENOSPC: "Free space on its disk, then run again.",
    errno.EDQUOT: "Free space within your quota on its disk, then run again.",
    errno.EFBIG: "Raise the limit of file sizes (`ulimit -f`), or choose a disk that takes larger files.",
    errno.EROFS: "Choose a folder that can be written.",
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EIO: "Check the disk and its connection.",
    errno.ESTALE: "Connect the disk again.",
    errno.EMFILE: _TOO_MANY_OPEN,
    errno.ENFILE: _TOO_MANY_OPEN,
    errno.ENOLCK: _NO_LOCKS,
    errno.EOPNOTSUPP: _NO_LOCKS,
}
"""What to do about errors that are never a program's own; others, such as a missing file, may be."""


class DiskError(VqaPipelineError):
    """A disk or folder refuses: it is full, read-only, not this user's, or something stands in the way."""

    def __init__(self, path: Path | str, number: int) -> None:
        self.path, self.number = path, number
        """`number`: the operating system's, as in `errno`."""
        fix = _DISK_FIXES.get(number, _IN_THE_WAY if number == errno.EEXIST else "Choose another folder.")
        super().__init__(f"{path}: {os.strerror(number)}. {fix}")

    @classmethod
    def from_number(cls, number: int | None, path: Path | str) -> DiskError | None:
        """The error that a number stands for, at a path; None when the program itself may be to blame."""
        return cls(path, number) if number in _DISK_FIXES else None


class TaskProcessDied(VqaPipelineError):
    """A process that curated data was killed, which is what a machine without memory does."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        super().__init__(
            f"one of {workers} processes that curated data was killed, most likely because memory ran out. "
            "Lower `compute.workers`, then run again."
        )


class VocabularyMismatch(VqaPipelineError):
    """A checkpoint and an answer vocabulary disagree: the same index would mean two answers."""

    def __init__(self, checkpoint: str, vocabulary: str) -> None:
        self.checkpoint, self.vocabulary = checkpoint, vocabulary
        super().__init__(
            f"the checkpoint was trained with answer vocabulary {checkpoint}, not {vocabulary}. "
            "Use the vocabulary stored in the checkpoint, or train again with the new one."
        )


class PredictionsMismatch(VqaPipelineError):
    """Predictions do not fit the questions or the vocabulary that they are scored by."""

    def __init__(self, problem: str, culprits: Sequence[str]) -> None:
        self.problem, self.culprits = problem, tuple(culprits)
        named = ", ".join(self.culprits[:3]) + (", …" if len(self.culprits) > 3 else "")  # noqa: PLR2004 - a line's worth
        super().__init__(
            f"predictions: {len(self.culprits):,} {problem}: {named}. Materialize predictions again from this dataset "
            "and checkpoint, or score a file of others by `vqa-pipeline compare`."
        )


class TrainingError(VqaPipelineError):
    """Training or prediction did not end well."""


class BackboneError(TrainingError):
    """The backbone cannot be found or loaded."""

    def __init__(self, backbone: str, reason: str, fix: str) -> None:
        self.backbone, self.reason, self.fix = backbone, reason, fix
        super().__init__(f"`training.backbone`: {backbone}: {reason}. {fix}")


class NonFiniteLoss(TrainingError):
    """Loss or gradient are NaN or infinite again and again; no update was made with them."""

    def __init__(
        self, step: int, epoch: int, learning_rate: float, question_ids: Sequence[str], review: Path | str
    ) -> None:
        self.step, self.epoch, self.learning_rate = step, epoch, learning_rate
        self.question_ids, self.review = tuple(question_ids), review
        """`review`: folder with a corrections file of these questions for each of their sources."""
        named = ", ".join(self.question_ids[:4]) + (", …" if len(self.question_ids) > 4 else "")  # noqa: PLR2004
        super().__init__(
            f"the loss or its gradient is not finite step after step, up to step {step} (epoch {epoch}, learning rate "
            f"{learning_rate:.3g}; questions {named}). Lower `training.learning_rate`, or review the questions: "
            f"{review} has corrections files to fill in."
        )


class OutOfMemory(TrainingError):
    """Not even one question at a time fits into memory."""

    def __init__(self, shape: str, reason: str) -> None:
        self.shape, self.reason = shape, reason
        """`shape`: of one question, in words; `reason`: what the memory's allocator said."""
        super().__init__(
            f"one question at a time ({shape}) does not fit into memory: {reason}. Use a `training.strategy` that "
            "learns less, such as head or last_layers, a smaller backbone, or a device with more free memory."
        )


class MissingPackage(TrainingError):
    """What training or prediction needs is not installed, or does not load."""

    def __init__(self, task: str, package: str, reason: str) -> None:
        self.task, self.package, self.reason = task, package, reason
        super().__init__(
            f"the {task} process needs {package}: {reason}. Install what trains: pip install 'vqa-pipeline[training]'"
        )


class WorkerFailed(TrainingError):
    """The child process ended abnormally."""

    def __init__(self, task: str, exit_status: int, last_lines: str, log: Path | str | None = None) -> None:
        self.task, self.exit_status, self.last_lines, self.log = task, exit_status, last_lines, log
        how = f"was killed by signal {-exit_status}" if exit_status < 0 else f"ended with status {exit_status}"
        where = f" Its log is {log}." if log else ""
        goes_on = "resumes from its last checkpoint" if task == "train" else "starts over"
        super().__init__(f"the {task} process {how}.{where} Run again: it {goes_on}.\n{last_lines}".rstrip())


class TrainingCancelled(TrainingError):
    """Somebody asked the training to stop; its progress is saved and the next run goes on from there."""

    def __init__(self, step: int, checkpoint: Path | str | None) -> None:
        self.step, self.checkpoint = step, checkpoint
        goes_on = f"resumes from {checkpoint}" if checkpoint else "starts over, as nothing was to be saved yet"
        super().__init__(f"stopped on request at step {step}; the next run {goes_on}.")

    @classmethod
    def from_message(cls, message: str) -> TrainingCancelled:
        """The error that said `message`, such as a worker's last line; of step 0 when it does not say."""
        told = re.match(r"stopped on request at step (\d+); the next run (?:resumes from (.+)\.$)?", message)
        return cls(int(told[1]), told[2]) if told else cls(0, None)


EXIT_CANCELLED = 75
"""Exit status of a worker that saved and left on request (sysexits.h, EX_TEMPFAIL: try again)."""

EXIT_USER_ERROR = 65
"""Exit status of a worker whose last line is the message of a `VqaPipelineError` (sysexits.h, EX_DATAERR)."""
