"""What a machine offers, from recorded files and from this one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fairway.map.cgroup import CgroupLimits, read_limits
from fairway.map.cpu import from_sysctl, read_processor
from fairway.map.probe import Machine, free_on_disk, probe, within

MACHINES = Path(__file__).parent / "machines"
GIB = 1 << 30
WHOLE = Machine("Linux", "x86_64", "a processor", frozenset({"avx2"}), 16, 64 * GIB, 48 * GIB, 100 * GIB)


@pytest.mark.parametrize(
    ("machine", "limits"),
    [
        ("container-v2", CgroupLimits(2.5, 4 * GIB, 4 * GIB - (GIB - GIB // 4))),
        ("container-v1", CgroupLimits(1.5, 2 * GIB, 2 * GIB - (3 * GIB // 2 - GIB // 2))),
        ("raspberry", CgroupLimits(None, None, None)),
        ("absent", CgroupLimits(None, None, None)),
    ],
)
def test_limits_of_recorded_containers(machine, limits):
    assert read_limits(MACHINES / machine) == limits


def test_processors():
    xeon = read_processor("Linux", MACHINES / "container-v2")
    assert xeon.name == "Intel(R) Xeon(R) Platinum 8480+"
    assert {"avx512_vnni", "amx_int8"} <= xeon.features and "fpu" not in xeon.features
    pi = read_processor("Linux", MACHINES / "raspberry")
    assert pi.name == "BCM2835" and pi.features == {"asimd", "asimdhp", "asimddp"}
    m3 = from_sysctl((MACHINES / "apple-m3.sysctl").read_text("utf-8"))
    assert m3.name == "Apple M3" and m3.features == {"asimd", "asimdhp", "asimddp", "i8mm", "bf16"}


def test_a_core_without_an_instruction_takes_it_from_all(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text("flags : avx2 avx512f\nflags : avx2\n")
    assert read_processor("Linux", tmp_path).features == {"avx2"}


@pytest.mark.parametrize(
    ("limits", "allowed", "address_space", "cores", "free", "said"),
    [
        (CgroupLimits(), None, None, 16, 48 * GIB, ()),
        (CgroupLimits(), 4, None, 4, 48 * GIB, ("affinity allows 4 of 16 cores",)),
        (CgroupLimits(2.5), 16, None, 2, 48 * GIB, ("the container's quota is 2.5 cores",)),
        (CgroupLimits(0.5), None, None, 1, 48 * GIB, ("the container's quota is 0.5 cores",)),
        (
            CgroupLimits(None, 4 * GIB, 3 * GIB),
            None,
            None,
            16,
            3 * GIB,
            ("the container's memory limit is 4.3 GB",),
        ),
        (CgroupLimits(None, 4 * GIB), None, None, 16, 4 * GIB, ("the container's memory limit is 4.3 GB",)),
        (CgroupLimits(), None, 2 * GIB, 16, 2 * GIB, ("ulimit -v leaves 2.1 GB",)),
    ],
)
def test_the_smallest_limit_counts_and_is_named(limits, allowed, address_space, cores, free, said):
    machine = within(WHOLE, limits, allowed, address_space)
    assert (machine.num_cores, machine.memory_free_bytes, machine.limits) == (cores, free, said)


def test_this_machine():
    machine = probe()
    assert 1 <= machine.num_cores <= (os.cpu_count() or 1)
    assert 0 < machine.memory_free_bytes <= machine.memory_total_bytes
    assert machine.disk_free_bytes > 0 and machine.processor
    assert json.loads(json.dumps(machine.to_dict()))["num_cores"] == machine.num_cores


@pytest.mark.skipif(sys.platform != "linux", reason="affinity and ulimit are Linux's")
def test_affinity_and_ulimit_of_a_child():
    code = "from fairway.map.probe import probe; m = probe(); print(m.num_cores, m.memory_free_bytes)"
    core = min(os.sched_getaffinity(0))
    shell = (
        f"ulimit -v 3000000; exec {sys.executable} -c 'import os; os.sched_setaffinity(0, [{core}]); {code}'"
    )
    out = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True, timeout=60).stdout
    cores, free = map(int, out.split())
    assert cores == 1 and free < 3000000 * 1024


def test_a_home_that_does_not_exist_is_no_obstacle(tmp_path, monkeypatch):
    assert free_on_disk(tmp_path / "no" / "such" / "folder") > 0
    monkeypatch.setenv("HOME", str(tmp_path / "gone"))
    assert probe().disk_free_bytes > 0
