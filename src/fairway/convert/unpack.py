"""Checkpoints that GPTQ, AWQ, compressed-tensors, MXFP4 or MLX quantised, as a source of other types.

Their types are kept only in safetensors, as the files they are. Anything else begins with what the packed
weights mean. Rule: that is never done unasked, and rounding such weights again needs a word of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fairway.convert.settings import STORED, ConvertSettings
from fairway.errors import UnsupportedError
from fairway.formats.bundle import Bundle, TensorInfo, Tensors
from fairway.formats.floats import FLOATS
from fairway.formats.quantized_folder import CONFIG_KEYS, method_of, with_weights
from fairway.models.conversion import floats_of
from fairway.tensors import DenseTensor, WeightTensor

MERGED_INTO = "F16"
"""What quantised weights become when an adapter is merged into them and nothing else is asked for."""


class UnpackedTensors:
    """`Tensors` under the model's own names. Packed weights have no bytes of their own, only a meaning."""

    def __init__(self, packed: Tensors) -> None:
        self._packed = packed
        self.infos: Mapping[str, TensorInfo] = packed.infos

    def read(self, name: str) -> WeightTensor:
        """As the packed tensors give it; of experts, which those join to a matrix, float32 [experts, ...]."""
        weight, shape = self._packed.read(name), self.infos[name].shape
        return weight if weight.shape == shape else DenseTensor("f32", floats_of(weight).reshape(shape))


class FloatTensors:
    """`Tensors` whose numbers are float32, whatever they are stored as."""

    def __init__(self, stored: Tensors) -> None:
        self._stored = stored
        sizes = {name: (info.shape, 4 * info.num_elements) for name, info in stored.infos.items()}
        self.infos: Mapping[str, TensorInfo] = {
            name: TensorInfo(name, "F32", *size) for name, size in sizes.items()
        }

    def read(self, name: str) -> DenseTensor:
        return DenseTensor("f32", floats_of(self._stored.read(name)).reshape(self.infos[name].shape))


def meaning(bundle: Bundle) -> Bundle:
    """What quantised weights mean, computed with as floats: nothing else is rounded."""
    view = with_weights(bundle)
    config = {key: value for key, value in bundle.config.items() if key not in CONFIG_KEYS}
    return replace(view, tensors=FloatTensors(view.tensors), config=config)


def unpacked(bundle: Bundle, settings: ConvertSettings) -> Bundle:
    """The bundle itself where nothing is packed or all stays as it is.

    Raises `UnsupportedError` where a choice is missing, and for methods that only their own library reads.
    """
    method = method_of(bundle.config)
    if method is None or (settings.type == STORED and settings.to == "safetensors"):
        return bundle
    view = with_weights(bundle)
    is_asked_for = settings.type in FLOATS or (settings.type != STORED and settings.requantize)
    if view is bundle or not is_asked_for:
        raise _refusal(bundle, settings, method, view)
    config = {key: value for key, value in bundle.config.items() if key not in CONFIG_KEYS}
    return replace(bundle, tensors=UnpackedTensors(view.tensors), config=config)


def _refusal(bundle: Bundle, settings: ConvertSettings, method: str, view: Bundle) -> UnsupportedError:
    about = f"{bundle.path} is already quantised with {method}"
    if view is bundle:
        return UnsupportedError(
            f"{about}, which only its own library reads.",
            hint="Start from the original checkpoint, or keep the types: --to safetensors.",
        )
    if settings.type == STORED:
        return UnsupportedError(
            f"{about}, and {settings.to} has no such weights.",
            hint="Make floats of them with --type f16, or round them again with --requantize.",
        )
    return UnsupportedError(
        f"{about}: rounding it again loses more than once.",
        hint="Start from the original checkpoint, make floats of it with --type f16, or allow it with "
        "--requantize.",
    )


def is_quantised(bundle: Bundle) -> bool:
    """Whether weights were rounded to few bits before."""
    is_gguf = bundle.container == "gguf"
    return method_of(bundle.config) is not None or (
        is_gguf and any(info.type not in FLOATS for info in bundle.tensors.infos.values())
    )


def for_adapters(bundle: Bundle, settings: ConvertSettings) -> ConvertSettings:
    """With an adapter, quantised weights become 16-bit floats unless another type is asked for."""
    named = (*settings.adapters, *(bundle.preset.adapters if bundle.preset else ()))
    if named and settings.type == STORED and is_quantised(bundle):
        return replace(settings, type=MERGED_INTO)
    return settings
