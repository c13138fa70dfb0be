"""The parts decoders are recorded from: small functions that families put in their own order.

Each takes the `Recording`, reads tensors by their Hugging Face name and appends operations. Knows
no family. The rule: a part is done with a named buffer before the next part that names it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from fairway.kernels.program import (
    Activate,
    Add,
    Attention,
    Buffer,
    Embed,
    Gate,
    Linear,
    LoraPart,
    RMSNorm,
    Rope,
    SelectOutputs,
    SoftCap,
    WriteCache,
)
from fairway.models.recording import Recording


class Heads(NamedTuple):
    """Views into one fused projection. `qk` spans q and k, which rotate alike."""

    q: Buffer
    k: Buffer
    v: Buffer
    qk: Buffer


def embed(model: Recording, name: str = "model.embed_tokens.weight") -> Buffer:
    """The residual stream, starting as the scaled rows of the embedding table."""
    config = model.config
    table = model.weights.embedding(name, config.vocab_size, config.hidden_size)
    model.embedding = table
    hidden = model.buffer("hidden", config.hidden_size)
    model.program.record(Embed(table, hidden, config.embedding_scale))
    return hidden


def rms_norm(model: Recording, x: Buffer, name: str, *, offset: float = 0.0) -> Buffer:
    """x normalised over its width, in the buffer "normed"; `offset` 1 is Gemma's 1 + weight."""
    weight = model.weights.floats(f"{name}.weight", (x.width,), offset=offset)
    out = model.buffer(f"normed {x.rows}", x.width, x.rows)
    model.program.record(RMSNorm(x, weight, out, model.config.norm_eps))
    return out


def rms_norm_in_place(model: Recording, x: Buffer, name: str, *, offset: float = 0.0) -> None:
    weight = model.weights.floats(f"{name}.weight", (x.width,), offset=offset)
    model.program.record(RMSNorm(x, weight, x, model.config.norm_eps))


def norm_heads(model: Recording, x: Buffer, name: str, *, offset: float = 0.0) -> None:
    """Normalises each head of x on its own, in place (Qwen 3, Gemma 3)."""
    config = model.config
    weight = model.weights.floats(f"{name}.weight", (config.head_size,), offset=offset)
    model.program.record(RMSNorm(x, weight, x, config.norm_eps, config.head_size))


@dataclass(frozen=True)
class Projection:
    """Linear layers that read the same input, stacked in this order, each `sizes` rows high."""

    names: Sequence[str]
    sizes: Sequence[int]
    bias: bool = False
    input_first: bool = False
    """Stored [columns, rows], as GPT-2's Conv1D does."""

    def parts(self, start: int, end: int) -> tuple[LoraPart, ...]:
        """Its layers among these rows, counted from the first of them. A layer is never cut."""
        starts = accumulate(self.sizes, initial=-start)
        parts = map(LoraPart, self.names, starts, self.sizes)
        return tuple(part for part in parts if 0 <= part.start < end - start)


def project(
    model: Recording,
    x: Buffer,
    projection: Projection,
    out: Buffer,
    *,
    residual: Buffer | None = None,
    scale: float = 1.0,
) -> None:
    """out = residual + scale * projection(x); one operation where all parts are stored alike."""
    stack = model.weights.linear(
        projection.names, projection.sizes, x.width, input_first=projection.input_first
    )
    bias = model.weights.biases(projection.names, projection.sizes) if projection.bias else None
    start = 0
    for matrix in stack:
        end = start + matrix.rows
        model.program.record(
            Linear(
                x,
                matrix,
                out.columns(start, matrix.rows),
                bias=None if bias is None else bias[start:end],
                residual=None if residual is None else residual.columns(start, matrix.rows),
                scale=scale,
                lora=projection.parts(start, end) if model.takes_adapters else (),
            )
        )
        start = end


def project_back(
    model: Recording, x: Buffer, name: str, hidden: Buffer, *, bias: bool = False, input_first: bool = False
) -> None:
    """hidden += residual_scale * linear(x): the end of an attention or MLP block."""
    projection = Projection((name,), (hidden.width,), bias, input_first)
    project(model, x, projection, hidden, residual=hidden, scale=model.config.residual_scale)


