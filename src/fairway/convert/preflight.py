"""What is refused before a byte is written: each check is one sentence with the way out.

Architecture, tokenizer and types are checked by the hop that needs them; here is what holds for all.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fairway.convert.job import Conversion
from fairway.convert.settings import ConvertSettings
from fairway.convert.workplace import Workplace
from fairway.errors import DoesNotFit, FormatError, UnsupportedError, UsageError
from fairway.formats.bundle import ONNX_GRAPH, Bundle
from fairway.formats.completeness import missing_parts

GRAPHS = ("keras", ONNX_GRAPH, "skops")
"""Containers of models that speak no language: a graph and its numbers are all of them."""
SPARE_BYTES = 16 << 20
"""Left free on the disk."""


def check_source(bundle: Bundle, settings: ConvertSettings) -> None:
    """Complete, and with weights."""
    if not bundle.tensors.infos and bundle.container not in GRAPHS:
        raise FormatError(
            f"{bundle.path} holds no weights, so there is nothing to convert.", hint="Name the model's file."
        )
    if bundle.container == "nemo" and bundle.warnings and not settings.weights_only:
        raise UnsupportedError(
            f"{bundle.path} cannot become a model here. {bundle.warnings[0]}",
            hint="--weights-only converts its tensors alone.",
        )
    is_program = bundle.container == "torchscript" and settings.to != "safetensors"  # refused by its hop
    missing = [] if bundle.container in GRAPHS or is_program else missing_parts(bundle)
    if missing and not settings.weights_only:
        error = missing[0].error(bundle)
        raise FormatError(error.message, hint=f"{error.hint} --weights-only converts the tensors alone.")


def check_target(bundle: Bundle, target: Path, *, force: bool) -> None:
    """Nothing is replaced unasked, and never the source itself."""
    parent = target.parent
    if not parent.is_dir():
        raise UsageError(
            f"There is no folder {parent} to write into.", hint="Make it or choose another --out."
        )
    if not os.access(parent, os.W_OK):
        raise UsageError(f"{parent} cannot be written to.", hint="Choose another --out.")
    if not (target.exists() or target.is_symlink()):
        return
    resolved, source = target.resolve(), bundle.path.resolve()
    if resolved == source or resolved in source.parents or (target.is_dir() and source in resolved.parents):
        raise UsageError(f"{target} is what is being converted.", hint="Choose another --out.")
    if not force:
        raise UsageError(f"{target} exists already.", hint="Choose another --out, or --force to replace it.")


def check_disk(conversion: Conversion) -> None:
    """Says needed and free. What an earlier run has written counts as there."""
    written = Workplace(conversion).written_bytes
    needed = conversion.num_bytes + SPARE_BYTES
    free = shutil.disk_usage(conversion.target.parent).free + written
    if needed > free:
        raise DoesNotFit(
            f"{conversion.target} needs {size(needed)}; {conversion.target.parent} has {size(free)} free.",
            hint="Free some space, or choose an --out on another disk or a smaller --type.",
        )


def size(num_bytes: int) -> str:
    """1 500 000 000 -> "1.50 GB"."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.2f} {name}"
    return f"{num_bytes} bytes"
