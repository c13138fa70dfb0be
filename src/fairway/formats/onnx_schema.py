"""The messages of ONNX that are read and written, as tables. What is not here is stepped over.

https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

from collections.abc import Mapping

from fairway.formats.protobuf import Field, Schema

SCHEMA: Schema = {
    "Model": {
        1: Field("ir_version", "int"),
        2: Field("producer_name", "text"),
        3: Field("producer_version", "text"),
        4: Field("domain", "text"),
        5: Field("model_version", "int"),
        7: Field("graph", "Graph"),
        8: Field("opsets", "OperatorSet", many=True),
        14: Field("metadata", "Entry", many=True),
        25: Field("functions", "Function", many=True),
    },
    "OperatorSet": {1: Field("domain", "text"), 2: Field("version", "int")},
    "Entry": {1: Field("key", "text"), 2: Field("value", "text")},
    "Function": {
        1: Field("name", "text"),
        7: Field("nodes", "Node", many=True),
        10: Field("domain", "text"),
    },
    "Graph": {
        1: Field("nodes", "Node", many=True),
        2: Field("name", "text"),
        5: Field("initializers", "Tensor", many=True),
        11: Field("inputs", "Value", many=True),
        12: Field("outputs", "Value", many=True),
        15: Field("sparse", "span", many=True),
    },
    "Node": {
        1: Field("inputs", "text", many=True),
        2: Field("outputs", "text", many=True),
        3: Field("name", "text"),
        4: Field("op", "text"),
        7: Field("domain", "text"),
        5: Field("attributes", "Attribute", many=True),
    },
    "Attribute": {
        1: Field("name", "text"),
        2: Field("f", "float"),
        3: Field("i", "int"),
        4: Field("s", "span"),
        5: Field("t", "Tensor"),
        6: Field("g", "Graph"),
        7: Field("floats", "float", many=True),
        8: Field("ints", "int", many=True),
        9: Field("strings", "span", many=True),
        10: Field("tensors", "Tensor", many=True),
        11: Field("graphs", "Graph", many=True),
        20: Field("type", "int"),
    },
    "Tensor": {
        1: Field("dims", "int", many=True),
        2: Field("data_type", "int"),
        3: Field("segment", "span"),
        4: Field("float_data", "span", many=True),
        5: Field("int32_data", "span", many=True),
        6: Field("string_data", "span", many=True),
        7: Field("int64_data", "span", many=True),
        8: Field("name", "text"),
        9: Field("raw_data", "span"),
        10: Field("double_data", "span", many=True),
        11: Field("uint64_data", "span", many=True),
        13: Field("external_data", "Entry", many=True),
        14: Field("data_location", "int"),
    },
    "Value": {1: Field("name", "text"), 2: Field("type", "Type")},
    "Type": {
        1: Field("tensor", "TensorType"),
        4: Field("sequence", "span"),
        5: Field("map", "span"),
        8: Field("sparse", "span"),
        9: Field("optional", "span"),
    },
    "TensorType": {1: Field("element", "int"), 2: Field("shape", "Shape")},
    "Shape": {1: Field("dims", "Dimension", many=True)},
    "Dimension": {1: Field("size", "int"), 2: Field("symbol", "text")},
}

TYPES: Mapping[int, tuple[str, int]] = {
    1: ("F32", 32), 2: ("U8", 8), 3: ("I8", 8), 4: ("U16", 16), 5: ("I16", 16), 6: ("I32", 32),
    7: ("I64", 64), 9: ("BOOL", 8), 10: ("F16", 16), 11: ("F64", 64), 12: ("U32", 32), 13: ("U64", 64),
    14: ("C64", 64), 15: ("C128", 128), 16: ("BF16", 16), 17: ("F8_E4M3", 8), 18: ("F8_E4M3FNUZ", 8),
    19: ("F8_E5M2", 8), 20: ("F8_E5M2FNUZ", 8), 21: ("U4", 4), 22: ("I4", 4), 23: ("F4", 4),
    24: ("F8_E8M0", 8), 25: ("U2", 2), 26: ("I2", 2),
}  # fmt: skip
"""Number of an element type -> its name, as safetensors spells it, and its bits."""
STRING = 8
NUMBERS = {name: number for number, (name, _) in TYPES.items()}

PLACES = {
    "F32": "float_data", "C64": "float_data", "F64": "double_data", "C128": "double_data",
    "I64": "int64_data", "U32": "uint64_data", "U64": "uint64_data",
}  # fmt: skip
"""Where a type's numbers lie if they are not in raw_data; all others are in int32_data."""
