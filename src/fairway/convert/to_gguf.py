"""A GGUF file from a decoder in Hugging Face's names: keys, vocabulary, and tensors as llama.cpp wants them.

One pass, whatever the type: rows are read, put in order, rounded and written, and no file of floats lies
between. Everything is checked against the source's own reader before a byte is written: the keys are read
back, the tokenizer's ids are compared.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairway.convert.encode import is_exact
from fairway.convert.gguf_keys import GgufKeys, check_same, gguf_keys
from fairway.convert.job import Conversion, OutputFile, TensorJob, with_types
from fairway.convert.rows import TensorRows
from fairway.convert.settings import STORED, ConvertSettings
from fairway.errors import FormatError, SettingsError, UnsupportedError
from fairway.formats.bundle import Bundle, TensorInfo, TokenizerSource
from fairway.formats.end_of_text import end_of_text_ids, gguf_special_tokens, gguf_stated
from fairway.formats.floats import FLOATS
from fairway.formats.gguf_config import config_from_gguf
from fairway.formats.gguf_keys import Keys
from fairway.formats.gguf_names import to_gguf
from fairway.formats.gguf_tensors import INTERLEAVED_ROPE, NORMS_PLUS_ONE, TURNED_MATRICES, pairs_from_halves
from fairway.formats.gguf_writer import Number, gguf_layout
from fairway.formats.lineage import GGUF_KEY, Lineage
from fairway.formats.open_gguf import SAMPLING_KEYS
from fairway.formats.pooling import GGUF_TYPES
from fairway.models.config import DecoderConfig
from fairway.models.families import read_config
from fairway.models.names import check_tensors, stored_names
from fairway.models.sizes import expected_tensors
from fairway.proof.strings import battery_strings
from fairway.proof.thresholds import BITS
from fairway.quantize.mixes import MIXES, Facts, is_quantized, type_of
from fairway.tensors import F32
from fairway.text.gguf_vocabulary import GgufVocabulary, gguf_vocabulary
from fairway.text.loader import load_tokenizer
from fairway.text.tokenizer import Tokenizer

LINEAGE_BYTES = 16 << 10
"""Kept in the header for one more step of lineage with its proof."""
QUANTIZATION_VERSION = 2


def huggingface_to_gguf(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:
    """Raises before anything is written: unknown architecture, tokenizer, tensor or type."""
    check_type(settings.type)
    config = read_config(bundle.config, bundle.config_name)
    expected = {name: tensor.shape for name, tensor in expected_tensors(config).items()}
    check_tensors(bundle, expected, tied=config.tied_embeddings)
    keys = gguf_keys(config)
    text = checked_vocabulary(bundle, config.vocab_size)
    vocabulary = text.vocabulary
    jobs = _jobs(bundle, config, keys, settings.type)
    if settings.chosen is not None:
        jobs = with_types(jobs, settings.chosen.types)
    check_same(config, _read_back(keys, jobs, target))
    metadata = _metadata(bundle, keys, vocabulary, file_type(settings.type, jobs))
    return Conversion(
        source=bundle,
        target=target,
        is_folder=False,
        files=(gguf_file(target.name, metadata, jobs, keys.rope_tensors, bundle.lineage),),
        notes=keys.notes + vocabulary.notes + _end_notes(bundle, vocabulary),
        tokenizers=text.tokenizers,
        vocabulary={key: value for key, value in metadata.items() if key.startswith("tokenizer.")},
    )


def check_type(name: str) -> None:
    if name != STORED and name not in MIXES:
        raise SettingsError(f"There is no type {name}.", hint=f"Known: {', '.join(MIXES)}.", param="type")


@dataclass(frozen=True)
class _Text:
    """The tokenizer as metadata, and both built."""

    vocabulary: GgufVocabulary
    tokenizers: tuple[Tokenizer, Tokenizer]


def checked_vocabulary(bundle: Bundle, num_rows: int) -> _Text:
    """The tokenizer's metadata, if it gives the very ids of the source for the battery's strings.

    A quick look at strings alone; `prove.py` asks for every piece once the file is there.
    """
    assert bundle.tokenizer is not None
    ours = load_tokenizer(bundle.tokenizer)
    vocabulary = gguf_vocabulary(bundle.tokenizer, num_rows, ours)
    theirs = load_tokenizer(TokenizerSource("gguf", metadata=vocabulary.metadata))
    special = [ours.token_text(each) for each in sorted(ours.special_ids)[:50]]
    for _, text in battery_strings(special, quick=True):
        wanted, found = ours.encode(text), theirs.encode(text)
        if found != wanted and theirs.encode(unicodedata.normalize("NFC", text)) != wanted:
            raise UnsupportedError(
                f"GGUF's tokenizer would read {text[:40]!r} as {str(found)[:60]}, not as {str(wanted)[:60]}.",
                hint="Keep the model in its Hugging Face folder.",
            )
    return _Text(vocabulary, (ours, theirs))


def _jobs(bundle: Bundle, config: DecoderConfig, keys: GgufKeys, mix: str) -> list[TensorJob]:
    """In the order in which the model reads them."""
    stored = stored_names(bundle.tensors.infos)
    facts = Facts(
        keys.architecture, config.num_layers, config.num_heads, config.num_kv_heads, config.tied_embeddings
    )
    names = [name for name in expected_tensors(config) if name in stored]
    return [_job(bundle, config, facts, (name, stored[name]), mix) for name in names]


def _job(bundle: Bundle, config: DecoderConfig, facts: Facts, names: tuple[str, str], mix: str) -> TensorJob:
    """`names`: the family's and the checkpoint's."""
    architecture, name = facts.architecture, to_gguf(facts.architecture, names[0])
    rows = TensorRows(bundle, names[1])
    is_weight = rows.info.type in FLOATS or (mix != STORED and rows.info.type in BITS)
    if name is None or not is_weight:
        raise UnsupportedError(
            f"Tensor {names[1]} is {rows.info.type}, or has no place in a GGUF file of {architecture}.",
            hint="Weights must be F32, F16 or BF16.",
        )
    shape = rows.info.shape[::-1] if is_turned(architecture, name) else rows.info.shape
    stored_type = stored_type_of(mix, name, shape, facts, rows.info)
    job = TensorJob(name, names[0], names[1], rows, stored_type, shape)
    return in_gguf_order(job, architecture, {"attn_q": config.num_heads, "attn_k": config.num_kv_heads})


def in_gguf_order(job: TensorJob, architecture: str, heads: Mapping[str, int]) -> TensorJob:
    """The job with rows and values as llama.cpp wants them; `heads` of `attn_q` and `attn_k`."""
    stem = job.name.split(".")[-2]
    is_shifted = architecture in NORMS_PLUS_ONE and job.name.endswith("norm.weight")
    exact = is_exact(job.rows.info.type, job.type) and not is_shifted
    if architecture in INTERLEAVED_ROPE and stem in heads:
        order = pairs_from_halves(job.shape[0], heads[stem])
        if len(job.shape) == 1:
            return dataclasses.replace(job, arrange=lambda values: values[:, order], is_exact=exact)
        return dataclasses.replace(job, order=order, is_exact=exact)
    arrange = _add_one if is_shifted else _turn if is_turned(architecture, job.name) else None
    return dataclasses.replace(job, arrange=arrange, is_exact=exact)


def is_turned(architecture: str, name: str) -> bool:
    """Whether GGUF holds the transpose of a matrix, by its GGUF name."""
    return name.split(".")[-2] in TURNED_MATRICES.get(architecture, ()) and name.endswith("weight")


def stored_type_of(mix: str, name: str, shape: tuple[int, ...], facts: Facts, info: TensorInfo) -> str:
    """A mix's rule for this tensor; as stored, matrices keep their type and vectors become F32."""
    if mix == STORED:
        return info.type if is_quantized(name, shape) else "F32"
    return type_of(mix, name, shape, facts)


