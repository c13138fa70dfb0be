"""Folders that GPTQ, AWQ, compressed-tensors, MXFP4 or MLX quantised, seen as one tensor per weight.

Several stored tensors (packed codes, scales, zeros) stand for one weight of the model; here they are put
together under the weight's own name. What a config asks for and this file does not know is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fairway.errors import FormatError, UnsupportedError
from fairway.formats import quantized_layouts as layouts
from fairway.formats.bundle import Bundle, StoredTensors, TensorInfo
from fairway.formats.mlx_weights import MLX, is_mlx, mlx_tensors
from fairway.formats.packed_weights import HINT, INTEGERS, Packed, Parts, QuantizedTensors
from fairway.tensors import F32, Array, WeightTensor

MARKS = {"gptq": ".qweight", "awq": ".qweight", "compressed-tensors": ".weight_scale", "mxfp4": "_blocks"}
"""quant_method -> how the name of a tensor ends that only such a checkpoint has."""
READABLE = (*MARKS, MLX)
UNNAMED = "an unnamed method"
CONFIG_KEYS = ("quantization_config", "quantization")
"""Where config.json says so; the second is MLX's."""


@dataclass(frozen=True)
class Scheme:
    """What the config says about the weights."""

    method: str
    bits: int
    group: int
    """Columns that share a scale; -1: a whole row."""
    symmetric: bool
    added_to_zeros: int = 0

    @property
    def type(self) -> str:
        """What `TensorInfo.type` calls such weights."""
        return f"INT{self.bits}" + ("" if self.symmetric else "_ASYM")


def quantized(stored: StoredTensors, config: Mapping[str, Any]) -> StoredTensors:
    """The tensors themselves, or a view of them where `config` says that they are quantised so.

    Raises `UnsupportedError` for a variant that is not known.
    """
    if method_of(config) == MLX:
        return mlx_tensors(stored, config["quantization"])
    stated, method = config.get("quantization_config"), method_of(config)
    if not isinstance(stated, dict) or method not in MARKS:
        return stored
    if not any(name.endswith(MARKS[method]) for name in stored.infos):
        return stored
    scheme = SCHEMES[method](stated)
    packed = _find_mxfp4(stored) if scheme.method == "mxfp4" else _find(stored, scheme)
    read = READERS[scheme.method]
    return QuantizedTensors(stored, packed, lambda parts: read(parts, scheme)) if packed else stored


def method_of(config: Mapping[str, Any]) -> str | None:
    """Who quantised the weights, as config.json says: "gptq", "mlx", "an unnamed method"; None for floats."""
    if is_mlx(config):
        return MLX
    stated = config.get("quantization_config")
    if not isinstance(stated, Mapping):
        return None
    method = stated.get("quant_method")
    return method[:40] if isinstance(method, str) else UNNAMED


def with_weights(bundle: Bundle) -> Bundle:
    """The bundle with such a view of its tensors, to be run; as a file it stays what it is."""
    if bundle.container == "gguf" or not isinstance(bundle.tensors, StoredTensors):
        return bundle
    if isinstance(bundle.tensors, QuantizedTensors):
        return bundle
    tensors = quantized(bundle.tensors, bundle.config)
    return bundle if tensors is bundle.tensors else replace(bundle, tensors=tensors)


# --- what the config says


def _gptq_scheme(stated: Mapping[str, Any]) -> Scheme:
    bits, group = _whole(stated, "bits"), _whole(stated, "group_size")
    form = stated.get("checkpoint_format", "gptq")
    if bits not in (4, 8):
        raise _unknown("GPTQ", f"{bits} bits")
    if form not in ("gptq", "gptq_v2"):
        raise _unknown("GPTQ", f"the format {str(form)[:40]!r}")
    return Scheme("gptq", bits, group, stated.get("sym") is True, 1 if form == "gptq" else 0)


def _awq_scheme(stated: Mapping[str, Any]) -> Scheme:
    bits, group = _whole(stated, "bits"), _whole(stated, "group_size")
    version = str(stated.get("version", "gemm")).lower()
    if bits != 4:
        raise _unknown("AWQ", f"{bits} bits")
    if version != "gemm":
        raise _unknown("AWQ", f"the layout {version[:40]!r}")
    return Scheme("awq", bits, group, stated.get("zero_point") is False)


def _compressed_scheme(stated: Mapping[str, Any]) -> Scheme:
    """One group of layers; several schemes in one model are not known here."""
    groups = stated.get("config_groups")
    groups = list(groups.values()) if isinstance(groups, dict) else []
    if len(groups) != 1 or not isinstance(groups[0], dict) or not isinstance(groups[0].get("weights"), dict):
        raise _unknown("compressed-tensors", f"{len(groups)} groups of layers")
    weights = groups[0]["weights"]
    form = groups[0].get("format") or stated.get("format")
    if form not in ("pack-quantized", "int-quantized", "naive-quantized"):
        raise _unknown("compressed-tensors", f"the format {str(form)[:40]!r}")
    bits, strategy = _whole(weights, "num_bits"), weights.get("strategy")
    if weights.get("type", "int") != "int" or bits not in (4, 8):
        raise _unknown("compressed-tensors", f"{str(weights.get('type'))[:20]} of {bits} bits")
    if strategy not in ("group", "channel", "tensor"):
        raise _unknown("compressed-tensors", f"scales by {str(strategy)[:20]}")
    group = _whole(weights, "group_size") if strategy == "group" else -1
    return Scheme("compressed-tensors", bits, group, weights.get("symmetric", True) is True)


