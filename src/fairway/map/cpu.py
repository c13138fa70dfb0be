"""Which processor this is and which of its instructions matter to kernels.

Each system tells it differently (/proc/cpuinfo, sysctl, an API call); all spell the answer as
Linux does for x86 ("avx2", "avx512_vnni") and Arm ("asimddp", "i8mm").
"""

from __future__ import annotations

import ctypes
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Those a kernel or a recommendation asks about; everything else is left out.
X86 = {"sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}
AVX512 = {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16", "avx512_fp16"}
ARM = {"asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2", "sme"}
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
KNOWN = frozenset(X86 | AVX512 | ARM)
APPLE_NAMES = {
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_SME": "sme",
    "hw.optional.AdvSIMD": "asimd",
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.avx512vnni": "avx512_vnni",
    "hw.optional.fma": "fma",
}
# IsProcessorFeaturePresent, winnt.h
WINDOWS_NUMBERS = {38: "sse4_2", 39: "avx", 40: "avx2", 41: "avx512f", 43: "asimddp"}
SYSCTL_TIMEOUT_S = 5


@dataclass(frozen=True)
class Processor:
    name: str
    features: frozenset[str]

    @property
    def multiplies_bfloat16(self) -> bool:
        """With instructions of its own, about twice as fast as float32."""
        return not BFLOAT16.isdisjoint(self.features)


def read_processor(system: str, root: Path = Path("/")) -> Processor:
    """`system` is platform.system(): "Linux", "Darwin", "Windows"."""
    if system == "Linux":
        return from_cpuinfo(_text(root / "proc/cpuinfo"))
    if system == "Darwin":
        return from_sysctl(_sysctl())
    if system == "Windows":
        return Processor(platform.processor() or "unknown", _windows_features())
    return Processor(platform.processor() or "unknown", frozenset())


def from_cpuinfo(text: str) -> Processor:
    """x86 says "flags", Arm "Features"; only what every core has counts."""
    name = ""
    common: set[str] | None = None
    for line in text.splitlines():
        key, _, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if key in ("model name", "Hardware", "Processor") and not name:
            name = value
        if key in ("flags", "Features"):
            flags = set(value.split())
            common = flags if common is None else common & flags
    return Processor(name or platform.processor() or "unknown", frozenset(common or ()) & KNOWN)


def from_sysctl(text: str) -> Processor:
    """`sysctl -a` style lines `name: value`."""
    values = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    features = {feature for key, feature in APPLE_NAMES.items() if values.get(key, "0").strip() == "1"}
    return Processor(values.get("machdep.cpu.brand_string", "unknown").strip(), frozenset(features))


def _sysctl() -> str:
    names = ["machdep.cpu.brand_string", *APPLE_NAMES]
    try:
        done = subprocess.run(
            ["/usr/sbin/sysctl", *names],
            capture_output=True,
            text=True,
            timeout=SYSCTL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _windows_features() -> frozenset[str]:
    kernel = getattr(ctypes, "windll", None)
    if kernel is None:
        return frozenset()
    present = kernel.kernel32.IsProcessorFeaturePresent
    return frozenset(name for number, name in WINDOWS_NUMBERS.items() if present(number))


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
