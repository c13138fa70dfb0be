"""A folder with an encoder as ONNX: the graph, its weights beside it under their stored names, the sidecars.

The rule: what the folder says is done with the hidden states is in the graph, or the folder is refused.
"""

from __future__ import annotations

from pathlib import Path

from fairway.convert.job import TensorJob, job_of
from fairway.convert.onnx_encoder import encoder_graph
from fairway.convert.onnx_graph import GraphBuilder
from fairway.convert.settings import STORED
from fairway.errors import UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.formats.floats import FLOATS
from fairway.formats.pooling import other_modules
from fairway.models.encoders import EncoderConfig, check_encoder, left_over, read_encoder


def encoder_jobs(bundle: Bundle, wanted: str) -> tuple[GraphBuilder, list[TensorJob], tuple[str, ...]]:
    """The graph, its tensors as `wanted`, and what a user should know."""
    config = read_encoder(bundle.config, bundle.config_name)
    _refuse_modules(bundle)
    weights = check_encoder(bundle, config)
    unread = left_over(bundle, config, weights)
    jobs = []
    for info in weights.values():
        if info.type not in FLOATS:
            raise UnsupportedError(
                f"{bundle.path} stores {info.name} as {info.type}, which ONNX does not hold.",
                hint="Start from the original checkpoint, in F32, F16 or BF16.",
            )
        jobs.append(job_of(bundle, info.name, info.type if wanted == STORED else wanted))
    types = {job.name: job.type for job in jobs}
    return encoder_graph(config, weights, types, bundle.pooling), jobs, _notes(config, bundle, unread)


def _refuse_modules(bundle: Bundle) -> None:
    folder = bundle.path if bundle.path.is_dir() else Path(bundle.path).parent
    if names := other_modules(folder):
        raise UnsupportedError(
            f"{bundle.path} ends in {', '.join(names)}, which is not written: its vectors would be others.",
            hint="Transformer, Pooling and Normalize are written.",
        )


def _notes(config: EncoderConfig, bundle: Bundle, unread: tuple[str, ...]) -> tuple[str, ...]:
    notes = []
    if unread:
        parts = ", ".join(dict.fromkeys(name.partition(".")[0] for name in unread))
        notes.append(f"{parts} is left out: no output here reads it.")
    if config.head == "states" and bundle.pooling is None:
        notes.append("It says nothing of pooling, so the graph gives hidden states only.")
    return tuple(notes)
