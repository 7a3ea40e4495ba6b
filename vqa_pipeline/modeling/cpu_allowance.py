"""How many CPUs this process may use, which is often fewer than the machine has: affinity, and quotas of cgroups."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_NUM_FIELDS = 3


def count_usable_cpus(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """CPUs that this process may use: its affinity, and every quota above it rounded up; at least 1.

    Quotas of cgroups v2 (`cpu.max`) and v1 (`cpu.cfs_quota_us`) are found in the process's own group and all groups
    that hold it, since each limits what is below it.

    Args:
        cgroups: Where cgroups are mounted.
        membership: The file that names the groups of this process, `hierarchy:controllers:path` a line.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _find_groups(cgroups, membership) if (quota := _read_quota(folder)) is not None]
    return max(1, min([usable, *map(math.ceil, quotas)]))


def share_cpus(processes: int) -> int:
    """CPUs for each of several processes, at least 1."""
    return max(1, count_usable_cpus() // processes)


def _find_groups(cgroups: Path, membership: Path) -> Iterator[Path]:
    """The folders of the groups that limit CPU time of this process, innermost first."""
    lines = membership.read_text(encoding="utf-8").splitlines() if membership.is_file() else ["0::/", "1:cpu:/"]
    for line in lines:
        fields = line.split(":", _NUM_FIELDS - 1)
        controllers = fields[1].split(",") if len(fields) == _NUM_FIELDS else []
        if controllers == [""]:
            mount = cgroups
        elif "cpu" in controllers:
            mount = cgroups / "cpu"
        else:
            continue
        # inside a container the path may be the host's, of which only the mount itself is there
        innermost = mount / fields[2].lstrip("/")
        yield from (folder for folder in (innermost, *innermost.parents) if folder.is_relative_to(mount))


def _read_quota(folder: Path) -> float | None:
    """CPUs' worth of time that a group may use; None: it is not limited."""
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""
