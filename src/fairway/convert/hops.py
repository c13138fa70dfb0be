"""The table of hops, and the two calls that everything goes through: `prepare` and `convert`.

    conversion = prepare(bundle, ConvertSettings(to="safetensors"))     # refuses, or knows everything
    published = convert(conversion, progress)                           # streams, checks, publishes

A hop says what goes in, what comes out and how to prepare it; running is the same for all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from fairway.convert.from_gguf import gguf_to_folder, gguf_to_gguf
from fairway.convert.graph_hops import (
    keras_to_onnx,
    keras_to_openvino,
    onnx_to_openvino,
    script_to_graph,
)
from fairway.convert.job import Conversion
from fairway.convert.merge_lora import with_adapters
from fairway.convert.modelfile import to_modelfile
from fairway.convert.preflight import check_disk, check_source, check_target
from fairway.convert.prove import gather
from fairway.convert.publish import Published, publish
from fairway.convert.settings import STORED, ConvertSettings
from fairway.convert.sidecars import copied_sidecars
from fairway.convert.sklearn_to_onnx import skops_to_onnx
from fairway.convert.to_coreml import to_coreml
from fairway.convert.to_gguf import huggingface_to_gguf
from fairway.convert.to_mlx import to_mlx
from fairway.convert.to_openvino import to_onnx, to_openvino
from fairway.convert.to_safetensors import check_type, common_type, float_jobs, safetensors_files
from fairway.convert.unpack import for_adapters, is_quantised, unpacked
from fairway.convert.workplace import Workplace
from fairway.convert.write import Progress, Writing
from fairway.errors import FairwayError, FormatError, InternalError, UnsupportedError
from fairway.formats.bundle import ONNX_GRAPH, Bundle
from fairway.formats.gguf_types import BY_NAME

Prepare: TypeAlias = Callable[[Bundle, ConvertSettings, Path], Conversion]
FLOAT_FOLDERS = ("huggingface", "safetensors", "torch", "nemo", "onnx")
TYPE_NAMES = "|".join([*BY_NAME, r"Q\d_K_[SML]", "fp16", "fp32", "INT[48]", "AWQ", "GPTQ"])
TYPE_SUFFIX = re.compile(rf"[-_.](?:{TYPE_NAMES})$", re.IGNORECASE)


@dataclass(frozen=True)
class Hop:
    """One edge of the map. `sources` are containers of bundles."""

    sources: tuple[str, ...]
    target: str
    is_folder: bool
    prepare: Prepare

    def name(self, bundle: Bundle) -> str:
        return f"{bundle.container} -> {self.target}"


def _folder_to_safetensors(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:
    check_type(settings.type)
    jobs = float_jobs(bundle, settings.type)
    files, index = safetensors_files(jobs, settings)
    sidecars = copied_sidecars(bundle, None if settings.type == STORED else common_type(jobs))
    return Conversion(
        source=bundle,
        target=target,
        is_folder=True,
        files=files,
        sidecars=sidecars | index,
    )


HOPS = (
    Hop(FLOAT_FOLDERS, "safetensors", is_folder=True, prepare=_folder_to_safetensors),
    Hop(FLOAT_FOLDERS, "gguf", is_folder=False, prepare=huggingface_to_gguf),
    Hop(FLOAT_FOLDERS, "mlx", is_folder=True, prepare=to_mlx),
    Hop((*FLOAT_FOLDERS, "gguf"), "onnx", is_folder=True, prepare=to_onnx),
    Hop((*FLOAT_FOLDERS, "gguf"), "openvino", is_folder=True, prepare=to_openvino),
    Hop(FLOAT_FOLDERS, "coreml", is_folder=True, prepare=to_coreml),
    Hop(("keras",), "onnx", is_folder=True, prepare=keras_to_onnx),
    Hop(("keras",), "openvino", is_folder=True, prepare=keras_to_openvino),
    Hop(("skops",), "onnx", is_folder=True, prepare=skops_to_onnx),
    Hop(("torchscript",), "safetensors", is_folder=True, prepare=_folder_to_safetensors),
    Hop(("torchscript",), "onnx", is_folder=True, prepare=script_to_graph),
    Hop(("torchscript",), "openvino", is_folder=True, prepare=script_to_graph),
    Hop((ONNX_GRAPH,), "openvino", is_folder=True, prepare=onnx_to_openvino),
    Hop(("gguf",), "safetensors", is_folder=True, prepare=gguf_to_folder),
    Hop(("gguf",), "gguf", is_folder=False, prepare=gguf_to_gguf),
    Hop((*FLOAT_FOLDERS, "gguf"), "modelfile", is_folder=True, prepare=to_modelfile),
)
TARGETS = tuple(dict.fromkeys(hop.target for hop in HOPS))


def find_hop(bundle: Bundle, target: str) -> Hop:
    """Raises `UnsupportedError` naming what this bundle can become."""
    for hop in HOPS:
        if hop.target == target and bundle.container in hop.sources:
            return hop
    possible = [hop.target for hop in HOPS if bundle.container in hop.sources]
    raise UnsupportedError(
        f"There is no way from {bundle.container} to {target} yet.",
        hint=f"Possible: --to {', '.join(possible)}." if possible else f"Convert {_containers()}.",
    )


def _containers() -> str:
    return ", ".join(dict.fromkeys(container for hop in HOPS for container in hop.sources))


def prepare(bundle: Bundle, settings: ConvertSettings, name: str | None = None) -> Conversion:
    """The pre-flight: everything that can be refused is refused here, and nothing is written.

    `name` is what the source is called, where its path does not say so (a hub's cache).
    """
    check_source(bundle, settings)
    origin, settings = bundle, for_adapters(bundle, settings)
    bundle = _with_adapters(unpacked(bundle, settings), settings)
    hop = find_hop(bundle, settings.to)
    name = "-".join([name or source_name(bundle), *(path.stem for path in settings.adapters)])
    target = settings.out or Path(default_name(name, settings, largest_type(bundle), is_folder=hop.is_folder))
    target = target.expanduser()
    check_target(bundle, target, force=settings.force)
    conversion = hop.prepare(bundle, settings, target)
    choices = _choices(settings) | dict(conversion.settings)
    notes = (*_unpacking(origin, bundle, settings), *_left_behind(bundle, settings), *conversion.notes)
    conversion = replace(
        conversion, hop=hop.name(bundle), source_name=name, settings=choices, accept=settings.accept,
        origin=origin, notes=notes,
    )  # fmt: skip
    check_disk(conversion)
    return conversion


def _with_adapters(bundle: Bundle, settings: ConvertSettings) -> Bundle:
    """Merged in float32 where the output is rounded anyway, so that nothing is rounded twice."""
    wanted = None if settings.type == STORED else "F32"
    weights = settings.adapter_weights or (1.0,) * len(settings.adapters)
    weighted = list(zip(settings.adapters, weights, strict=True))
    how = settings.combination
    return with_adapters(bundle, weighted, wanted, combination=how, allow_quantised=True)


def _left_behind(bundle: Bundle, settings: ConvertSettings) -> tuple[str, ...]:
    """What only a Modelfile can say."""
    if bundle.preset is None or settings.to == "modelfile":
        return ()
    names = ("system", "messages", "stop", "seed", "presence_penalty", "frequency_penalty", "context")
    stated = [name for name in names if getattr(bundle.preset, name) not in (None, ())]
    if not stated:
        return ()
    return (f"Only a Modelfile can say {', '.join(stated)}: --to modelfile keeps what this one says.",)


def _unpacking(origin: Bundle, bundle: Bundle, settings: ConvertSettings) -> tuple[str, ...]:
    """What a user may not expect of a source that was quantised before."""
    if bundle.tensors is origin.tensors or not is_quantised(origin):
        return ()
    return (f"The weights were quantised before: what they mean becomes {settings.type}.",)


def _choices(settings: ConvertSettings) -> dict[str, Any]:
    """Where it is written is no property of what is written."""
    chosen: dict[str, Any] = {"to": settings.to, "type": settings.type}
    flags = {"weights_only": settings.weights_only, "requantize": settings.requantize}
    chosen |= {name: True for name, is_set in flags.items() if is_set}
    return chosen | ({"auto": dict(settings.chosen.record)} if settings.chosen else {})


def source_name(bundle: Bundle) -> str:
    """Without an ending or a type: "model-Q8_0.gguf" is a model."""
    path = bundle.path.resolve()
    if path.is_dir():
        return path.name
    is_plain = path.name.endswith(".index.json") or path.stem in ("model", "pytorch_model")
    name = path.parent.name if is_plain else path.stem
    return TYPE_SUFFIX.sub("", name) or name


def largest_type(bundle: Bundle) -> str:
    """The stored type of most bytes."""
    sizes: dict[str, int] = {}
    for info in bundle.tensors.infos.values():
        sizes[info.type] = sizes.get(info.type, 0) + info.num_bytes
    return max(sizes, key=lambda name: sizes[name], default="F32")


def default_name(name: str, settings: ConvertSettings, stored_type: str, *, is_folder: bool) -> str:
    """model-Q4_K_M.gguf; a folder is named after its type, or after what it holds."""
    if settings.chosen is not None:
        return f"{name}-auto.{settings.to}"
    if is_folder:
        return f"{name}-{settings.to if settings.type == STORED else settings.type}"
    return f"{name}-{settings.type if settings.type != STORED else stored_type}.{settings.to}"


def convert(conversion: Conversion, progress: Progress | None = None) -> Published:
    """Runs a prepared conversion, or continues one that was cut off. The target appears whole or not at all.

    What was written stays for the next run, except where the source itself is the reason for the failure.
    """
    place = Workplace(conversion)
    with place.locked():
        try:
            return _converted(conversion, place, progress)
        except FairwayError as error:
            if isinstance(error, FormatError | UnsupportedError | InternalError):
                place.remove()
            raise


def _converted(conversion: Conversion, place: Workplace, progress: Progress | None) -> Published:
    """What needs no weights is compared first: tokenizers hold the interpreter, which rounding needs too."""
    writing = Writing(conversion, place, progress)
    output = writing.begin()
    gathered = gather(conversion, output)
    checked = writing.run(output)
    return publish(conversion, place, output, gathered, checked)
