"""`open_bundle`: any checkpoint by its path, as a `Bundle`.

Decides what lies there and gathers the parts; each format's reader does the reading. Only headers
and small sidecar files are touched. Nothing is ever executed, whatever a pickle asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from fairway.errors import FairwayError, FormatError, ModelNotFound, UnsupportedError
from fairway.formats.bundle import ONNX_GRAPH, Bundle, FileTensors, TensorInfo
from fairway.formats.completeness import missing_parts
from fairway.formats.gguf_types import BY_NAME
from fairway.formats.identify import ENGINE, ENGINES, HINTS, Kind, identify
from fairway.formats.keras import keras_bundle
from fairway.formats.licence import folder_licence
from fairway.formats.lineage import Lineage, read_lineage
from fairway.formats.modelfile import FILE_NAME
from fairway.formats.nemo import nemo_bundle
from fairway.formats.onnx import onnx_weights, open_onnx
from fairway.formats.open_gguf import gguf_bundle
from fairway.formats.open_modelfile import modelfile_bundle
from fairway.formats.pooling import folder_pooling
from fairway.formats.quantized_folder import with_weights
from fairway.formats.safetensors import open_safetensors
from fairway.formats.shards import INDEX_SUFFIXES, open_shards
from fairway.formats.sidecars import Sidecars
from fairway.formats.skops import skops_bundle
from fairway.formats.source import file_digest, unreadable
from fairway.formats.torch_checkpoint import open_script, open_torch

ONNX_NAME = "model.onnx"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
NEEDED_TO_RUN = ("config.json", "tokenizer.json")
NOT_WEIGHTS = {"training_args.bin", "optimizer.bin", "scheduler.bin", "optimizer.pt", "scheduler.pt"}


def open_bundle(path: Path | str, *, complete: bool = True) -> Bundle:
    """A Hugging Face folder, a safetensors, PyTorch or GGUF file, the index of a sharded one, or a Modelfile.

    With `complete`, a model that cannot answer (no config, no tokenizer, weights of a type that
    cannot be run) is an error; without, it is opened as far as its headers go, for listing. Raises
    `ModelNotFound`, `FormatError` or `UnsupportedError`.
    """
    path = Path(path).expanduser()
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"{str(path)[:200]!r} is not a path.", hint="Check the spelling.") from error
    if not exists:
        raise ModelNotFound(f"There is nothing at {path}.", hint="Check the spelling of the path.")
    bundle = _open_folder(path) if is_folder else _open_file(path, complete=complete)
    if complete and (reason := obstacle(bundle)):
        raise reason
    return bundle


def _open_folder(folder: Path) -> Bundle:
    """Safetensors before GGUF before pickles, where a folder holds several."""
    try:
        files = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise unreadable(folder, error) from error
    pickles = [name for name in files if _is_pickle(name)]
    if weights := _safetensors(folder, files):
        bundle = _with_sidecars(folder, weights)
        warning = f"{', '.join(pickles[:3])} beside the weights was not needed and not opened."
        return replace(bundle, warnings=(*bundle.warnings, warning)) if pickles else bundle
    ggufs = [name for name in files if name.endswith(".gguf") and not _is_later_part(name)]
    if len(ggufs) == 1:
        return gguf_bundle(folder / ggufs[0])
    if ggufs:
        raise _several(folder, ggufs)
    if pickles:
        return _unpickled(_with_sidecars(folder, _pickled(folder, files, pickles)))
    if ONNX_NAME in files:
        return replace(_with_sidecars(folder, onnx_weights(folder / ONNX_NAME)), container="onnx")
    if FILE_NAME in files:
        return _from_modelfile(folder / FILE_NAME)
    if engines := [name for name in files if name.endswith(ENGINES)]:
        raise Kind("tensorrt", ENGINE).refusal(folder / engines[0])
    raise FormatError(
        f"{folder} holds no weights: no .safetensors, .gguf or .bin file.",
        hint="Name a folder downloaded from a model hub, or a .gguf file.",
    )


def _safetensors(folder: Path, files: list[str]) -> FileTensors | None:
    """The folder's safetensors, by the names that transformers looks for first."""
    if "model.safetensors" in files:
        return open_safetensors(folder / "model.safetensors")
    suffix = INDEX_SUFFIXES[0]
    indexes = [name for name in files if name.endswith(suffix)]
    if f"model{suffix}" in indexes or len(indexes) == 1:
        return open_shards(folder / (f"model{suffix}" if f"model{suffix}" in indexes else indexes[0]))
    singles = [name for name in files if name.endswith(".safetensors")]
    if len(singles) == 1:
        return open_safetensors(folder / singles[0])
    if singles:
        raise FormatError(
            f"{folder} holds {len(singles)} safetensors files and no model{suffix} that joins them.",
            hint="Name one of the files, or download the index too.",
        )
    return None


def _pickled(folder: Path, files: list[str], pickles: list[str]) -> FileTensors:
    """PyTorch's own files, read without executing them."""
    indexes = [name for name in files if name.endswith(INDEX_SUFFIXES[1])]
    if len(indexes) == 1:
        return open_shards(folder / indexes[0])
    if "pytorch_model.bin" in pickles or len(pickles) == 1:
        return open_torch(folder / ("pytorch_model.bin" if "pytorch_model.bin" in pickles else pickles[0]))
    raise _several(folder, pickles)


def _unpickled(bundle: Bundle) -> Bundle:
    warning = "The weights are a pickle: its tensors were read, and nothing of it was executed."
    return replace(bundle, warnings=(*bundle.warnings, warning))


def _several(folder: Path, names: list[str]) -> FormatError:
    listed = ", ".join(names[:5])
    return FormatError(f"{folder} holds several models: {listed}.", hint="Name one of the files.")


