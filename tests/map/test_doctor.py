"""What the doctor finds, of machines that are well and of those that are not."""

from dataclasses import replace

import pytest

from fairway.kernels.machine_limits import MachineLimits
from fairway.map import doctor
from fairway.map.doctor import extras, installation_findings, machine_findings
from fairway.map.gpus import Gpu
from fairway.map.known_limits import KnownLimits
from fairway.map.probe import Machine

GB = 10**9
WELL = Machine("Linux", "x86_64", "a processor", frozenset({"avx2"}), 8, 32 * GB, 24 * GB, 100 * GB)
LIMITS = KnownLimits(MachineLimits(8, 50e9, 2e12, 0.5e12), (), "2026-11-20T20:00:00Z")


def found(findings, name):
    return next(each for each in findings if each.name == name)


def test_a_machine_that_is_well():
    findings = list(machine_findings(WELL, (), LIMITS))
    assert not [each for each in findings if each.state == "wrong"]
    assert "50 GB/s" in found(findings, "limits").text and "bf16" not in found(findings, "limits").text
    assert found(findings, "GPU").state == "note"


@pytest.mark.parametrize(
    ("change", "name", "fix"),
    [
        ({"memory_free_bytes": GB // 2}, "memory", "Close programs"),
        ({"disk_free_bytes": GB}, "disk", "fairway cache clear"),
    ],
)
def test_what_is_wrong_names_its_fix(change, name, fix):
    finding = found(machine_findings(replace(WELL, **change), (), None), name)
    assert finding.state == "wrong" and fix in finding.fix


def test_limits_of_a_noisy_machine_are_doubted():
    assert found(machine_findings(WELL, (), None), "limits").fix == "fairway doctor --measure"
    noisy = found(machine_findings(WELL, (), replace(LIMITS, others=0.6)), "limits")
    assert noisy.state == "note" and "60%" in noisy.text and "quiet" in noisy.fix


def test_limits_set_on_the_process_and_gpus_are_told():
    machine = replace(WELL, limits=("ulimit -v leaves 2.0 GB",))
    gpus = (Gpu("nvidia", "NVIDIA H100", 80 * GB, driver="550"), Gpu("apple", "Apple M3"))
    findings = list(machine_findings(machine, gpus, LIMITS))
    assert "ulimit -v leaves 2.0 GB" in found(findings, "cores").text
    texts = [each.text for each in findings if each.name == "GPU"]
    assert "NVIDIA H100, 80.0 GB, driver 550" in texts[0] and "the machine's memory" in texts[1]


def test_the_installation(tmp_path, monkeypatch):
    findings = list(installation_findings(tmp_path / "not yet there"))
    assert found(findings, "version").state == found(findings, "cache folder").state == "ok"
    monkeypatch.setattr(doctor, "why_reference", lambda: "No kernels.")
    kernels = found(installation_findings(tmp_path), "kernels")
    assert kernels.state == "wrong" and kernels.fix


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    finding = found(installation_findings(tmp_path), "cache folder")
    assert finding.state == "wrong" and "engine.cache_folder" in finding.fix


def test_extras_are_read_from_the_package(monkeypatch):
    lines = [
        "numpy>=1.26",
        'onnxruntime>=1.20; extra == "onnx"',
        "mlx[cpu]>=0.30; sys_platform == 'plan9' and extra == 'mlx'",
        'numpy>=1; extra == "numbers"',
    ]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: lines)
    assert extras() == {"onnx": ["onnxruntime"], "numbers": ["numpy"]}
    states = {each.name: each.state for each in doctor._extras()}
    assert states["numbers"] == "ok" and states["onnx"] in ("ok", "note")


def test_a_package_that_was_never_installed_has_no_extras(monkeypatch):
    def absent(_):
        raise doctor.importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(doctor.importlib.metadata, "requires", absent)
    assert extras() == {}
