"""From a GGUF file to a Hugging Face folder, and from one GGUF file to another.

To a folder: floats as they are stored, quantised weights as F16 unless another float is asked for, and the
config, tokenizer, template and defaults as files. To GGUF: every key as it is, tensors copied or rounded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fairway.convert.encode import is_exact
from fairway.convert.job import Conversion, TensorJob, job_of
from fairway.convert.merge_lora import MergedTensors
from fairway.convert.rows import TensorRows
from fairway.convert.settings import STORED, ConvertSettings
from fairway.convert.sidecars import DTYPES, as_json
from fairway.convert.to_gguf import check_type, file_type, gguf_file, in_gguf_order, modelfile_keys
from fairway.convert.to_safetensors import check_type as check_float
from fairway.convert.to_safetensors import common_type, natural, safetensors_files
from fairway.errors import InternalError, UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.formats.floats import FLOATS
from fairway.formats.gguf_config import MODEL_TYPES
from fairway.formats.gguf_names import ROPE_TENSORS
from fairway.formats.gguf_tensors import GgufTensors
from fairway.formats.gguf_writer import RawValue
from fairway.formats.lineage import GGUF_KEY
from fairway.formats.pooling import MODES, MODULES
from fairway.models.conversion import to_bf16
from fairway.models.families import read_config
from fairway.quantize.plan import plan_mix
from fairway.tensors import F32
from fairway.text.huggingface_files import huggingface_files

DEQUANTISED = "F16"
"""What quantised weights become when nothing else is asked for: their scales are float16, too."""
LARGEST_LOOKED_AT = 1 << 24
"""Elements of a vector or table whose numbers are looked at to choose its type."""
NOT_KEPT = ("general.file_type", "general.quantization_version", "general.alignment", GGUF_KEY)


def gguf_to_folder(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:
    check_float(settings.type)
    tensors = _tensors(bundle)
    if tensors.architecture not in MODEL_TYPES:
        raise UnsupportedError(
            f"The GGUF architecture {tensors.architecture!r} has no Hugging Face folder here.",
            hint=f"Known: {', '.join(MODEL_TYPES)}.",
        )
    read_config(bundle.config, bundle.config_name)
    wanted = settings.type if settings.type != STORED else _float_of(bundle)
    names = sorted(bundle.tensors.infos, key=natural)
    jobs = [_float_job(bundle, name, wanted, settings.type == STORED) for name in names]
    files, index = safetensors_files(jobs, settings)
    return Conversion(
        source=bundle,
        target=target,
        is_folder=True,
        files=files,
        sidecars=written_sidecars(bundle, common_type(jobs) or "F32") | index,
    )


def _tensors(bundle: Bundle) -> GgufTensors:
    """The file's own, below the adapters that were merged into them."""
    tensors = bundle.tensors
    while isinstance(tensors, MergedTensors):
        tensors = tensors.base
    if not isinstance(tensors, GgufTensors):
        raise InternalError(f"{bundle.path} is no GGUF file.")
    return tensors


def _changed(bundle: Bundle) -> set[str]:
    """The tensors that adapters were merged into."""
    changed: set[str] = set()
    tensors = bundle.tensors
    while isinstance(tensors, MergedTensors):
        changed |= tensors.changed
        tensors = tensors.base
    return changed


def _float_of(bundle: Bundle) -> str:
    """The float type of the matrices; quantised ones count as what they become."""
    sizes: dict[str, int] = {}
    for info in bundle.tensors.infos.values():
        kind = info.type if info.type in FLOATS else DEQUANTISED
        if len(info.shape) > 1:
            sizes[kind] = sizes.get(kind, 0) + info.num_elements
    return max(sizes, key=lambda name: sizes[name], default="F32")


def _float_job(bundle: Bundle, name: str, wanted: str, keep_exact: bool) -> TensorJob:
    """As stored, what GGUF keeps in F32 goes back to the matrices' type where no number changes."""
    info = bundle.tensors.infos[name]
    if keep_exact and info.type in FLOATS and info.type != wanted:
        rows = TensorRows(bundle, name)
        is_small = info.num_elements <= LARGEST_LOOKED_AT
        fits = is_small and all(_fits(rows.floats(*part), wanted) for part in rows.slices)
        return dataclasses.replace(job_of(bundle, name, wanted if fits else info.type), is_exact=True)
    job = job_of(bundle, name, wanted)
    return dataclasses.replace(job, is_exact=wanted == "F32" or is_exact(info.type, wanted))


def _fits(values: F32, wanted: str) -> bool:
    if wanted == "BF16":
        back = (to_bf16(values).astype(np.uint32) << np.uint32(16)).view(np.float32)
    else:
        with np.errstate(over="ignore"):
            back = values.astype(np.float16).astype(np.float32)
    return np.array_equal(back, values)


def written_sidecars(bundle: Bundle, stored_type: str) -> dict[str, bytes]:
    """The small files of a folder, from a GGUF file's metadata."""
    assert bundle.tokenizer is not None
    context = bundle.config.get("max_position_embeddings") or bundle.config.get("n_positions")
    files: dict[str, Any] = {"config.json": _config(bundle, stored_type)}
    files["generation_config.json"] = _generation(bundle)
    files |= huggingface_files(bundle.tokenizer.metadata, bundle.chat_template, context)
    files |= _pooling(bundle)
    found = {name: as_json(value) for name, value in files.items()}
    if bundle.licence:
        found["README.md"] = f"---\nlicense: {bundle.licence}\n---\n".encode()
    return found