def _mxfp4_scheme(_: Mapping[str, Any]) -> Scheme:
    return Scheme("mxfp4", 4, layouts.GROUP, symmetric=True)


SCHEMES: Mapping[str, Callable[[Mapping[str, Any]], Scheme]] = {
    "gptq": _gptq_scheme,
    "awq": _awq_scheme,
    "compressed-tensors": _compressed_scheme,
    "mxfp4": _mxfp4_scheme,
}


def _whole(stated: Mapping[str, Any], name: str) -> int:
    value = stated.get(name)
    if type(value) is not int or not (value == -1 or 0 < value <= 1 << 20):
        raise FormatError(f"{name} of the quantization_config is {str(value)[:40]!r}, not a size.", hint=HINT)
    return value


def _unknown(method: str, what: str) -> UnsupportedError:
    return UnsupportedError(
        f"The weights are quantised with {method} in {what}, which is not known here.", hint=HINT
    )


# --- which tensors make a weight

ROLES = {
    "gptq": {"qweight": "codes", "qzeros": "zeros", "scales": "scales", "g_idx": "group_of"},
    "awq": {"qweight": "codes", "qzeros": "zeros", "scales": "scales"},
    "compressed-tensors": {
        "weight_packed": "codes", "weight": "codes", "weight_scale": "scales", "weight_zero_point": "zeros",
        "weight_shape": "shape", "weight_g_idx": "group_of",
        "input_scale": "input", "input_zero_point": "input_zero",
    },
}  # fmt: skip
"""A tensor's last name -> what it is to its weight."""


def _find(stored: StoredTensors, scheme: Scheme) -> dict[str, Packed]:
    found: dict[str, dict[str, str]] = {}
    for name in stored.infos:
        stem, _, last = name.rpartition(".")
        if last in ROLES[scheme.method]:
            found.setdefault(stem, {})[ROLES[scheme.method][last]] = name
    packed = {}
    for stem, parts in found.items():
        if "codes" in parts and "scales" in parts:
            name = f"{stem}.weight"
            packed[name] = Packed(_info(stored, name, parts, scheme), parts)
        elif scheme.method != "compressed-tensors":
            raise FormatError(f"{stem[:120]} has only {', '.join(sorted(parts))} of a weight.", hint=HINT)
    return packed


def _info(stored: StoredTensors, name: str, parts: Mapping[str, str], scheme: Scheme) -> TensorInfo:
    codes = stored.infos[parts["codes"]]
    if len(codes.shape) != 2:
        raise FormatError(f"{codes.name[:120]} has {len(codes.shape)} dimensions, not 2.", hint=HINT)
    per_word = 1 if codes.type in ("I8", "U8") else 32 // scheme.bits
    rows, columns = codes.shape
    shape = {
        "gptq": (columns, rows * per_word),
        "awq": (columns * per_word, rows),
        "compressed-tensors": (rows, columns * per_word),
    }[scheme.method]
    if "shape" in parts:
        shape = _stated_shape(stored, parts["shape"], shape)
    num_bytes = sum(stored.infos[part].num_bytes for part in parts.values())
    is_scattered = "group_of" in parts and _is_scattered(stored, parts["group_of"], scheme, shape[1])
    kind = "F16" if is_scattered else scheme.type
    return TensorInfo(name, kind, shape, num_bytes)


def _stated_shape(stored: StoredTensors, name: str, padded: tuple[int, int]) -> tuple[int, int]:
    """compressed-tensors pads rows to whole words and says how wide they were."""
    info = stored.infos[name]
    raw = stored.stored(name).tobytes()
    values = np.frombuffer(raw, INTEGERS[info.type]).tolist() if info.type in ("I32", "I64") else []
    if len(values) != 2 or values[0] != padded[0] or not 0 <= padded[1] - values[1] < 8:
        raise FormatError(f"{name[:120]} does not state the shape of its weight.", hint=HINT)
    return values[0], values[1]


