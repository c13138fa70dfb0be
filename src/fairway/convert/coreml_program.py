"""A decoder as a Core ML program: the recorded forward pass drawn with coremltools' MIL builder.

Keys and values live in two states of float16 [layers, 1, key-value heads, context, head size], which Core ML
keeps between calls. Inputs are `inputIds` [1, new] and `causalMask` [1, 1, new, past + new], 0 where a token
is seen and far below where not; its width says how long the text is. The rule: what float16 would ruin
(squares of norms, angles of positions) is marked exact and stays float32.
"""

from __future__ import annotations

import importlib
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any

import numpy as np

from fairway.convert.onnx_decoder import Decoder, draw, record
from fairway.convert.onnx_names import NamedMatrix, WeightNames
from fairway.kernels import program as p
from fairway.models.config import DecoderConfig
from fairway.tensors import F32, Array

EXACT = "exact_"
"""How the names of operations begin that are computed in float32."""
LOWEST = -65504.0
"""float16's own: the score of a token that is not seen."""
SEEN = -1.0
"""The mask is above it where a token is seen."""
STATES = {"key": "keyCache", "value": "valueCache"}
UNARY = {
    "Sqrt": "sqrt", "Sigmoid": "sigmoid", "Erf": "erf", "Tanh": "tanh", "Cos": "cos", "Sin": "sin",
    "Relu": "relu",
}  # fmt: skip
BINARY = {
    "Mul": "mul",
    "Add": "add",
    "Sub": "sub",
    "Div": "real_div",
    "MatMul": "matmul",
    "And": "logical_and",
}
Var = Any
"""coremltools' own value, or a NumPy array that is constant."""


class MilGraph:
    """A `Drawing` whose operators are MIL's."""

    def __init__(self, mb: Any, weight: Callable[[str], F32]) -> None:  # noqa: ANN401 (coremltools' builder)
        self.mb = mb
        self._weight = weight
        self._values: dict[str, Var] = {}
        self._prefix = ""

    @contextmanager
    def exact(self) -> Iterator[None]:
        """What is added inside is computed in float32."""
        before, self._prefix = self._prefix, EXACT
        yield
        self._prefix = before

    def constant(self, value: Array | float | Sequence[int]) -> str:
        array = np.asarray(value)
        is_float = array.dtype.kind == "f"
        array = np.maximum(array.astype(np.float32), LOWEST) if is_float else array.astype(np.int32)
        return self.put(f"constant_{len(self._values)}", array)

    def put(self, name: str, value: Var) -> str:
        self._values[name] = value
        return name

    def get(self, name: str) -> Var:
        """A value, or a weight, which is read when it is first asked for."""
        if name not in self._values:
            self._values[name] = self.mb.const(val=self._weight(name), name=spelled(name))
        return self._values[name]

    def add(self, op: str, *inputs: str, out: str | None = None, **attributes: float | list[int]) -> str:
        name = out or f"{op}_{len(self._values)}"
        made = self._made(op, [self.get(each) for each in inputs], attributes, self._prefix + spelled(name))
        return self.put(name, made)

    def _made(self, op: str, x: list[Var], options: dict[str, Any], name: str) -> Var:
        mb = self.mb
        if op in UNARY:
            return getattr(mb, UNARY[op])(x=x[0], name=name)
        if op in BINARY:
            return getattr(mb, BINARY[op])(x=x[0], y=x[1], name=name)
        match op:
            case "Linear":
                return mb.linear(x=x[0], weight=x[1], name=name)
            case "Gather":
                return mb.gather(x=x[0], indices=x[1], axis=options["axis"], name=name)
            case "ReduceMean":
                return mb.reduce_mean(x=x[0], axes=options["axes"], keep_dims=True, name=name)
            case "LayerNormalization":
                eps = np.float32(options["epsilon"])
                return mb.layer_norm(x=x[0], axes=[-1], gamma=x[1], beta=x[2], epsilon=eps, name=name)
            case "Reshape":
                return mb.reshape(x=x[0], shape=_shape(x[1]), name=name)
            case "Transpose":
                return mb.transpose(x=x[0], perm=options["perm"], name=name)
            case "Unsqueeze":
                return mb.expand_dims(x=x[0], axes=x[1], name=name)
            case "Concat":
                return mb.concat(values=x, axis=options["axis"], name=name)
            case "Slice":
                return self._last(x[0], int(x[1][0]), int(x[2][0]), name)
            case "Softmax":
                return mb.softmax(x=x[0], axis=options["axis"], name=name)
            case "Where":
                return mb.select(cond=x[0], a=x[1], b=x[2], name=name)
            case "Cast":
                return mb.cast(x=x[0], dtype="fp32", name=name)
        raise AssertionError(op)

    def _last(self, x: Var, begin: int, end: int, name: str) -> Var:
        """Columns of the last axis, all of the others."""
        others = [0] * (x.rank - 1)
        masks = {key: [True] * (x.rank - 1) + [False] for key in ("begin_mask", "end_mask")}
        return self.mb.slice_by_index(x=x, begin=[*others, begin], end=[*others, end], name=name, **masks)


