"""A small ONNX file with its weight beside it."""

from fairway.convert.onnx_graph import GraphBuilder, weights_layout
from fairway.formats.bundle import TensorInfo


def write_graph(folder, weight):
    """y = x @ weight."""
    graph = GraphBuilder()
    rows, columns = weight.shape
    graph.input("x", "F32", ("batch", rows))
    graph.add("MatMul", "x", "w", out="y")
    graph.output("y", "F32", ("batch", columns))
    infos = {"w": TensorInfo("w", "F32", weight.shape, weight.nbytes)}
    path = folder / "small.onnx"
    path.write_bytes(graph.to_bytes("small", infos, weights_layout(infos), "small.data"))
    (folder / "small.data").write_bytes(weight.tobytes())
    return path