def project_branch(model: Recording, x: Buffer, name: str, *, bias: bool = False) -> Buffer:
    """linear(x) beside the residual stream, for families that normalise before they add."""
    out = model.buffer("branch", model.config.hidden_size)
    project(model, x, Projection((name,), (out.width,), bias), out)
    return out


def add_branch(model: Recording, hidden: Buffer, branch: Buffer) -> None:
    model.program.record(Add(hidden, branch, hidden))


def query_key_value(
    model: Recording,
    x: Buffer,
    prefix: str,
    *,
    fused: str | None = None,
    input_first: bool = False,
) -> Heads:
    """The three projections of attention; `fused` names the one tensor that already holds them."""
    config = model.config
    sizes = (config.query_size, config.kv_size, config.kv_size)
    out = model.buffer("qkv", sum(sizes))
    if fused is not None:
        projection = Projection((f"{prefix}.{fused}",), (out.width,), config.attention_bias, input_first)
    else:
        names = tuple(f"{prefix}.{part}_proj" for part in "qkv")
        projection = Projection(names, sizes, config.attention_bias)
    project(model, x, projection, out)
    q_size, kv_size = config.query_size, config.kv_size
    return Heads(
        q=out.columns(0, q_size),
        k=out.columns(q_size, kv_size),
        v=out.columns(q_size + kv_size, kv_size),
        qk=out.columns(0, q_size + kv_size),
    )


def rotate(model: Recording, heads: Heads, layer: int) -> None:
    """Rotates q and k by their positions, with the rope of this layer."""
    inv_freq, factor = model.frequencies(layer)
    model.program.record(Rope(heads.qk, model.config.head_size, inv_freq, factor))


def attend(model: Recording, heads: Heads, layer: int) -> Buffer:
    """Stores k and v, then attends over everything cached for the sequence."""
    config = model.config
    out = model.buffer("attended", config.query_size)
    model.program.record(WriteCache(heads.k, heads.v, layer))
    model.program.record(
        Attention(
            heads.q,
            out,
            layer,
            config.num_heads,
            config.num_kv_heads,
            config.head_size,
            config.attention_scale,
            config.windows[layer],
            config.attention_softcap,
        )
    )
    return out


def gated(model: Recording, x: Buffer, prefix: str, *, fused: str | None = None) -> Buffer:
    """activation(gate(x)) * up(x), the input of the down projection."""
    config = model.config
    size = config.intermediate_size
    both = model.buffer("gate_up", 2 * size)
    if fused is not None:
        projection = Projection((f"{prefix}.{fused}",), (2 * size,), config.mlp_bias)
    else:
        projection = Projection((f"{prefix}.gate_proj", f"{prefix}.up_proj"), (size, size), config.mlp_bias)
    project(model, x, projection, both)
    out = model.buffer("gated", size)
    model.program.record(Gate(both, out, config.activation))
    return out


def activated(model: Recording, x: Buffer, projection: Projection) -> Buffer:
    """activation(linear(x)) for an MLP without a gate."""
    out = model.buffer("activated", model.config.intermediate_size)
    project(model, x, projection, out)
    model.program.record(Activate(out, out, model.config.activation))
    return out


def select(model: Recording, hidden: Buffer) -> Buffer:
    """Only the tokens whose logits are wanted; the final norm and the head run on these."""
    out = model.buffer("selected", hidden.width, "outputs")
    model.program.record(SelectOutputs(hidden, out))
    return out


def logits(model: Recording, x: Buffer) -> None:
    """The head: the embedding table again where the weights are tied, else `lm_head`."""
    config = model.config
    matrix = model.embedding if config.tied_embeddings else None
    if matrix is None:
        matrix = model.weights.head("lm_head.weight", config.vocab_size, config.hidden_size)
    out = model.buffer("logits", config.vocab_size, "outputs")
    model.program.record(Linear(x, matrix, out, scale=config.logits_scale))
    if config.logits_softcap is not None:
        model.program.record(SoftCap(out, config.logits_softcap))
    model.program.logits = out