def spelled(name: str) -> str:
    """Names in a Core ML program are identifiers."""
    return name.replace(".", "_")


def _shape(sizes: Array) -> list[int]:
    """ONNX's "as it was" for batch and sequence: one, and whatever is left."""
    return [1, -1, *(int(size) for size in sizes[2:])]


def _whole(*numbers: int) -> Array:
    return np.array(numbers, np.int32)


class CoreMlDecoder(Decoder):
    """With keys and values in states."""

    graph: MilGraph

    def __init__(
        self, graph: MilGraph, config: DecoderConfig, names: WeightNames, inputs: dict[str, Var]
    ) -> None:
        super().__init__(graph, config, names, dict.fromkeys(names.shapes, "F32"))
        self.graph, self._states = graph, inputs
        self._latest: dict[str, Var] = {}
        mb = graph.mb
        sizes = mb.shape(x=inputs["causalMask"])
        self._num_new = mb.slice_by_size(x=sizes, begin=[2], size=[1], name="num_new")
        self._end = mb.slice_by_size(x=sizes, begin=[3], size=[1], name="num_tokens")
        self._past = mb.sub(x=self._end, y=self._num_new, name="num_past")
        total = mb.squeeze(x=self._end, axes=[0])
        places = mb.range_1d(start=mb.squeeze(x=self._past, axes=[0]), end=total, step=1, name="places")
        self._keys = mb.range_1d(start=0, end=total, step=1, name="key_places")
        graph.put("input_ids", inputs["inputIds"])
        graph.put("position_ids", mb.expand_dims(x=places, axes=[0], name="position_ids"))

    def _rms_norm(self, operation: p.RMSNorm) -> None:
        with self.graph.exact():
            super()._rms_norm(operation)

    def _cos_and_sin(self, operation: p.Rope) -> tuple[str, str]:
        with self.graph.exact():
            return super()._cos_and_sin(operation)

    def _product(self, x: str, matrix: NamedMatrix) -> str:
        """MIL's own linear layer takes a weight as it is stored."""
        if matrix.input_first:
            return super()._product(x, matrix)
        return self.graph.add("Linear", x, self._weight(matrix.name))

    def _write_cache(self, operation: p.WriteCache) -> None:
        made = [
            self._updated(STATES[part], operation.layer, self._heads(buffer))
            for buffer, part in ((operation.k, "key"), (operation.v, "value"))
        ]
        self._caches[operation.layer] = made[0], made[1]

    def _heads(self, buffer: p.Buffer) -> Var:
        """[1, 1, key-value heads, new, head size] in float16."""
        config, mb = self._config, self.graph.mb
        heads = self._reshaped(self._read(buffer), 0, 0, config.num_kv_heads, config.head_size)
        turned = self.graph.get(self.graph.add("Transpose", heads, perm=[0, 2, 1, 3]))
        return mb.cast(x=mb.expand_dims(x=turned, axes=[0]), dtype="fp16")

    def _updated(self, state: str, layer: int, new: Var) -> str:
        """Writes a layer's part of a state; all of it so far, [1, heads, past + new, size].

        From what the layer before has left: coremltools takes two reads of a state for one.
        """
        mb, config = self.graph.mb, self._config
        heads, size = config.num_kv_heads, config.head_size
        begin = mb.concat(values=[_whole(layer, 0, 0), self._past, _whole(0)], axis=0)
        end = mb.concat(values=[_whole(layer + 1, 1, heads), self._end, _whole(size)], axis=0)
        old = self._latest.get(state) or mb.read_state(input=self._states[state])
        whole = mb.slice_update(x=old, update=new, begin=begin, end=end, name=f"{state}_{layer}_new")
        whole = self._latest[state] = mb.coreml_update_state(state=self._states[state], value=whole)
        start = _whole(layer, 0, 0, 0, 0)
        part = mb.slice_by_index(x=whole, begin=start, end=end, name=f"{state}_{layer}_part")
        floats = mb.cast(x=mb.reshape(x=part, shape=[1, heads, -1, size]), dtype="fp32")
        return self.graph.put(f"{state}.{layer}", floats)

    def _mask(self, window: int | None) -> str:
        if window not in self._masks:
            mb, places = self.graph.mb, self.graph.get("position_ids")
            floats = mb.cast(x=self._states["causalMask"], dtype="fp32")
            seen = mb.expand_dims(x=mb.greater(x=floats, y=np.float32(SEEN)), axes=[2])
            if window is not None:
                queries = mb.expand_dims(x=mb.squeeze(x=places, axes=[0]), axes=[1])
                near = mb.less(x=mb.sub(x=queries, y=self._keys), y=np.int32(window))
                seen = mb.logical_and(x=seen, y=mb.expand_dims(x=near, axes=[0, 1, 2]))
            self._masks[window] = self.graph.put(f"seen_{window}", seen)
        return self._masks[window]