def _add_one(values: F32) -> F32:
    return values + np.float32(1)


def _turn(values: F32) -> F32:
    return np.ascontiguousarray(values.T)


def file_type(mix: str, jobs: list[TensorJob]) -> int:
    """`general.file_type`; of what is stored as it was, the type with most bytes decides."""
    sizes: dict[str, int] = {}
    for job in jobs:
        sizes[job.type] = sizes.get(job.type, 0) + job.num_bytes
    largest = max(sizes, key=lambda name: sizes[name])
    return MIXES[mix if mix != STORED else largest].file_type


def _read_back(keys: GgufKeys, jobs: list[TensorJob], target: Path) -> DecoderConfig:
    """The decoder that a reader of these keys will see."""
    infos = {job.name: TensorInfo(job.name, job.type, job.shape, job.num_bytes) for job in jobs}
    reader = Keys(target, _plain(keys.metadata), keys.architecture)
    factors = {name: values.tolist() for name, values in keys.rope_tensors.items()}
    return read_config(config_from_gguf(reader, infos, factors), "GGUF metadata")


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as a file gives them back: floats have 32 bits."""
    return {key: float(np.float32(v)) if isinstance(v, float) else v for key, v in metadata.items()}


def _metadata(bundle: Bundle, keys: GgufKeys, vocabulary: GgufVocabulary, file_type: int) -> dict[str, Any]:
    general: dict[str, Any] = {
        "general.architecture": keys.architecture,
        "general.type": "model",
        "general.name": bundle.name,
        "general.file_type": file_type,
        "general.quantization_version": QUANTIZATION_VERSION,
    }
    if bundle.licence:
        general["general.license"] = bundle.licence
    general |= _sampling(bundle)
    if bundle.pooling and bundle.pooling.kind in GGUF_TYPES:
        general[f"{keys.architecture}.pooling_type"] = GGUF_TYPES.index(bundle.pooling.kind)
    template = {"tokenizer.chat_template": bundle.chat_template} if bundle.chat_template else {}
    return general | dict(keys.metadata) | dict(vocabulary.metadata) | _ends(bundle, vocabulary) | template


def modelfile_keys(bundle: Bundle) -> dict[str, Any]:
    """What a Modelfile says instead of the file that it names."""
    if bundle.preset is None:
        return {}
    template = {"tokenizer.chat_template": bundle.chat_template} if bundle.chat_template else {}
    licence = {"general.license": bundle.licence} if bundle.licence else {}
    return _sampling(bundle) | template | licence


def _sampling(bundle: Bundle) -> dict[str, Any]:
    """Generation defaults under the keys that llama.cpp reads."""
    found: dict[str, Any] = {}
    for name, key in SAMPLING_KEYS.items():
        value = getattr(bundle.generation, name)
        if value is not None:
            found[f"general.sampling.{key}"] = (
                Number("INT32", value) if isinstance(value, int) else float(value)
            )
    return found


def _ends(bundle: Bundle, vocabulary: GgufVocabulary) -> dict[str, int]:
    """Ends of text that the vocabulary does not tell by itself: EOT and EOM beside the tokenizer's EOS."""
    eos = vocabulary.metadata.get("tokenizer.ggml.eos_token_id")
    stated = [each for each in bundle.end_of_text_ids if each != eos]
    keys = (
        ["eot_token_id", "eom_token_id"]
        if eos is not None
        else ["eos_token_id", "eot_token_id", "eom_token_id"]
    )
    known = set(end_of_text_ids([], gguf_special_tokens(vocabulary.metadata)))
    wanted = [each for each in stated if each not in known] + [each for each in stated if each in known]
    return {f"tokenizer.ggml.{key}": token_id for key, token_id in zip(keys, wanted, strict=False)}


