"""Folders in mlx-lm's layout whose weights MLX quantised in groups with a scale and a bias.

    weight[r, c] = scales[r, g] * code[r, c] + biases[r, g],  g = c // group_size

NAME.weight holds the codes in 32-bit words, NAME.scales and NAME.biases the groups. config.json's
`quantization` states group_size and bits, and for a layer by its name where it has others.
Documentation: https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.quantize.html
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.bundle import StoredTensors, TensorInfo
from fairway.formats.floats import FLOATS
from fairway.formats.packed_weights import HINT, Packed, Parts, QuantizedTensors
from fairway.formats.quantized_layouts import Codes, biased
from fairway.tensors import WeightTensor

MLX = "mlx"
CODE_BITS = (2, 3, 4, 5, 6, 8)
GROUP_SIZES = (32, 64, 128)
WORD_BITS = 32
Words = npt.NDArray[np.uint32]


def is_mlx(config: Mapping[str, Any]) -> bool:
    """Whether config.json says that MLX quantised the weights."""
    stated = config.get("quantization")
    return isinstance(stated, dict) and {"group_size", "bits"} <= stated.keys()


def type_name(bits: int) -> str:
    """What `TensorInfo.type` calls such weights."""
    return f"INT{bits}_ASYM"


def mlx_tensors(stored: StoredTensors, stated: Mapping[str, Any]) -> StoredTensors:
    """A view with one tensor for each weight; `stated` is the config's `quantization`.

    Raises `UnsupportedError` for another mode than "affine", `FormatError` for parts that do not fit.
    """
    packed, bits_of = {}, {}
    for scales in stored.infos:
        stem, _, last = scales.rpartition(".")
        if last == "scales" and f"{stem}.weight" in stored.infos:
            name = f"{stem}.weight"
            bits_of[name], group = _layer(stated, stem)
            packed[name] = _packed(stored, stem, bits_of[name], group)
    return QuantizedTensors(stored, packed, partial(_read, bits_of=bits_of)) if packed else stored


def _layer(stated: Mapping[str, Any], stem: str) -> tuple[int, int]:
    """Bits and group of one layer."""
    own = stated.get(stem)
    values = {**stated, **own} if isinstance(own, Mapping) else stated
    mode, bits, group = values.get("mode", "affine"), values["bits"], values["group_size"]
    if mode != "affine" or bits not in CODE_BITS or group not in GROUP_SIZES:
        raise UnsupportedError(
            f"MLX quantised {stem[:120]} as {str(mode)[:20]} with {str(bits)[:10]} bits in groups of "
            f"{str(group)[:10]}, which is not known here.",
            hint=HINT,
        )
    return bits, group


def _packed(stored: StoredTensors, stem: str, bits: int, group: int) -> Packed:
    parts = {"codes": f"{stem}.weight", "scales": f"{stem}.scales", "biases": f"{stem}.biases"}
    missing = [name for name in parts.values() if name not in stored.infos]
    if missing:
        raise FormatError(
            f"{stem[:120]} has scales but no {missing[0].rpartition('.')[2]}.", hint="Download it again."
        )
    codes, scales, biases = (stored.infos[name] for name in parts.values())
    if codes.type != "U32" or len(codes.shape) != 2 or codes.shape[1] * WORD_BITS % bits:
        found = f"{codes.type} {list(codes.shape)[:4]}"
        raise FormatError(f"{codes.name[:120]} is {found}, not words of {bits}-bit codes.", hint=HINT)
    rows, columns = codes.shape[0], codes.shape[1] * WORD_BITS // bits
    wanted = (rows, columns // group)
    if columns % group or scales.shape != wanted or biases.shape != wanted:
        raise FormatError(
            f"The scales of {stem[:120]} have the shape {list(scales.shape)[:4]}, not {list(wanted)}.",
            hint="config.json's quantization must be that of these weights: download both again.",
        )
    if scales.type not in FLOATS or biases.type not in FLOATS:
        raise FormatError(f"The scales of {stem[:120]} are {scales.type}, not floats.", hint=HINT)
    num_bytes = codes.num_bytes + scales.num_bytes + biases.num_bytes
    return Packed(TensorInfo(codes.name, type_name(bits), (rows, columns), num_bytes), parts)


def _read(parts: Parts, bits_of: Mapping[str, int]) -> WeightTensor:
    bits = bits_of[parts.name]
    codes = unpack_codes(parts.integers("codes"), bits)
    return biased(codes, parts.floats("scales"), parts.floats("biases"), bits)


def unpack_codes(words: Words, bits: int) -> Codes:
    """words [rows, columns * bits / 32]: codes [rows, columns], the first in the lowest bits."""
    by_eight = np.ascontiguousarray(words).view(np.uint8).reshape(len(words), -1, bits)
    joined = np.zeros(by_eight.shape[:2], np.uint64)
    for place in range(bits):
        joined |= by_eight[..., place].astype(np.uint64) << np.uint64(8 * place)
    shifts = np.arange(8, dtype=np.uint64) * np.uint64(bits)
    codes: Codes = ((joined[..., None] >> shifts) & np.uint64((1 << bits) - 1)).astype(np.uint8)
    return codes.reshape(len(words), -1)


def pack_codes(codes: Codes, bits: int) -> Words:
    """What `unpack_codes` takes apart; columns are a multiple of 32."""
    by_eight = codes.reshape(len(codes), -1, 8)
    joined = np.zeros(by_eight.shape[:2], np.uint64)
    for place in range(8):
        joined |= by_eight[..., place].astype(np.uint64) << np.uint64(bits * place)
    low = joined.astype("<u8").view(np.uint8).reshape(*joined.shape, 8)[..., :bits]
    return np.ascontiguousarray(low).reshape(len(codes), -1).view(np.uint32)
