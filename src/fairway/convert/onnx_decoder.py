"""A decoder's recorded forward pass as an ONNX graph with a cache: one method per operation.

The graph is made from the same recording that serves, so every family comes out; `kernels.reference` says
what each operation means. Activations are float32 [batch, sequence, width]; keys and values of a layer are
[batch, key-value heads, past + sequence, head size]. Heads that share keys meet them by broadcasting.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from fairway.convert.onnx_graph import Drawing, GraphBuilder
from fairway.convert.onnx_names import NamedMatrix, Values, WeightNames, slice_last
from fairway.convert.onnx_parts import HIDDEN, activated
from fairway.errors import InternalError
from fairway.formats.onnx_schema import NUMBERS
from fairway.kernels import program as p
from fairway.models.config import DecoderConfig
from fairway.models.families import family
from fairway.models.recording import Recording
from fairway.tensors import F32

BATCH, SEQUENCE, PAST, TOTAL = (
    "batch_size",
    "sequence_length",
    "past_sequence_length",
    "total_sequence_length",
)


def decoder_graph(
    config: DecoderConfig, types: Mapping[str, str], context: int | None = None
) -> GraphBuilder:
    """`types` are the stored types of the weights by the family's names: F32, F16 or BF16.

    `context` in tokens is what some ropes depend on: by default all that the model has.
    """
    names = WeightNames()
    recording = record(config, names, context)
    graph = GraphBuilder()
    decoder = _OnnxDecoder(graph, config, names, types)
    graph.rename(draw(decoder, recording), "logits")
    _declare(graph, config)
    return graph


def weight_shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of the graph, in the order in which it is read."""
    names = WeightNames()
    family(config.model_type).record(Recording(config, names, config.max_context))
    return names.shapes


def record(config: DecoderConfig, names: WeightNames, context: int | None = None) -> Recording:
    """The forward pass with names in place of weights."""
    recording = Recording(config, names, context or config.max_context)
    family(config.model_type).record(recording)
    return recording


def draw(decoder: Decoder, recording: Recording) -> str:
    """All operations, one after the other; the name of the logits."""
    for operation in recording.program.operations:
        decoder.take(operation)
    assert recording.program.logits is not None
    return decoder.logits(recording.program.logits)


def _declare(graph: GraphBuilder, config: DecoderConfig) -> None:
    """Inputs and outputs."""
    graph.input("input_ids", "I64", (BATCH, SEQUENCE))
    graph.input("attention_mask", "I64", (BATCH, TOTAL))
    graph.input("position_ids", "I64", (BATCH, SEQUENCE))
    graph.output("logits", "F32", (BATCH, SEQUENCE, config.vocab_size))
    parts = [f"{layer}.{part}" for layer in range(config.num_layers) for part in ("key", "value")]
    for part in parts:
        graph.input(f"past_key_values.{part}", "F32", (BATCH, config.num_kv_heads, PAST, config.head_size))
        graph.output(f"present.{part}", "F32", (BATCH, config.num_kv_heads, TOTAL, config.head_size))


