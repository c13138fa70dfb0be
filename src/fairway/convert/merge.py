"""`merge`: a model and adapters by weight become a 16-bit model, or one adapter; nothing is rounded twice.

It prepares convert's own hop to safetensors and adds the proof of the merge. The rule: a quantised base is
merged into only when asked, and then into what its weights mean, never into its few bits.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fairway.convert.combine_adapters import combined
from fairway.convert.hops import prepare
from fairway.convert.job import Conversion
from fairway.convert.merge_lora import lineage_of
from fairway.convert.merge_proof import MergeProof
from fairway.convert.settings import ConvertSettings
from fairway.convert.unpack import is_quantised, meaning
from fairway.errors import UnsupportedError, UsageError
from fairway.formats.bundle import Bundle
from fairway.formats.lineage import FILE_NAME
from fairway.formats.lora import Adapter
from fairway.formats.lora_open import open_adapter
from fairway.formats.lora_peft import write_peft
from fairway.proof.thresholds import KINDS


def prepare_merge(
    base: Bundle, settings: ConvertSettings, name: str | None = None, *, dequantize: bool = False
) -> Conversion:
    """The pre-flight of a merge. Raises `UnsupportedError` for a quantised base unless asked."""
    quantised = is_quantised(base)
    if quantised and not dequantize:
        raise UnsupportedError(
            f"{base.path} is quantised, and an adapter is lost in rounded weights.",
            hint="Name the original 16-bit model, or add --dequantize to merge into what these weights mean.",
        )
    conversion = prepare(base, settings, name)
    adapter = combined(_opened(base, settings), settings.combination)
    limits = KINDS["lossless" if set(conversion.types) == {"F32"} else "16-bit"]
    return replace(conversion, finish=MergeProof(meaning(base) if quantised else base, adapter, limits))


def merge_adapters(base: Bundle, settings: ConvertSettings) -> Path:
    """Writes the folder of one adapter that counts as all of them, in PEFT's format, whole or not at all."""
    out = settings.out
    assert out is not None
    if out.exists() and not settings.force:
        raise UsageError(f"{out} exists already.", hint="Add --force to replace it, or name another folder.")
    opened = _opened(base, settings)
    adapter = combined(opened, settings.combination)
    place = out.with_name(f".{out.name}.partial")
    shutil.rmtree(place, ignore_errors=True)
    write_peft(replace(adapter, name=out.name), place)
    lineage = lineage_of(base, opened, settings.combination if len(opened) > 1 else None)
    (place / FILE_NAME).write_text(lineage.to_json() + "\n", "utf-8")
    if out.exists():
        shutil.rmtree(out)
    place.rename(out)
    return out


def _opened(base: Bundle, settings: ConvertSettings) -> Sequence[tuple[Adapter, float]]:
    weights = settings.adapter_weights or (1.0,) * len(settings.adapters)
    pairs = zip(settings.adapters, weights, strict=True)
    return [(open_adapter(path, base.config), weight) for path, weight in pairs]
