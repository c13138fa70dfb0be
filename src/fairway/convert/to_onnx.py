"""A Hugging Face folder as ONNX: the graph, its weights beside it, and everything that makes it speak.

Weights keep their names, shapes and types, so each is compared with the source's to the bit; the graph
computes in float32 whatever they are stored as. The rule: the output is a model of its own; the tensors
of a decoder are run by this engine too.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fairway.convert.encoder_to_onnx import encoder_jobs
from fairway.convert.from_gguf import written_sidecars
from fairway.convert.job import Conversion, OutputFile, TensorJob, job_of
from fairway.convert.onnx_decoder import decoder_graph, weight_shapes
from fairway.convert.onnx_graph import GraphBuilder, weights_layout
from fairway.convert.settings import STORED, ConvertSettings
from fairway.convert.sidecars import copied_sidecars
from fairway.convert.to_safetensors import common_type
from fairway.errors import SettingsError, UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.formats.floats import FLOATS
from fairway.formats.open import ONNX_NAME
from fairway.models.encoders import is_encoder
from fairway.models.families import read_config
from fairway.models.names import check_tensors, stored_names
from fairway.proof.thresholds import BITS

DATA_NAME = f"{ONNX_NAME}.data"


def check_type(name: str) -> None:
    """Raises `SettingsError` for a type that is no float."""
    if name != STORED and name not in FLOATS:
        raise SettingsError(
            f"An ONNX model's weights are floats here, not {name}.",
            hint=f"Choose --type {', '.join(FLOATS).lower()}.",
            param="type",
        )


def huggingface_to_onnx(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:
    """A decoder or an encoder. Raises `UnsupportedError` for a family that is not known."""
    check_type(settings.type)
    make = encoder_jobs if is_encoder(bundle.config) else _decoder_jobs
    graph, jobs, notes = make(bundle, settings.type)
    weights = {job.name: job for job in jobs}
    layout = weights_layout(weights)
    model = graph.to_bytes(bundle.name, weights, layout, DATA_NAME)
    return Conversion(
        source=bundle,
        target=target,
        is_folder=True,
        files=(OutputFile(DATA_NAME, layout, tuple(jobs)),),
        sidecars=_beside(bundle, jobs, settings) | {ONNX_NAME: model},
        notes=notes,
    )


def _beside(bundle: Bundle, jobs: list[TensorJob], settings: ConvertSettings) -> dict[str, bytes]:
    """Config, tokenizer, template and defaults as files."""
    common = common_type(jobs) or "F32"
    if bundle.container == "gguf":
        return written_sidecars(bundle, common)
    return copied_sidecars(bundle, None if settings.type == STORED else common)


def _decoder_jobs(bundle: Bundle, wanted: str) -> tuple[GraphBuilder, list[TensorJob], tuple[str, ...]]:
    config = read_config(bundle.config, bundle.config_name)
    shapes = weight_shapes(config)
    check_tensors(bundle, shapes, tied=config.tied_embeddings)
    jobs = _jobs(bundle, list(shapes), wanted)
    graph = decoder_graph(config, {job.name: job.type for job in jobs})
    return graph, jobs, _notes(config.max_context, config.rope.type if config.rope else "default")


def _jobs(bundle: Bundle, names: list[str], wanted: str) -> list[TensorJob]:
    """Under the family's names."""
    stored, jobs = stored_names(bundle.tensors.infos), []
    for name in names:
        kind = bundle.tensors.infos[stored[name]].type
        if kind not in FLOATS and (wanted == STORED or kind not in BITS):
            raise UnsupportedError(
                f"{bundle.path} stores {stored[name]} as {kind}, which ONNX does not hold here.",
                hint="Make floats of it with --type f16, or start from the original checkpoint.",
            )
        job = job_of(bundle, stored[name], kind if wanted == STORED else wanted)
        jobs.append(replace(job, name=name, target=name))
    return jobs


def _notes(context: int, rope: str) -> tuple[str, ...]:
    """A rope that depends on the length is fixed in the graph."""
    if rope not in ("dynamic", "longrope"):
        return ()
    return (f"Its {rope} rope is that of a context of {context:,} tokens, whatever the text's length.",)
