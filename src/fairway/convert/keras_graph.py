"""A Keras model's config as an ONNX graph: which layer reads what, and where each one's numbers lie.

Sequential and Functional models, one inside another too. A layer is found by its class in a table
(`keras_layers`); what is not there, and whatever carries code, is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fairway.convert.keras_layers import LAYERS
from fairway.convert.keras_values import MOST, Layer, Net, Value
from fairway.convert.onnx_graph import GraphBuilder
from fairway.errors import FormatError, UnsupportedError
from fairway.formats.bundle import TensorInfo

MODELS = ("Sequential", "Functional")
MAX_DEPTH = 20
INPUT_TYPES = {
    "float32": "F32",
    "float16": "F32",
    "bfloat16": "F32",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
}
"""What an input is declared as -> what the graph takes."""
Reference = tuple[str, int, int]
"""A layer, which of its uses, and which of that use's outputs."""


def keras_graph(
    config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]
) -> tuple[GraphBuilder, list[str]]:
    """The graph and the tensors it reads. Raises `UnsupportedError` for a layer that is not known."""
    net = Net(GraphBuilder(), tensors)
    outputs = _model(net, config, "", None, 0)
    for number, value in enumerate(outputs):
        name = "output" if len(outputs) == 1 else f"output_{number}"
        net.graph.add("Identity", value.name, out=name)
        net.graph.output(name, "F32", _named(value.shape, name))
    return net.graph, list(net.read)


def _model(
    net: Net, config: Mapping[str, Any], path: str, given: Sequence[Value] | None, depth: int
) -> list[Value]:
    """`path` is the model's place in the weights; `given` what an outer model feeds it."""
    name, inner = str(config.get("class_name")), config.get("config")
    if name not in MODELS or not isinstance(inner, dict) or not isinstance(inner.get("layers"), list):
        raise UnsupportedError(
            f"A Keras model of the class {name[:60]!r} is not converted: its layers are in its own code.",
            hint="Sequential and Functional models are; Keras itself writes others: model.export.",
        )
    if depth > MAX_DEPTH:
        raise FormatError(f"The Keras model nests models more than {MAX_DEPTH} deep.")
    layers = _layers(inner["layers"], f"{path}layers/")
    if name == "Sequential":
        return _sequential(net, inner, layers, given, depth)
    return _functional(net, inner, layers, given, depth)


def _layers(rows: Sequence[Any], path: str) -> list[Layer]:
    """With the place of each one's numbers, which Keras names after its class and counts."""
    counts: dict[str, int] = {}
    found = []
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("config"), dict):
            raise FormatError("The Keras config has a layer without settings.")
        kind = str(row.get("class_name"))
        word = _snake(kind)
        number = counts[word] = counts.get(word, -1) + 1
        place = f"{path}{word}_{number}" if number else f"{path}{word}"
        name = str(row.get("name") or row["config"].get("name"))
        found.append(Layer(kind, name, row["config"], place, row))
    return found