def _config(bundle: Bundle, stored_type: str) -> dict[str, Any]:
    """Ids that the file does not state are null: left out, a family's own default would take their place."""
    config = {key: value for key, value in bundle.config.items() if value is not None}
    ids = {key: config.get(key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return config | ids | {"dtype": DTYPES[stored_type]}


def _generation(bundle: Bundle) -> dict[str, Any]:
    defaults = bundle.generation
    stated = {
        "temperature": defaults.temperature,
        "top_k": defaults.top_k,
        "top_p": defaults.top_p,
        "min_p": defaults.min_p,
        "repetition_penalty": defaults.repetition_penalty,
        "max_new_tokens": defaults.max_tokens,
        "bos_token_id": bundle.config.get("bos_token_id"),
        "pad_token_id": bundle.config.get("pad_token_id"),
        "eos_token_id": list(bundle.end_of_text_ids) or None,
    }
    if defaults.temperature == 0:
        stated |= {"do_sample": False, "temperature": None}
    elif any(value is not None for value in (defaults.temperature, defaults.top_k, defaults.top_p)):
        stated["do_sample"] = True
    return {key: value for key, value in stated.items() if value is not None}


def _pooling(bundle: Bundle) -> dict[str, Any]:
    """The files of sentence-transformers for an embedding model."""
    mode = {kind: mode for mode, kind in MODES.items()}.get(bundle.pooling.kind) if bundle.pooling else None
    if mode is None:
        return {}
    package = "sentence_transformers.models"
    rows = [{"idx": 0, "name": "0", "path": "", "type": f"{package}.Transformer"}]
    rows.append({"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{package}.Pooling"})
    return {MODULES: rows, "1_Pooling/config.json": {mode: True}}


def gguf_to_gguf(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:
    """Another mix of types, or the parts of a split file as one."""
    check_type(settings.type)
    tensors = _tensors(bundle)
    types = {name: place.tensor.type.name for name, place in tensors.places.items()}
    if settings.type != STORED:
        planned = plan_mix(tensors.files, settings.type, requantize=settings.requantize)
        types = {name: each.type for name, each in planned.items()}
    if settings.chosen is not None:
        types |= settings.chosen.types
    if not settings.requantize:
        _check_merged(bundle, tensors, types)
    spelled = {gguf: name for name, gguf in tensors.gguf_names.items()}
    jobs = _gguf_jobs(bundle, tensors, {name: types[name] for name in types if name in spelled})
    constants = tensors.read_rope_factors()
    metadata = {**_metadata(tensors, settings.type, jobs), **modelfile_keys(bundle)}
    rope = {name: np.array(constants[name], np.float32) for name in ROPE_TENSORS if name in constants}
    return Conversion(
        source=bundle,
        target=target,
        is_folder=False,
        files=(gguf_file(target.name, metadata, jobs, rope, bundle.lineage),),
    )


def _check_merged(bundle: Bundle, tensors: GgufTensors, types: Mapping[str, str]) -> None:
    """What an adapter was merged into is no copy, although its type may be the file's own."""
    for name in _changed(bundle):
        gguf_name = tensors.gguf_names[name]
        before, after = tensors.gguf_infos[gguf_name].type, types[gguf_name]
        if before not in FLOATS and after not in FLOATS:
            raise UnsupportedError(
                f"{bundle.path} is quantised already ({gguf_name} is {before}), and rounding what the "
                "adapter makes of it loses more than once.",
                hint="Leave the type out for F16, or allow it with --requantize.",
            )


def _gguf_jobs(bundle: Bundle, tensors: GgufTensors, types: Mapping[str, str]) -> list[TensorJob]:
    """`types`: of the tensors by their GGUF names."""
    spelled = {gguf: name for name, gguf in tensors.gguf_names.items()}
    file = dataclasses.replace(bundle, tensors=tensors)
    as_stored = dataclasses.replace(bundle, tensors=GgufTensors(tensors.files, "", 0, 0))
    changed = _changed(bundle)
    return [
        _merged(bundle, tensors, spelled[name], name, kind)
        if spelled[name] in changed
        else _copied(file, as_stored, spelled[name], name, kind)
        for name, kind in types.items()
    ]


def _merged(bundle: Bundle, tensors: GgufTensors, name: str, gguf_name: str, stored_type: str) -> TensorJob:
    """Made from the weights that an adapter changed, in the file's order."""
    shape = tensors.gguf_infos[gguf_name].shape
    job = TensorJob(gguf_name, name, name, TensorRows(bundle, name), stored_type, shape)
    return in_gguf_order(job, tensors.architecture, tensors.heads)


def _copied(bundle: Bundle, as_stored: Bundle, name: str, gguf_name: str, stored_type: str) -> TensorJob:
    """Taken row by row as the file has them, compared as Hugging Face has them."""
    rows, taken = TensorRows(bundle, name), TensorRows(as_stored, gguf_name)
    shape = taken.info.shape
    exact = is_exact(rows.info.type, stored_type)
    return TensorJob(gguf_name, name, name, rows, stored_type, shape, taken=taken, is_exact=exact)


def _metadata(tensors: GgufTensors, mix: str, jobs: list[TensorJob]) -> Mapping[str, Any]:
    """Every key as it was stored; what describes the types is written anew where they change."""
    first = tensors.files[0]
    kept = {
        key: RawValue(first.raw_value(key))
        for key in first.metadata
        if key not in NOT_KEPT and not key.startswith("split.")
    }
    if mix == STORED:
        return kept | {key: RawValue(first.raw_value(key)) for key in NOT_KEPT[:2] if key in first.metadata}
    return kept | {"general.file_type": file_type(mix, jobs), "general.quantization_version": 2}