def coreml_model(config: DecoderConfig, weight: Callable[[str], F32], context: int, *, half: bool) -> Any:  # noqa: ANN401
    """A coremltools model that was not loaded, so that it can be made on any machine.

    `weight` gives a family's tensor in float32; `context` tokens fit the states; `half` computes in float16.
    """
    with quiet():
        return _converted(config, weight, context, half=half)


@contextmanager
def quiet() -> Iterator[None]:
    """coremltools reports each of its passes, and what it misses where there is no Core ML."""
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    with redirect_stderr(io.StringIO()):
        yield


def _converted(config: DecoderConfig, weight: Callable[[str], F32], context: int, *, half: bool) -> Any:  # noqa: ANN401
    ct = importlib.import_module("coremltools")
    mil = importlib.import_module("coremltools.converters.mil")
    types, new_symbol = mil.mil.types, mil.mil.get_new_symbol
    names = WeightNames()
    recording = record(config, names, context)
    new, total = new_symbol(), new_symbol()
    state = (config.num_layers, 1, config.num_kv_heads, context, config.head_size)
    specs = [
        mil.Builder.TensorSpec((1, new), types.int32),
        mil.Builder.TensorSpec((1, 1, new, total), types.fp16),
        *(mil.Builder.StateTensorSpec(state, types.fp16) for _ in STATES),
    ]

    @mil.Builder.program(input_specs=specs, opset_version=ct.target.iOS18)  # type: ignore[untyped-decorator]
    def program(inputIds: Var, causalMask: Var, keyCache: Var, valueCache: Var) -> Var:  # noqa: N803
        inputs = {
            "inputIds": inputIds,
            "causalMask": causalMask,
            "keyCache": keyCache,
            "valueCache": valueCache,
        }
        graph = MilGraph(mil.Builder, weight)
        logits = draw(CoreMlDecoder(graph, config, names, inputs), recording)
        return mil.Builder.identity(x=graph.get(logits), name="logits")

    new_range, total_range = (ct.RangeDim(1, context, default=1) for _ in range(2))
    return ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=_precision(ct, half=half),
        inputs=[
            ct.TensorType("inputIds", shape=(1, new_range), dtype=np.int32),
            ct.TensorType("causalMask", shape=(1, 1, new_range, total_range), dtype=np.float16),
        ],
        outputs=[ct.TensorType("logits", dtype=np.float16 if half else np.float32)],
        skip_model_load=True,
    )


def _precision(ct: Any, *, half: bool) -> Any:  # noqa: ANN401
    if not half:
        return ct.precision.FLOAT32
    return ct.transform.FP16ComputePrecision(op_selector=lambda op: not op.name.startswith(EXACT))
