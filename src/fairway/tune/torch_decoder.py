"""A recorded decoder run by PyTorch, so that gradients flow: from token ids to the loss on the labels.

Knows no family. Matrices multiply in `compute` (bfloat16 or float32); the residual stream, norms and the
loss are float32, as under autocast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from fairway.errors import InternalError
from fairway.kernels import program as p
from fairway.models.config import DecoderConfig
from fairway.tune import torch_ops as ops
from fairway.tune.chunked_loss import Look, chunked_loss
from fairway.tune.columns import Columns
from fairway.tune.forward_names import NamedFloats, NamedMatrix, recorded
from fairway.tune.forward_parts import split, tensor_names
from fairway.tune.frozen_matrix import HalfMatrix
from fairway.tune.lora_layers import LoraLayers
from fairway.tune.packing import Packed
from fairway.tune.prefix_tokens import PrefixTokens
from fairway.tune.products import linear
from fairway.tune.torch_weights import Held


@dataclass
class Tokens:
    """One batch on its device: tokens of all examples end to end."""

    ids: Tensor
    positions: Tensor
    lengths: Sequence[int]
    rows: Tensor
    """Tokens after which a label stands, [labels]."""
    labels: Tensor
    """[labels]"""
    turns: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def turn(self, operation: p.Rope) -> tuple[Tensor, Tensor]:
        """cos and sin, made once for all layers that share their frequencies."""
        key = id(operation.inv_freq)
        if key not in self.turns:
            self.turns[key] = ops.angles(self.positions, operation.inv_freq, operation.factor)
        return self.turns[key]


def tokens_of(packed: Packed, device: torch.device) -> Tokens:
    labels = torch.from_numpy(packed.labels).long()
    learned = torch.nonzero(labels >= 0)[:, 0]
    return Tokens(
        ids=torch.from_numpy(packed.ids).long().to(device),
        positions=torch.from_numpy(packed.positions).to(device),
        lengths=packed.lengths,
        rows=(learned - 1).to(device),
        labels=labels[learned].to(device),
    )


class TorchDecoder:
    """One model with its weights, and perhaps LoRA layers beside them, or a prefix before every example."""

    def __init__(
        self,
        config: DecoderConfig,
        weights: Mapping[str, Held],
        lora: LoraLayers | None = None,
        prefix: PrefixTokens | None = None,
        *,
        compute: torch.dtype = torch.float32,
        recompute_layers: bool = False,
    ) -> None:
        """`weights` by the families' names. `recompute_layers` is gradient checkpointing."""
        self._weights, self._lora, self._prefix, self._compute = weights, lora, prefix, compute
        self._parts = split(recorded(config))
        self._recompute = recompute_layers

    def loss(self, tokens: Tokens, look: Look | None = None) -> Tensor:
        """The sum of the labels' cross entropies, float32."""
        hidden = self.hidden(tokens)[tokens.rows]
        head = [self._weights[name] for each in self._parts.last for name in tensor_names(each)]
        trained = [each for each in head if isinstance(each, Tensor) and each.requires_grad]
        return chunked_loss(self.logits, hidden, tokens.labels, trained, look)

    def hidden(self, tokens: Tokens) -> Tensor:
        """The residual stream after the last layer, [tokens, hidden_size]."""
        if self._prefix is not None:
            tokens = replace(tokens, positions=tokens.positions + len(self._prefix), turns={})
        columns = Columns()
        self._run(self._parts.first, columns, tokens)
        hidden = columns.read(self._parts.hidden)
        for layer in self._parts.layers:
            if self._recompute and torch.is_grad_enabled():
                hidden = checkpoint(self._layer, layer, hidden, tokens, use_reentrant=False)
            else:
                hidden = self._layer(layer, hidden, tokens)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """float32 [rows, vocab_size] of rows of the residual stream."""
        columns = Columns()
        columns.write(self._parts.selected, hidden)
        self._run(self._parts.last, columns, None)
        return columns.read(self._parts.logits).float()

    def _layer(self, layer: Sequence[p.Operation], hidden: Tensor, tokens: Tokens) -> Tensor:
        columns = Columns()
        columns.write(self._parts.hidden, hidden)
        self._run(layer, columns, tokens)
        return columns.read(self._parts.hidden)

    def _run(self, operations: Sequence[p.Operation], columns: Columns, tokens: Tokens | None) -> None:
        cached: tuple[Tensor, Tensor] | None = None
        for operation in operations:
            match operation:
                case p.Linear():
                    self._linear(operation, columns)
                case p.WriteCache():
                    cached = columns.read(operation.k), columns.read(operation.v)
                case p.Embed() | p.AddPosition() | p.Rope() | p.Attention():
                    assert tokens is not None
                    self._placed(operation, columns, tokens, cached)
                case _:
                    columns.write(_out(operation), self._alone(operation, columns))

    def _placed(
        self,
        operation: p.Embed | p.AddPosition | p.Rope | p.Attention,
        columns: Columns,
        tokens: Tokens,
        cached: tuple[Tensor, Tensor] | None,
    ) -> None:
        """Operations that ask which token it is, or where it stands."""
        match operation:
            case p.Embed(table, out, scale):
                assert isinstance(table, NamedMatrix)
                rows = self._rows(table.names[0], tokens.ids)
                columns.write(out, rows if scale == 1 else rows * scale)
            case p.AddPosition(table, x):
                columns.write(x, columns.read(x) + self._floats(table)[tokens.positions.long()])
            case p.Rope(x, head_size):
                for part, values in columns.parts(x):
                    heads = values.unflatten(-1, (-1, head_size))
                    columns.write(part, ops.rope(heads, tokens.turn(operation)).flatten(1))
            case p.Attention(q, out):
                assert cached is not None
                before = None if self._prefix is None else self._prefix.at(operation.layer)
                columns.write(out, ops.attend(columns.read(q), *cached, operation, tokens.lengths, before))

    def _alone(self, operation: p.Operation, columns: Columns) -> Tensor:
        """Operations that need nothing but a token's own values."""
        match operation:
            case p.RMSNorm(x, weight, _, eps, head_size):
                values = columns.read(x).float()
                heads = values if head_size is None else values.unflatten(-1, (-1, head_size))
                normed = ops.rms_norm(heads, self._floats(weight), eps).reshape(values.shape)
                return normed.to(columns.read(x).dtype)
            case p.LayerNorm(x, weight, bias, _, eps):
                values = columns.read(x)
                return functional.layer_norm(
                    values, (x.width,), self._floats(weight), self._floats(bias), eps
                )
            case p.Gate(x, out, activation):
                gate, up = (columns.read(x.columns(at * out.width, out.width)) for at in (0, 1))
                return ops.activate(gate, activation) * up
            case p.Activate(x, _, activation):
                return ops.activate(columns.read(x), activation)
            case p.Add(x, y, _, scale):
                return columns.read(x) + (columns.read(y) if scale == 1 else scale * columns.read(y))
            case p.SoftCap(x, cap):
                return ops.soft_cap(columns.read(x).float(), cap)
        raise InternalError(f"{type(operation).__name__} is not known to the trainer")

    def _linear(self, operation: p.Linear, columns: Columns) -> None:
        """Each tensor of the matrix on its own: LoRA layers belong to one."""
        matrix = operation.matrix
        assert isinstance(matrix, NamedMatrix)
        x = columns.read(operation.x).to(self._compute)
        bias = None if operation.bias is None else self._floats(operation.bias).to(self._compute)
        start = 0
        for name, size in zip(matrix.names, matrix.sizes, strict=True):
            multiply = self._product if self._lora is None else self._adapted
            values = multiply(name, matrix.input_first, x)
            values = values if bias is None else values + bias[start : start + size]
            values = values if operation.scale == 1 else values * operation.scale
            if operation.residual is not None:
                values = columns.read(operation.residual.columns(start, size)) + values
            columns.write(operation.out.columns(start, size), values)
            start += size

    def _product(self, name: str, input_first: bool, x: Tensor) -> Tensor:
        """x @ W.T in the type of x."""
        weight = self._weight(name, input_first, x.dtype)
        return linear(x, weight) if isinstance(weight, Tensor) else weight.product(x)

    def _adapted(self, name: str, input_first: bool, x: Tensor) -> Tensor:
        assert self._lora is not None
        weight = self._weight(name, input_first, x.dtype)
        multiply = partial(self._product, name, input_first)
        return self._lora.product(name, x, weight if isinstance(weight, Tensor) else None, multiply)

    def _weight(self, name: str, input_first: bool, kind: torch.dtype) -> Held:
        """[out, in]; a tensor is of the given type."""
        weight = self._weights[name]
        if not isinstance(weight, Tensor):
            return weight
        return weight.to(kind).T if input_first else weight.to(kind)

    def _vector(self, name: str) -> Tensor:
        vector = self._weights[name]
        assert isinstance(vector, Tensor)
        return vector.float()

    def _rows(self, name: str, ids: Tensor) -> Tensor:
        """Those of an embedding, float32."""
        table = self._weights[name]
        if isinstance(table, HalfMatrix):
            return table.rows(ids)
        assert isinstance(table, Tensor)
        return functional.embedding(ids, table).float()

    def _floats(self, array: object) -> Tensor:
        """A vector or table in float32."""
        assert isinstance(array, NamedFloats)
        values = [self._vector(name) for name in array.names]
        joined = values[0] if len(values) == 1 else torch.cat(values)
        return joined + array.offset if array.offset else joined


def _out(operation: p.Operation) -> p.Buffer:
    return operation.x if isinstance(operation, p.SoftCap) else operation.out  # type: ignore[union-attr]
