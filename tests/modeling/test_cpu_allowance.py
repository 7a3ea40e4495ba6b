from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_pipeline.modeling.cpu_allowance import count_usable_cpus

AVAILABLE = len(os.sched_getaffinity(0))


def write(folder: Path, groups: str, **files: str) -> tuple[Path, Path]:
    """A tree of cgroups; `__` in a name stands for `/`, and `_` before `max` or `cfs` for the dot."""
    for name, text in files.items():
        path = folder / "cgroup" / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cpu_cfs", "cpu.cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (folder / "membership").write_text(groups)
    return folder / "cgroup", folder / "membership"


def test_without_quota_all_cpus_of_the_affinity_are_usable(tmp_path: Path) -> None:
    assert count_usable_cpus(tmp_path / "nothing", tmp_path / "nothing") == AVAILABLE
    assert count_usable_cpus(*write(tmp_path, "0::/\n", cpu_max="max 100000")) == AVAILABLE


def test_a_container_s_quota_limits(tmp_path: Path) -> None:
    assert count_usable_cpus(*write(tmp_path, "0::/\n", cpu_max="50000 100000")) == 1


def test_a_quota_is_found_where_the_membership_cannot_be_read(tmp_path: Path) -> None:
    cgroups, membership = write(tmp_path, "", cpu_max="50000 100000")
    membership.unlink()
    assert count_usable_cpus(cgroups, membership) == 1


def test_a_quota_of_a_group_around_the_own_one_limits_too(tmp_path: Path) -> None:
    groups = "12:memory:/elsewhere\n0::/slice/unit\n"
    files = {"slice__cpu_max": "100000 100000", "slice__unit__cpu_max": "max 100000"}
    assert count_usable_cpus(*write(tmp_path, groups, **files)) == 1


@pytest.mark.parametrize("path", ["/", "/docker/0123", "/docker/0123/inner"])
def test_a_quota_of_version_1_limits_wherever_the_container_sees_it(tmp_path: Path, path: str) -> None:
    files = {"cpu__cpu_cfs_quota_us": "100000", "cpu__cpu_cfs_period_us": "100000"}
    assert count_usable_cpus(*write(tmp_path, f"4:cpuacct,cpu:{path}\n3:cpuset:{path}\n", **files)) == 1


def test_version_1_says_minus_one_for_no_quota(tmp_path: Path) -> None:
    files = {"cpu__cpu_cfs_quota_us": "-1", "cpu__cpu_cfs_period_us": "100000"}
    assert count_usable_cpus(*write(tmp_path, "4:cpu:/\n", **files)) == AVAILABLE


@pytest.mark.parametrize("text", ["", "max", "many 100000", "50000 0", "50000"])
def test_a_file_that_says_something_else_limits_nothing(tmp_path: Path, text: str) -> None:
    assert count_usable_cpus(*write(tmp_path, "0::/\nnonsense\n", cpu_max=text)) == AVAILABLE


@given(quota=st.integers(1, 10**8), period=st.integers(1000, 10**6))
def test_it_is_always_at_least_one_and_never_more_than_the_affinity(
    tmp_path_factory: pytest.TempPathFactory, quota: int, period: int
) -> None:
    counted = count_usable_cpus(*write(tmp_path_factory.mktemp("cpu"), "0::/\n", cpu_max=f"{quota} {period}"))
    assert counted == min(AVAILABLE, -(-quota // period))
