"""Threads follow affinity and control groups, both versions, from the process's own group upwards."""

import os

import pytest

from fairway.kernels.cores import allowed_cores, cgroup_quota


def write(path, text) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_version_two_takes_the_tightest_group(tmp_path) -> None:
    own = tmp_path / "own"
    write(own, "0::/pod/box\n")
    write(tmp_path / "cpu.max", "max 100000\n")
    write(tmp_path / "pod/cpu.max", "150000 100000\n")
    write(tmp_path / "pod/box/cpu.max", "400000 100000\n")
    assert cgroup_quota(tmp_path, own) == 1.5


def test_version_one(tmp_path) -> None:
    own = tmp_path / "own"
    write(own, "5:memory:/x\n3:cpu,cpuacct:/box\n")
    write(tmp_path / "cpu/box/cpu.cfs_quota_us", "50000\n")
    write(tmp_path / "cpu/box/cpu.cfs_period_us", "100000\n")
    assert cgroup_quota(tmp_path, own) == 0.5


@pytest.mark.parametrize("text", ["max 100000", "", "-1 100000", "words here", "100000 0"])
def test_no_quota(tmp_path, text) -> None:
    write(tmp_path / "cpu.max", text)
    assert cgroup_quota(tmp_path, tmp_path / "absent") is None


def test_paths_cannot_leave_the_mount(tmp_path) -> None:
    own = tmp_path / "own"
    write(own, "0::/../../pod\n")
    write(tmp_path / "pod/cpu.max", "100000 100000\n")
    assert cgroup_quota(tmp_path, own) == 1.0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_affinity_counts() -> None:
    before = os.sched_getaffinity(0)
    assert 1 <= allowed_cores() <= len(before)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert allowed_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