def _is_later_part(name: str) -> bool:
    return "-of-" in name and not name.rsplit("-of-", 1)[0].endswith("-00001")


def _is_pickle(name: str) -> bool:
    return name.endswith(PICKLES) and name not in NOT_WEIGHTS


def _open_file(path: Path, *, complete: bool) -> Bundle:
    if path.suffix == ".nemo":
        return nemo_bundle(path)
    if path.name.endswith(INDEX_SUFFIXES[0]):
        return replace(_with_sidecars(path.parent, open_shards(path)), path=path, container="safetensors")
    if path.name.endswith(INDEX_SUFFIXES[1]):
        bundle = _unpickled(_with_sidecars(path.parent, open_shards(path)))
        return replace(bundle, path=path, container="torch")
    kind = identify(path)
    if kind.format == "modelfile":
        return _from_modelfile(path)
    if kind.format == "gguf":
        return gguf_bundle(path)
    if kind.format == "safetensors":
        bundle = _with_sidecars(path.parent, open_safetensors(path))
        return replace(bundle, path=path, name=path.stem, container="safetensors")
    if kind.format == "torch":
        bundle = _unpickled(_with_sidecars(path.parent, open_torch(path)))
        return replace(bundle, path=path, name=path.stem, container="torch")
    if kind.format in GRAPHS and not complete:
        return GRAPHS[kind.format](path)
    raise kind.refusal(path)


def _graph_file(path: Path) -> Bundle:
    """An ONNX file with every tensor that it holds or names; its graph is read where it is needed."""
    tensors = open_onnx(path).tensors
    bundle = _with_sidecars(path.parent, tensors)
    config = {"sha256": file_digest(tensors.sources[0])}
    return replace(bundle, path=path, name=path.stem, container=ONNX_GRAPH, config=config, tokenizer=None)


def _script(path: Path) -> Bundle:
    """A TorchScript archive's tensors; what it computes is a program."""
    bundle = _with_sidecars(path.parent, open_script(path))
    warning = "It is a program: its tensors were read, and nothing of it was executed."
    return replace(
        bundle, path=path, name=path.stem, container="torchscript", warnings=(*bundle.warnings, warning)
    )


GRAPHS: Mapping[str, Callable[[Path], Bundle]] = {
    "onnx": _graph_file,
    "keras": keras_bundle,
    "skops": skops_bundle,
    "torchscript": _script,
}
"""Models that no prompt can be given to: opened to be shown and converted."""


def _from_modelfile(path: Path) -> Bundle:
    """What FROM names may be anything but another Modelfile."""
    return modelfile_bundle(path, lambda base: open_bundle(base, complete=False))


def _with_sidecars(folder: Path, tensors: FileTensors) -> Bundle:
    sidecars = Sidecars(folder)
    lineage, warnings = _lineage(folder)
    return Bundle(
        name=folder.resolve().name,
        path=folder,
        container="huggingface",
        config=sidecars.config,
        tensors=tensors,
        tokenizer=sidecars.tokenizer,
        chat_template=sidecars.chat_template(),
        generation=sidecars.generation(),
        end_of_text_ids=sidecars.end_of_text_ids(),
        licence=folder_licence(folder),
        sources=tensors.sources,
        pooling=folder_pooling(folder),
        lineage=lineage,
        warnings=warnings,
    )


def _lineage(folder: Path) -> tuple[Lineage | None, tuple[str, ...]]:
    """Broken records of where a model comes from do not keep it from running, but are told."""
    try:
        return read_lineage(folder), ()
    except FormatError as error:
        return None, (error.message,)


def obstacle(bundle: Bundle) -> FairwayError | None:
    """Why this model cannot answer as it lies there, or None."""
    if bundle.preset is not None and bundle.preset.adapters:
        return UnsupportedError(
            f"The Modelfile puts the adapter {bundle.preset.adapters[0].name} on {bundle.path}.",
            hint="fairway run and up merge it when they load the model.",
        )
    if bundle.container in (*GRAPHS, ONNX_GRAPH) and bundle.path.is_file():
        kind = identify(bundle.path)
        return UnsupportedError(
            f"{bundle.path} is {kind.words}: it answers no prompt.", hint=HINTS[kind.format]
        )
    if _is_adapter(bundle):
        return UnsupportedError(
            f"{bundle.path} is an adapter for another model, not a model.",
            hint="Merge it into its base model first (adapter_config.json names it).",
        )
    missing = [part for part in missing_parts(bundle) if part.name in NEEDED_TO_RUN]
    if missing:
        return missing[0].error(bundle)
    try:
        with_weights(bundle)
    except (FormatError, UnsupportedError) as error:
        return error
    unreadable = _unreadable(bundle)
    if unreadable:
        kinds = ", ".join(sorted({info.type for info in unreadable}))
        return UnsupportedError(
            f"{bundle.path} stores {len(unreadable)} tensors as {kinds}, which cannot be run.",
            hint="Choose a file with Q2_K to Q8_0, IQ4_NL, IQ4_XS, BF16, F16 or F32 weights.",
        )
    return None


def _is_adapter(bundle: Bundle) -> bool:
    folder = bundle.path if bundle.path.is_dir() else bundle.path.parent
    is_folder = bundle.container != "gguf" and not bundle.config
    return is_folder and (folder / "adapter_config.json").is_file()


def _unreadable(bundle: Bundle) -> list[TensorInfo]:
    """Quantised GGUF types that this version only lists. Odd buffers of a folder may never be read."""
    if bundle.container != "gguf":
        return []
    infos = bundle.tensors.infos.values()
    return [
        info for info in infos if BY_NAME[info.type].block_size > 1 and not BY_NAME[info.type].is_readable
    ]