def _is_scattered(stored: StoredTensors, name: str, scheme: Scheme, columns: int) -> bool:
    """Whether neighbouring columns belong to different groups (act-order)."""
    info = stored.infos[name]
    if info.type != "I32" or info.shape != (columns,):
        found = f"{info.type} {list(info.shape)[:4]}"
        raise FormatError(f"{name[:120]} is {found}, not I32 [{columns}].", hint=HINT)
    group_of = np.frombuffer(stored.stored(name).tobytes(), np.int32)
    if scheme.group == -1:
        return bool(np.any(group_of != 0))
    return not np.array_equal(group_of, np.arange(len(group_of)) // scheme.group)


def _find_mxfp4(stored: StoredTensors) -> dict[str, Packed]:
    """Experts of gpt-oss: NAME_blocks [experts, out, groups, 16] and NAME_scales [experts, out, groups]."""
    packed = {}
    for name, blocks in stored.infos.items():
        stem = name.removesuffix("_blocks")
        if stem == name:
            continue
        scales = stored.infos.get(f"{stem}_scales")
        if (
            scales is None
            or blocks.type != "U8"
            or scales.type != "U8"
            or blocks.shape != (*scales.shape, 16)
        ):
            raise FormatError(f"{name[:120]} has no scales that fit it.", hint=HINT)
        *outer, groups = scales.shape
        info = TensorInfo(
            stem, "MXFP4", (*outer, groups * layouts.GROUP), blocks.num_bytes + scales.num_bytes
        )
        packed[stem] = Packed(info, {"codes": name, "scales": f"{stem}_scales"})
    return packed


# --- reading a weight


def _gptq(parts: Parts, scheme: Scheme) -> WeightTensor:
    rows, columns = parts.shape
    groups = _num_groups(columns, scheme)
    parts.require("scales", (groups, rows))
    parts.require("zeros", (groups, rows * scheme.bits // 32))
    codes = layouts.gptq_codes(parts.integers("codes"), scheme.bits)
    zeros = layouts.gptq_zeros(parts.integers("zeros"), scheme.bits, scheme.added_to_zeros)
    return _weight(parts, scheme, codes, parts.floats("scales").T, zeros)


def _awq(parts: Parts, scheme: Scheme) -> WeightTensor:
    rows, columns = parts.shape
    groups = _num_groups(columns, scheme)
    parts.require("scales", (groups, rows))
    parts.require("zeros", (groups, rows // 8))
    codes, zeros = (layouts.awq_codes(parts.integers(role)) for role in ("codes", "zeros"))
    return _weight(parts, scheme, codes, parts.floats("scales").T, zeros)


def _compressed(parts: Parts, scheme: Scheme) -> WeightTensor:
    rows, columns = parts.shape
    stored, half = parts.integers("codes"), 1 << (scheme.bits - 1)
    if stored.dtype == np.int32:
        codes = layouts.packed_rows(stored, columns, scheme.bits)
    else:
        codes = (stored.astype(np.int16) + half).astype(np.uint8)
    scales = parts.floats("scales")
    groups = _num_groups(columns, scheme)
    if scales.size == 1:
        scales = np.full((rows, 1), scales.reshape(-1)[0], np.float32)
    elif scales.shape != (rows, groups):
        parts.require("scales", (rows, groups))
    zeros: Array | int = half
    if parts.has("zeros") and not scheme.symmetric:
        zeros = _compressed_zeros(parts, scheme, (rows, scales.shape[1]))
    return _weight(parts, scheme, codes, scales, zeros)


def _compressed_zeros(parts: Parts, scheme: Scheme, shape: tuple[int, int]) -> Array:
    """Packed along the rows, or plain int8; counted like the codes."""
    zeros: Array = parts.integers("zeros")
    if zeros.dtype == np.int32:
        zeros = layouts.packed_rows(np.ascontiguousarray(zeros.T), shape[0], scheme.bits).T
    else:
        zeros = zeros.astype(np.int16) + (1 << (scheme.bits - 1))
    if zeros.size == 1:
        zeros = np.broadcast_to(zeros.reshape(1, 1), shape)
    if zeros.shape != shape:
        raise FormatError(f"The zero points of {parts.name[:120]} do not fit its scales.", hint=HINT)
    return zeros


def _mxfp4(parts: Parts, _: Scheme) -> WeightTensor:
    """Experts one below the other: [experts * out, in]."""
    blocks, scales = parts.integers("codes"), parts.integers("scales")
    groups = scales.shape[-1]
    return layouts.mxfp4(blocks.reshape(-1, groups, 16), scales.reshape(-1, groups))


READERS: Mapping[str, Callable[[Parts, Scheme], WeightTensor]] = {
    "gptq": _gptq,
    "awq": _awq,
    "compressed-tensors": _compressed,
    "mxfp4": _mxfp4,
}


def _num_groups(columns: int, scheme: Scheme) -> int:
    return 1 if scheme.group == -1 else -(-columns // scheme.group)


def _weight(
    parts: Parts, scheme: Scheme, codes: layouts.Codes, scales: F32, zeros: Array | int
) -> WeightTensor:
    group = codes.shape[1] if scheme.group == -1 else scheme.group
    if parts.has("group_of") and parts.weight.info.type == "F16":
        group_of = parts.integers("group_of")
        if group_of.min() < 0 or group_of.max() >= scales.shape[1]:
            raise FormatError(f"The groups of {parts.name[:120]}'s columns are impossible.", hint=HINT)
        return layouts.scattered(codes, scales, zeros, group_of)
    return layouts.grouped(codes, np.ascontiguousarray(scales), zeros, scheme.bits, group)