class Decoder(ABC):
    """One graph. What layers share is made once; how keys and values are kept is left open."""

    def __init__(
        self, graph: Drawing, config: DecoderConfig, names: WeightNames, types: Mapping[str, str]
    ) -> None:
        self.graph = graph
        self._config, self._names, self._types = config, names, types
        self._values = Values(graph)
        self._floats: dict[str, str] = {}
        self._angles: dict[tuple[bytes, float], tuple[str, str]] = {}
        self._masks: dict[int | None, str] = {}
        self._caches: dict[int, tuple[str, str]] = {}

    def logits(self, buffer: p.Buffer) -> str:
        """The name of what stands in a buffer at the end."""
        return self._values.read(buffer)

    @abstractmethod
    def _write_cache(self, operation: p.WriteCache) -> None:
        """Puts a layer's keys and values, [batch, key-value heads, past + sequence, size], into `_caches`."""

    @abstractmethod
    def _mask(self, window: int | None) -> str:
        """Which tokens each one sees, [batch, 1, 1, sequence, past + sequence], once for each window."""

    def take(self, operation: p.Operation) -> None:
        """Appends the nodes of one operation."""
        match operation:
            case p.Embed():
                self._embed(operation)
            case p.AddPosition():
                rows = self.graph.add("Gather", self._array(operation.table), "position_ids", axis=0)
                self._write(operation.x, self.graph.add("Add", self._read(operation.x), rows))
            case p.RMSNorm():
                self._rms_norm(operation)
            case p.LayerNorm():
                weights = self._array(operation.weight), self._array(operation.bias)
                x, eps = self._read(operation.x), float(operation.eps)
                normed = self.graph.add("LayerNormalization", x, *weights, axis=-1, epsilon=eps)
                self._write(operation.out, normed)
            case p.Linear():
                self._linear(operation)
            case p.Gate():
                width = operation.out.width
                gate = activated(self.graph, self._read(operation.x.columns(0, width)), operation.activation)
                up = self._read(operation.x.columns(width, width))
                self._write(operation.out, self.graph.add("Mul", gate, up))
            case p.Activate():
                out = activated(self.graph, self._read(operation.x), operation.activation)
                self._write(operation.out, out)
            case p.Add():
                y = self._scaled(self._read(operation.y), operation.scale)
                self._write(operation.out, self.graph.add("Add", self._read(operation.x), y))
            case p.Rope():
                self._rope(operation)
            case p.WriteCache():
                self._write_cache(operation)
            case p.Attention():
                self._attention(operation)
            case p.SelectOutputs():
                self._write(operation.out, self._read(operation.x))
            case p.SoftCap():
                self._write(operation.x, self._capped(self._read(operation.x), operation.cap))

    def _read(self, buffer: p.Buffer) -> str:
        return self._values.read(buffer)

    def _write(self, buffer: p.Buffer, value: str) -> None:
        self._values.write(buffer, value)

    def _weight(self, name: str) -> str:
        """A weight in float32, whatever it is stored as."""
        if self._types[name] == "F32":
            return name
        if name not in self._floats:
            self._floats[name] = self.graph.add("Cast", name, out=f"{name}.f32", to=NUMBERS["F32"])
        return self._floats[name]

    def _array(self, values: F32) -> str:
        _, name, offset = self._names.arrays[id(values)]
        weight = self._weight(name)
        return weight if offset == 0 else self.graph.add("Add", weight, self.graph.constant(float(offset)))

    def _scaled(self, value: str, scale: float) -> str:
        return value if scale == 1 else self.graph.add("Mul", value, self.graph.constant(float(scale)))

    def _reshaped(self, value: str, *shape: int) -> str:
        """0 keeps a size of the value's own, -1 is what is left."""
        return self.graph.add("Reshape", value, self.graph.constant(list(shape)))

    def _embed(self, operation: p.Embed) -> None:
        assert isinstance(operation.table, NamedMatrix)
        rows = self.graph.add("Gather", self._weight(operation.table.name), "input_ids", axis=0)
        self._write(operation.out, self._scaled(rows, operation.scale))

    def _rms_norm(self, operation: p.RMSNorm) -> None:
        x, width = self._read(operation.x), operation.x.width
        if operation.head_size is not None:
            x = self._reshaped(x, 0, 0, width // operation.head_size, operation.head_size)
        square = self.graph.add("ReduceMean", self.graph.add("Mul", x, x), axes=[-1], keepdims=1)
        eps = self.graph.constant(float(operation.eps))
        root = self.graph.add("Sqrt", self.graph.add("Add", square, eps))
        out = self.graph.add("Mul", self.graph.add("Div", x, root), self._array(operation.weight))
        self._write(operation.out, out if operation.head_size is None else self._reshaped(out, 0, 0, width))

    def _linear(self, operation: p.Linear) -> None:
        matrix = operation.matrix
        assert isinstance(matrix, NamedMatrix)
        layer = matrix.name.removesuffix(".weight")
        out = self._product(self._read(operation.x), matrix)
        if operation.bias is not None:
            out = self.graph.add("Add", out, self._weight(f"{layer}.bias"))
        out = self._scaled(out, operation.scale)
        if operation.residual is not None:
            out = self.graph.add("Add", self._read(operation.residual), out)
        self._write(operation.out, out)

    def _product(self, x: str, matrix: NamedMatrix) -> str:
        weight = self._weight(matrix.name)
        if not matrix.input_first:
            weight = self.graph.add("Transpose", weight, perm=[1, 0])
        return self.graph.add("MatMul", x, weight)

    def _capped(self, x: str, cap: float) -> str:
        number = self.graph.constant(float(cap))
        return self.graph.add("Mul", self.graph.add("Tanh", self.graph.add("Div", x, number)), number)

    def _cos_and_sin(self, operation: p.Rope) -> tuple[str, str]:
        """[batch, sequence, 1, rotary / 2], once for all layers that share a rope."""
        key = operation.inv_freq.tobytes(), float(operation.factor)
        if key not in self._angles:
            places = self.graph.add("Cast", "position_ids", to=NUMBERS["F32"])
            column = self.graph.add("Unsqueeze", places, self.graph.constant([2, 3]))
            angles = self.graph.add("Mul", column, self.graph.constant(operation.inv_freq))
            cos, sin = (self._scaled(self.graph.add(op, angles), key[1]) for op in ("Cos", "Sin"))
            self._angles[key] = cos, sin
        return self._angles[key]

    def _rope(self, operation: p.Rope) -> None:
        """q and k apart where they are values of their own."""
        x, size = operation.x, operation.head_size
        for start, width, _ in self._values.within(x):
            first, last = max(start, x.start), min(start + width, x.start + x.width)
            if (last - first) % size:
                raise InternalError(f"{last - first} columns are no whole heads of {size}.")
            part = x.columns(first - x.start, last - first)
            self._write(part, self._rotated(self._read(part), part.width, operation))

    def _rotated(self, value: str, width: int, operation: p.Rope) -> str:
        add, half, size = self.graph.add, len(operation.inv_freq), operation.head_size
        cos, sin = self._cos_and_sin(operation)
        heads = self._reshaped(value, 0, 0, width // size, size)
        a, b = slice_last(self.graph, heads, 0, half), slice_last(self.graph, heads, half, 2 * half)
        turned = [
            add("Sub", add("Mul", a, cos), add("Mul", b, sin)),
            add("Add", add("Mul", b, cos), add("Mul", a, sin)),
        ]
        if 2 * half < size:
            turned.append(slice_last(self.graph, heads, 2 * half, size))
        return self._reshaped(add("Concat", *turned, axis=-1), 0, 0, width)

    def _attention(self, operation: p.Attention) -> None:
        """Scores are [batch, key-value heads, heads that share them, sequence, past + sequence]."""
        add, sharing = self.graph.add, operation.num_heads // operation.num_kv_heads
        keys, values = (
            add("Unsqueeze", each, self.graph.constant([2])) for each in self._caches[operation.layer]
        )
        q = self._scaled(self._read(operation.q), operation.scale)
        q = self._reshaped(q, 0, 0, operation.num_kv_heads, sharing, operation.head_size)
        q = add("Transpose", q, perm=[0, 2, 3, 1, 4])
        scores = add("MatMul", q, add("Transpose", keys, perm=[0, 1, 2, 4, 3]))
        if operation.softcap is not None:
            scores = self._capped(scores, operation.softcap)
        seen = add("Where", self._mask(operation.window), scores, self.graph.constant(HIDDEN))
        out = add("MatMul", add("Softmax", seen, axis=-1), values)
        out = add("Transpose", out, perm=[0, 3, 1, 2, 4])
        self._write(operation.out, self._reshaped(out, 0, 0, operation.num_heads * operation.head_size))


class _OnnxDecoder(Decoder):
    """With the past as inputs and the present as outputs."""

    def _write_cache(self, operation: p.WriteCache) -> None:
        made = []
        for buffer, part in ((operation.k, "key"), (operation.v, "value")):
            config, end = self._config, f"{operation.layer}.{part}"
            heads = self._reshaped(self._read(buffer), 0, 0, config.num_kv_heads, config.head_size)
            new = self.graph.add("Transpose", heads, perm=[0, 2, 1, 3])
            made.append(self.graph.add("Concat", f"past_key_values.{end}", new, out=f"present.{end}", axis=2))
        self._caches[operation.layer] = made[0], made[1]

    def _mask(self, window: int | None) -> str:
        """Which tokens each one sees, [batch, 1, 1, sequence, past + sequence], once for each window."""
        if window not in self._masks:
            add, number = self.graph.add, self.graph.constant
            total, new = (
                add("Gather", add("Shape", name), number(1)) for name in ("attention_mask", "input_ids")
            )
            keys = add("Range", number(0), total, number(1))
            queries = add("Unsqueeze", add("Range", add("Sub", total, new), total, number(1)), number([1]))
            seen = add("LessOrEqual", keys, queries)
            if window is not None:
                near = add("Less", add("Sub", queries, keys), number(window))
                seen = add("And", seen, near)
            real = add("Cast", "attention_mask", to=NUMBERS["BOOL"])
            self._masks[window] = add("And", seen, add("Unsqueeze", real, number([1, 2, 3])))
        return self._masks[window]