def _end_notes(bundle: Bundle, vocabulary: GgufVocabulary) -> tuple[str, ...]:
    metadata = dict(vocabulary.metadata) | _ends(bundle, vocabulary)
    found = end_of_text_ids(gguf_stated(metadata), gguf_special_tokens(metadata))
    lost = sorted(set(bundle.end_of_text_ids) - set(found))
    return (f"GGUF has no place for these ends of text: {lost}.",) if lost else ()


def gguf_file(
    name: str,
    metadata: Mapping[str, Any],
    jobs: list[TensorJob],
    constants: Mapping[str, F32],
    lineage: Lineage | None,
) -> OutputFile:
    """The layout, with room for the lineage as its last key."""
    size = LINEAGE_BYTES + len((lineage or Lineage()).to_json().encode())
    metadata = {**metadata, GGUF_KEY: " " * size}
    sizes: dict[str, Any] = {each: _Constant(values) for each, values in constants.items()}
    layout = gguf_layout(metadata, sizes | {job.name: job for job in jobs})
    begin = layout.header.rindex(GGUF_KEY.encode()) + len(GGUF_KEY) + 4 + 8
    if layout.header[begin : begin + size] != b" " * size:
        raise FormatError(f"A tensor is called {GGUF_KEY}, which is a key of the header.")
    raw = {each: np.ascontiguousarray(values).tobytes() for each, values in constants.items()}
    return OutputFile(name, layout, tuple(jobs), (begin, size), raw)


class _Constant:
    """A small tensor of the header's own, as layouts see it."""

    def __init__(self, values: F32) -> None:
        self.type, self.shape, self.num_bytes = "F32", values.shape, values.nbytes
