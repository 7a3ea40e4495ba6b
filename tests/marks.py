"""The files that show which runs live, looked at from outside."""

from __future__ import annotations

import fcntl
from pathlib import Path


def is_held(mark: Path) -> bool:
    """Whether a process holds the file of a run."""
    with mark.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
