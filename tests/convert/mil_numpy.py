"""A saved Core ML package evaluated in NumPy, from its files: what MIL's operators mean, written down anew.

Each result is rounded to the type that the program states; states are arrays that `write_state` replaces.
Source of the meanings: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

import math

import numpy as np

from fairway.convert.coreml_package import WEIGHTS, numbers, operations

DTYPES = {
    10: np.float16,
    11: np.float32,
    22: np.int16,
    32: np.uint8,
    33: np.uint16,
    23: np.int32,
    1: np.bool_,
    31: np.int8,
    2: str,
}
NAMED = {
    "fp16": np.float16,
    "fp32": np.float32,
    "int32": np.int32,
    "bool": np.bool_,
    "int16": np.int16,
    "uint16": np.uint16,
}


class Package:
    """`step` runs tokens after those that came before."""

    def __init__(self, path, state_shape):
        self.operations = operations(path)
        self.data = np.memmap(path / WEIGHTS, np.uint8, "r")
        self.states = {name: np.zeros(state_shape, np.float16) for name in ("keyCache", "valueCache")}
        self.length = 0

    def step(self, ids):
        start, self.length = self.length, self.length + len(ids)
        seen = np.arange(self.length) <= np.arange(start, self.length)[:, None]
        mask = np.where(seen, 0, -np.inf).astype(np.float16)[None, None]
        values = {"inputIds": np.array([ids], np.int32), "causalMask": mask}
        for operation in self.operations:
            self._run(operation, values)
        return values["logits"][0].astype(np.float32)

    def _run(self, op, values):
        if op.type == "const":
            values[op.outputs[0].name] = self._constant(op.attributes["val"])
            return
        x = {name: self._argument(argument, values) for name, argument in op.inputs.items()}
        if op.type == "write_state":
            state = op.inputs["input"].arguments[0].name
            self.states[state] = x["data"].astype(np.float16)
            return
        if op.type == "read_state":
            found = self.states[op.inputs["input"].arguments[0].name].copy()
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                found = MEANINGS[op.type](x)
        output = op.outputs[0]
        stated = output.type.tensorType.dataType
        values[output.name] = np.asarray(found).astype(DTYPES[stated])

    def _argument(self, argument, values):
        found = [
            values.get(each.name, self.states.get(each.name)) if each.name else self._constant(each.value)
            for each in argument.arguments
        ]
        return found if len(found) > 1 else found[0]

    def _constant(self, value):
        kind = DTYPES[value.type.tensorType.dataType]
        shape = [each.constant.size for each in value.type.tensorType.dimensions]
        if value.HasField("blobFileValue"):
            return numbers(self.data, value.blobFileValue.offset, shape)
        tensor = value.immediateValue.tensor
        field = tensor.WhichOneof("value")
        raw = getattr(tensor, field).values
        if kind is str:
            return raw[0]
        array = np.frombuffer(raw, kind) if field == "bytes" else np.array(list(raw), kind)
        return array.reshape(shape)


def wide(array):
    """Sums are made in float64, so that only the stated type rounds."""
    return np.asarray(array).astype(np.float64)


def slice_by_index(x):
    return x["x"][slices(x, x["x"].shape)]


def slices(x, shape):
    rank = len(shape)
    begin_mask, end_mask = (x.get(key, np.zeros(rank, bool)) for key in ("begin_mask", "end_mask"))
    return tuple(
        slice(None if b_all else int(b), None if e_all else int(e))
        for b, e, b_all, e_all in zip(x["begin"], x["end"], begin_mask, end_mask, strict=True)
    )


def slice_update(x):
    out = x["x"].copy()
    assert out[slices(x, out.shape)].shape == x["update"].shape
    out[slices(x, out.shape)] = x["update"]
    return out


def slice_by_size(x):
    return x["x"][tuple(slice(int(b), int(b) + int(s)) for b, s in zip(x["begin"], x["size"], strict=True))]


def reshape(x):
    return x["x"].reshape([int(size) for size in x["shape"]])


def softmax(x):
    shifted = wide(x["x"]) - wide(x["x"]).max(axis=int(x["axis"]), keepdims=True)
    powers = np.exp(shifted)
    return powers / powers.sum(axis=int(x["axis"]), keepdims=True)


def layer_norm(x):
    values, axes = wide(x["x"]), tuple(int(a) for a in x["axes"])
    centred = values - values.mean(axis=axes, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(axis=axes, keepdims=True) + float(x["epsilon"]))
    return normed * wide(x["gamma"]) + wide(x["beta"])


def gelu(x):
    values, mode = wide(x["x"]), x.get("mode", "EXACT")
    if mode == "TANH_APPROXIMATION":
        return values / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)))
    assert mode == "EXACT"
    return values / 2 * (1 + np.vectorize(math.erf)(values / math.sqrt(2)))


def gather(x):
    return np.take(x["x"], x["indices"], axis=int(x["axis"]))


def matmul(x):
    a, b = wide(x["x"]), wide(x["y"])
    a = np.swapaxes(a, -1, -2) if x.get("transpose_x", False) else a
    return a @ (np.swapaxes(b, -1, -2) if x.get("transpose_y", False) else b)


def concat(x):
    values = x["values"] if isinstance(x["values"], list) else [x["values"]]
    return np.concatenate([np.atleast_1d(each) for each in values], axis=int(x["axis"]))


def expand_dims(x):
    return np.expand_dims(x["x"], tuple(int(a) for a in np.atleast_1d(x["axes"])))


def squeeze(x):
    return np.squeeze(x["x"], tuple(int(a) for a in np.atleast_1d(x["axes"])))


MEANINGS = {
    "add": lambda x: x["x"] + x["y"],
    "sub": lambda x: x["x"] - x["y"],
    "mul": lambda x: x["x"] * x["y"],
    "real_div": lambda x: x["x"] / x["y"],
    "sqrt": lambda x: np.sqrt(wide(x["x"])),
    "sigmoid": lambda x: 1 / (1 + np.exp(-wide(x["x"]))),
    "silu": lambda x: wide(x["x"]) / (1 + np.exp(-wide(x["x"]))),
    "tanh": lambda x: np.tanh(wide(x["x"])),
    "erf": lambda x: np.vectorize(math.erf)(wide(x["x"])),
    "cos": lambda x: np.cos(wide(x["x"])),
    "sin": lambda x: np.sin(wide(x["x"])),
    "relu": lambda x: np.maximum(x["x"], 0),
    "rsqrt": lambda x: 1 / np.sqrt(wide(x["x"]) + float(x.get("epsilon", 1e-12))),
    "greater": lambda x: x["x"] > x["y"],
    "greater_equal": lambda x: x["x"] >= x["y"],
    "less": lambda x: x["x"] < x["y"],
    "logical_and": lambda x: x["x"] & x["y"],
    "select": lambda x: np.where(x["cond"], x["a"], x["b"]),
    "linear": lambda x: wide(x["x"]) @ wide(x["weight"]).T + wide(x.get("bias", 0)),
    "reduce_mean": lambda x: wide(x["x"]).mean(
        tuple(int(a) for a in x["axes"]), keepdims=bool(x["keep_dims"])
    ),
    "shape": lambda x: np.array(x["x"].shape),
    "range_1d": lambda x: np.arange(int(x["start"]), int(x["end"]), int(x["step"])),
    "transpose": lambda x: np.transpose(x["x"], [int(a) for a in x["perm"]]),
    "cast": lambda x: x["x"].astype(NAMED[x["dtype"]]),
    "identity": lambda x: x["x"],
    "slice_by_index": slice_by_index,
    "slice_by_size": slice_by_size,
    "slice_update": slice_update,
    "reshape": reshape,
    "softmax": softmax,
    "layer_norm": layer_norm,
    "gelu": gelu,
    "gather": gather,
    "matmul": matmul,
    "concat": concat,
    "expand_dims": expand_dims,
    "squeeze": squeeze,
}