def _snake(name: str) -> str:
    """BatchNormalization -> batch_normalization, as Keras spells the folders of its weights."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _applied(net: Net, layer: Layer, inputs: list[Value], depth: int) -> list[Value]:
    if layer.kind in MODELS:
        return _model(net, layer.row, f"{layer.place}/", inputs, depth + 1)
    registered = layer.row.get("registered_name")
    make = LAYERS.get(layer.kind)
    if make is None or registered not in (None, layer.kind):
        raise UnsupportedError(
            f"Layer {layer.name[:60]!r} is a {str(registered or layer.kind)[:60]}, which is not converted.",
            hint="Code of a file is never run. Replace the layer, or let Keras write ONNX: model.export.",
        )
    try:
        return [make(net, layer, inputs)]
    except (IndexError, ValueError):  # more or fewer sizes, axes or inputs than such a layer has
        shapes = ", ".join(str(each.shape) for each in inputs)
        raise FormatError(
            f"Layer {layer.name[:60]!r} ({layer.kind[:40]}) does not fit what it reads: {shapes[:120]}."
        ) from None


def _input(net: Net, layer: Layer) -> Value:
    shape, kind = layer.config.get("batch_shape"), str(layer.config.get("dtype", "float32"))
    if not isinstance(shape, list) or kind not in INPUT_TYPES:
        raise UnsupportedError(f"Input {layer.name[:60]!r} of type {kind[:20]} is not converted.")
    return _port(net, layer.name, kind, shape)


def _port(net: Net, name: str, kind: str, shape: Sequence[Any]) -> Value:
    sizes = tuple(each if type(each) is int and 0 < each < MOST else None for each in shape)
    if not sizes or any(each is not None and size is None for each, size in zip(shape, sizes, strict=True)):
        raise FormatError(f"Input {name[:60]!r} of the Keras config has the shape {repr(shape)[:60]}.")
    stored = INPUT_TYPES[kind]
    net.graph.input(name, stored, _named(sizes, name))
    if stored == "U8":
        return Value(net.cast(name, "F32"), sizes)
    return Value(name, sizes, is_whole=stored != "F32")


def _named(shape: Sequence[int | None], name: str) -> list[int | str]:
    """Sizes that are open get a name each; the first is the batch."""
    symbols = ["batch_size", *(f"{name}_size_{axis}" for axis in range(1, len(shape)))]
    return [symbol if size is None else size for size, symbol in zip(shape, symbols, strict=True)]


def _sequential(
    net: Net, config: Mapping[str, Any], layers: list[Layer], given: Sequence[Value] | None, depth: int
) -> list[Value]:
    values = list(given) if given is not None else []
    for layer in layers:
        if layer.kind == "InputLayer":
            values = values or [_input(net, layer)]
            continue
        if not values:
            shape = config.get("build_input_shape")
            if not isinstance(shape, list):
                raise FormatError(
                    "The Keras model was saved before it knew its input: build it and save it again."
                )
            values = [_port(net, "input", "float32", shape)]
        values = _applied(net, layer, values, depth)
    return values


def _functional(
    net: Net, config: Mapping[str, Any], layers: list[Layer], given: Sequence[Value] | None, depth: int
) -> list[Value]:
    """Uses of layers are made as soon as what they read is there."""
    made: dict[Reference, Value] = {}
    starts = _references(config.get("input_layers"))
    for number, reference in enumerate(starts):
        layer = next((each for each in layers if each.name == reference[0]), None)
        if layer is None or (given is not None and number >= len(given)):
            raise FormatError(f"The Keras config has no input {reference[0][:60]!r}.")
        made[reference] = _input(net, layer) if given is None else given[number]
    waiting = [
        (layer, number, _tensors(use))
        for layer in layers
        for number, use in enumerate(_list(layer.row.get("inbound_nodes")))
        if layer.kind != "InputLayer"
    ]
    while waiting:
        later = []
        for layer, number, references in waiting:
            if not all(reference in made for reference in references):
                later.append((layer, number, references))
                continue
            outputs = _applied(net, layer, [made[reference] for reference in references], depth)
            made |= {(layer.name, number, place): value for place, value in enumerate(outputs)}
        if len(later) == len(waiting):
            raise FormatError(f"Layer {later[0][0].name[:60]!r} of the Keras config reads what nobody makes.")
        waiting = later
    ends = _references(config.get("output_layers"))
    if not ends or any(reference not in made for reference in ends):
        raise FormatError("The Keras config names an output that nobody makes.")
    return [made[reference] for reference in ends]


def _list(value: Any) -> list[Any]:  # noqa: ANN401 (JSON)
    if value is None:
        return []
    if not isinstance(value, list):
        raise FormatError(f"The Keras config has {repr(value)[:40]} where a list belongs.")
    return value


def _object(value: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FormatError(f"The Keras config has {repr(value)[:40]} where an object belongs.")
    return value


def _references(value: Any) -> list[Reference]:  # noqa: ANN401 (JSON)
    """One, a list or a table of them: ["name", 0, 0]."""
    if isinstance(value, dict):
        return [each for inner in value.values() for each in _references(inner)]
    if isinstance(value, list) and [type(each) for each in value] == [str, int, int]:
        return [(value[0], value[1], value[2])]
    if isinstance(value, list):
        return [each for inner in value for each in _references(inner)]
    raise FormatError("The Keras config names no inputs or outputs.")


def _tensors(use: Any) -> list[Reference]:  # noqa: ANN401 (JSON)
    """What one use of a layer reads, in order."""
    found: list[Reference] = []
    use = _object(use)
    for key, value in _object(use.get("kwargs")).items():
        if _references_in(value):
            raise UnsupportedError(
                f"A Keras layer is given a tensor as {key[:40]!r}, which is not converted."
            )
    for argument in _list(use.get("args")):
        found += _references_in(argument)
    return found


def _references_in(value: Any) -> list[Reference]:  # noqa: ANN401 (JSON)
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return _references(_object(value.get("config")).get("keras_history"))
    if isinstance(value, list):
        return [each for inner in value for each in _references_in(inner)]
    return []
