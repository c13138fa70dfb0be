"""The recorded tiny decoders as ONNX: in NumPy, and as files."""

import numpy as np
import onnx_numpy
from model_cases import CONTEXTS
from tiny_models import golden

from fairway.convert.onnx_decoder import decoder_graph, weight_shapes
from fairway.convert.onnx_graph import weights_layout
from fairway.convert.to_onnx import DATA_NAME
from fairway.formats.bundle import TensorInfo
from fairway.formats.open import ONNX_NAME
from fairway.models.families import read_config
from fairway.models.names import family_name


class InNumPy:
    def __init__(self, name):
        answer = golden(name)
        self.config = read_config(answer.config)
        self.weights = {family_name(key): values for key, values in answer.weights.items()}
        self.graph = decoder_graph(self.config, dict.fromkeys(self.weights, "F32"), CONTEXTS.get(name))
        sizes = self.config.num_kv_heads, self.config.head_size
        self.caches = {each["name"]: sizes for each in self.graph.inputs if "past" in each["name"]}

    def __call__(self, feeds):
        return onnx_numpy.run(self.graph, self.weights, feeds)


def write_onnx(folder, name):
    """A golden's model as two files."""
    model = InNumPy(name)
    shapes = weight_shapes(model.config)
    infos = {key: TensorInfo(key, "F32", shape, 4 * int(np.prod(shape))) for key, shape in shapes.items()}
    layout = weights_layout(infos)
    with (folder / DATA_NAME).open("wb") as file:
        file.truncate(layout.size)
        for key, offset in layout.offsets.items():
            file.seek(offset)
            file.write(model.weights[key].tobytes())
    (folder / ONNX_NAME).write_bytes(model.graph.to_bytes("tiny", infos, layout, DATA_NAME))
    return folder / ONNX_NAME
