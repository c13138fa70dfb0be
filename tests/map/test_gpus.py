"""GPUs from what their makers' programs print (machines/README.md), cut off, and missing."""

from pathlib import Path

import pytest

from fairway.map.gpus import (
    NVIDIA,
    ROCM,
    WINDOWS,
    Gpu,
    ask_program,
    from_nvidia_smi,
    from_rocm_smi,
    from_system_profiler,
    from_video_controllers,
    from_xpu_smi,
    read_gpus,
)

RECORDED = Path(__file__).parent / "machines" / "gpus"
MIB = 1 << 20


def recorded(name):
    return (RECORDED / name).read_text("utf-8")


def test_nvidia():
    h100, rtx, shared = from_nvidia_smi(recorded("nvidia-smi.csv"))
    assert h100 == Gpu("nvidia", "NVIDIA H100 80GB HBM3", 81559 * MIB, 81008 * MIB, "550.54.15", "9.0")
    assert rtx.memory_bytes == 24564 * MIB
    assert shared.memory_bytes is None and shared.name == "NVIDIA GB10"


def test_amd_behind_a_warning_and_with_either_spelling():
    desk, server = from_rocm_smi(recorded("rocm-smi.json"))
    assert (desk.name, desk.capability, desk.driver) == ("Radeon RX 7900 XT", "gfx1100", "6.7.0")
    assert desk.free_bytes == 21458059264 - 27856896
    assert server.name == "AMD Instinct MI300X"


def test_intel():
    (flex,) = from_xpu_smi(recorded("xpu-smi-device.json"))
    assert flex.name.endswith("Flex 170") and flex.memory_bytes == 14248050688


def test_apple_shares_its_memory_and_cards_have_their_own():
    own, card = from_system_profiler(recorded("system-profiler.json"))
    assert (own.vendor, own.memory_bytes, own.capability) == ("apple", None, "metal3")
    assert (card.vendor, card.memory_bytes) == ("amd", 8 << 30)


def test_windows_without_nvidia_smi():
    nvidia, amd = from_video_controllers(recorded("video-controllers.json"))
    assert (nvidia.vendor, nvidia.name, nvidia.driver) == (
        "nvidia",
        "NVIDIA GeForce RTX 4090",
        "32.0.15.6094",
    )
    assert nvidia.memory_bytes is None, "AdapterRAM ends at 4 GiB"
    assert (amd.vendor, amd.memory_bytes) == ("amd", 512 * MIB)
    (arc,) = from_video_controllers(recorded("video-controller-one.json"))
    assert (arc.vendor, arc.memory_bytes) == ("intel", None)


@pytest.mark.parametrize("has_smi", [True, False])
def test_on_windows_nvidia_smi_is_believed_first(has_smi):
    answers = {
        WINDOWS: recorded("video-controllers.json"),
        NVIDIA: recorded("nvidia-smi.csv") if has_smi else "",
    }
    found = read_gpus("Windows", lambda command: answers[command])
    assert [gpu.vendor for gpu in found] == ["nvidia"] * (3 if has_smi else 1) + ["amd"]
    assert found[0].memory_bytes == (81559 * MIB if has_smi else None)


READERS = [from_nvidia_smi, from_rocm_smi, from_xpu_smi, from_system_profiler, from_video_controllers]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "text", ["", "no devices were found", "{", '{"card0": 3}', "[1]", "{" * 3000, "\x00"]
)
def test_nonsense_is_no_gpu(reader, text):
    assert list(reader(text)) == []


def test_only_what_can_be_there_is_asked():
    asked = []

    def ask(command):
        asked.append(command)
        answers = {
            NVIDIA: "nvidia-smi.csv",
            ROCM: "rocm-smi.json",
            ("xpu-smi", "discovery", "-j"): "xpu-smi-list.json",
            ("xpu-smi", "discovery", "-d", "0", "-j"): "xpu-smi-device.json",
        }
        return recorded(answers[command])

    assert [gpu.vendor for gpu in read_gpus("Linux", ask)] == ["nvidia"] * 3 + ["amd"] * 2 + ["intel"]
    asked.clear()
    assert read_gpus("Darwin", lambda command: asked.append(command) or "") == ()
    assert [command[0] for command in asked] == ["system_profiler"]


def test_a_missing_or_failing_program_says_nothing():
    assert ask_program(("no-such-program-here",)) == ""
    assert ask_program(("false",)) == ""
