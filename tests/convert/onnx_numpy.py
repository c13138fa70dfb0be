"""The operators of our ONNX graphs in NumPy, as the standard describes them: no runtime is needed."""

import math

import numpy as np

ERF = np.vectorize(math.erf, otypes=[np.float32])
TYPES = {1: np.float32, 7: np.int64, 9: np.bool_}


def reshaped(x, shape):
    sizes = [x.shape[i] if size == 0 else int(size) for i, size in enumerate(shape)]
    return x.reshape(sizes)


def sliced(x, begin, end, axis):
    where = [slice(None)] * x.ndim
    where[int(axis[0])] = slice(int(begin[0]), int(end[0]))
    return x[tuple(where)]


def softmax(x, axis):
    weights = np.exp(x - x.max(axis, keepdims=True))
    return weights / weights.sum(axis, keepdims=True)


def layer_norm(x, weight, bias, axis, epsilon):
    centred = x - x.mean(axis, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis, keepdims=True) + np.float32(epsilon)) * weight + bias


OPERATORS = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Sqrt": np.sqrt, "Tanh": np.tanh,
    "Cos": np.cos, "Sin": np.sin, "And": np.logical_and, "LessOrEqual": np.less_equal, "Less": np.less,
    "Where": np.where, "MatMul": np.matmul, "Erf": ERF,
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: (1 / (1 + np.exp(-x))).astype(np.float32),
    "Gather": lambda x, ids, axis=0: np.take(x, ids, axis),
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    "Transpose": lambda x, perm: np.transpose(x, perm),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(int(each) for each in axes)),
    "Reshape": reshaped,
    "Slice": sliced,
    "Shape": lambda x: np.array(x.shape, np.int64),
    "Range": lambda begin, end, step: np.arange(int(begin), int(end), int(step), dtype=np.int64),
    "Cast": lambda x, to: x.astype(TYPES[to]),
    "ReduceMean": lambda x, axes, keepdims: x.mean(tuple(axes), keepdims=bool(keepdims)),
    "Max": np.maximum,
    "Equal": np.equal,
    "Not": np.logical_not,
    "CumSum": lambda x, axis: np.cumsum(x, int(axis)),
    "ReduceSum": lambda x, axes, keepdims: x.sum(tuple(axes), keepdims=bool(keepdims)),
    "ReduceMax": lambda x, axes, keepdims: x.max(tuple(axes), keepdims=bool(keepdims)),
    "ReduceMin": lambda x, axes, keepdims: x.min(tuple(axes), keepdims=bool(keepdims)),
    "Softmax": softmax,
    "LayerNormalization": layer_norm,
}  # fmt: skip


def run(graph, weights, feeds):
    """Every value of a `GraphBuilder`'s graph by name."""
    values = dict(weights) | feeds
    for (kind, shape, raw), name in graph.constants.items():
        values[name] = np.frombuffer(raw, np.float32 if kind == "F32" else np.int64).reshape(shape)
    for node in graph.nodes:
        attributes = {
            each["name"]: next(each[key] for key in ("i", "f", "ints") if key in each)
            for each in node["attributes"]
        }
        inputs = [values[name] for name in node["inputs"]]
        [out] = node["outputs"]
        assert out not in values, out
        values[out] = OPERATORS[node["op"]](*inputs, **attributes)
    return values
