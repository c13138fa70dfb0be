"""What the tests of the formats share: the real models, where they are, and small made-up ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from format_models import CONFIG, GGUF_METADATA, TOKENIZER

from fairway.formats.gguf_writer import GgufData, gguf_data, write_gguf
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.tensors import DenseTensor

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the real models lie beside the project, not in it")
    return SHARED


@pytest.fixture
def folder(tmp_path):
    """A Hugging Face folder with two tensors and the sidecars that a model needs."""
    write_safetensors(
        tmp_path / "model.safetensors",
        {
            "model.embed_tokens.weight": tensor_data(np.arange(192, dtype=np.float32).reshape(6, 32)),
            "model.norm.weight": tensor_data(DenseTensor("bf16", np.full(32, 0x3F80, np.uint16))),
        },
    )
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    return tmp_path


@pytest.fixture
def make_gguf(tmp_path):
    """make_gguf(tensors, **metadata): a GGUF file of the llama architecture unless told otherwise."""

    def make(tensors: dict, architecture: str = "llama", name: str = "model.gguf", **more) -> Path:
        metadata = {
            key.replace("llama.", f"{architecture}.", 1) if key.startswith("llama.") else key: value
            for key, value in GGUF_METADATA.items()
        }
        metadata["general.architecture"] = architecture
        data = {
            key: value if isinstance(value, GgufData) else gguf_data("F32", value.shape, value)
            for key, value in tensors.items()
        }
        write_gguf(tmp_path / name, metadata | more, data)
        return tmp_path / name

    return make
