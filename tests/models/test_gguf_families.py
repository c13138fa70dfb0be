"""A model gives the same logits from a GGUF file as from a Hugging Face folder, in every family."""

from pathlib import Path

import numpy as np
import pytest
from gguf_files import gguf_model
from gguf_written import NAMES, as_f32, expressible, written
from model_cases import CASES
from tiny_models import Session, golden, memory_bundle, tiny_weights

from fairway.errors import FormatError
from fairway.formats.gguf_writer import GgufData, gguf_data, write_gguf
from fairway.formats.open import open_bundle
from fairway.kernels.program import Linear
from fairway.kernels.reference import ReferenceBackend
from fairway.kernels.reference_ops import dequantize
from fairway.models.families import read_config
from fairway.models.loader import load_model
from fairway.models.sizes import expected_tensors
from fairway.tensors import F32, GroupedTensor


@pytest.mark.parametrize("name", NAMES)
def test_same_logits_from_gguf(name: str, tmp_path: Path) -> None:
    answer = golden(name)
    config = expressible(answer.config)
    bundle = written(tmp_path / "tiny.gguf", config, answer.weights, as_f32)
    found = load_model(bundle, ReferenceBackend(), context=answer.context)
    wanted = load_model(memory_bundle(config, answer.weights), ReferenceBackend(), context=answer.context)
    logits = Session(wanted).feed(answer.tokens)
    error = np.abs(Session(found).feed(answer.tokens) - logits).max() / np.abs(logits).max()
    assert error < 5e-6
    if config == answer.config:
        assert np.abs(logits - answer.logits).max() / np.abs(answer.logits).max() < 1e-5


def as_q8_0(values: F32) -> GgufData:
    """Blocks of a float16 scale and 32 int8."""
    groups = values.reshape(-1, 32)
    scales = (np.abs(groups).max(axis=1, keepdims=True) / 127).astype(np.float16)
    codes = np.rint(groups / scales.astype(np.float32)).astype(np.int8)
    return gguf_data("Q8_0", values.shape, np.hstack([scales.view(np.uint8), codes.view(np.uint8)]))


def as_q4_0(values: F32) -> GgufData:
    """Blocks of a float16 scale and 16 bytes: value i in the low half of byte i, i + 16 in the high."""
    groups = values.reshape(-1, 32)
    extremes = np.take_along_axis(groups, np.abs(groups).argmax(axis=1)[:, None], axis=1)
    scales = (extremes / -8).astype(np.float16)
    codes = np.clip(np.rint(groups / scales.astype(np.float32)) + 8, 0, 15).astype(np.uint8)
    return gguf_data(
        "Q4_0", values.shape, np.hstack([scales.view(np.uint8), codes[:, :16] | codes[:, 16:] << 4])
    )


WIDE = {
    "hidden_size": 64,
    "n_embd": 64,
    "intermediate_size": 96,
    "n_inner": 96,
    "vocab_size": 96,
    "head_dim": 32,
}
LOW_BIT = ["llama-grouped-heads", "qwen2-tied", "gemma2-soft-caps", "granite-multipliers", "gpt2-tied"]


@pytest.mark.parametrize(("quantise", "bits"), [(as_q8_0, 8), (as_q4_0, 4)])
@pytest.mark.parametrize("name", LOW_BIT)
def test_low_bit_files_keep_their_values(name: str, quantise, bits: int, tmp_path: Path) -> None:
    """Stored groups reach the kernels as they are, rows of q and k in the right order."""
    config = expressible(CASES[name] | WIDE)
    shapes = {key: tensor.shape for key, tensor in expected_tensors(read_config(config)).items()}
    weights = tiny_weights(shapes, 0, config["model_type"])

    def pack(values: F32) -> GgufData:
        return quantise(values) if values.ndim == 2 else as_f32(values)

    bundle = written(tmp_path / "low.gguf", config, weights, pack)
    model = load_model(bundle, ReferenceBackend())
    stored = [op.matrix.tensor for op in model.program.operations if isinstance(op, Linear)]
    assert {tensor.bits for tensor in stored} == {bits}
    rounded = {}
    for key in weights:
        tensor = bundle.tensors.read(key)
        rounded[key] = dequantize(tensor) if isinstance(tensor, GroupedTensor) else tensor.values
        if isinstance(tensor, GroupedTensor):
            assert np.abs(rounded[key] - weights[key]).max() < 0.15 * np.abs(weights[key]).max()
    wanted = Session(load_model(memory_bundle(config, rounded), ReferenceBackend())).feed([3, 1, 4, 1, 5])
    found = Session(model).feed([3, 1, 4, 1, 5])
    assert np.sqrt(np.mean((found - wanted) ** 2)) / wanted.std() < 0.04


def test_what_is_wrong_in_a_gguf_file_is_not_blamed_on_a_config_json(tmp_path: Path) -> None:
    answer = golden("llama-grouped-heads")
    metadata, tensors = gguf_model(answer.config, answer.weights)
    metadata["llama.attention.head_count_kv"] = 3
    write_gguf(tmp_path / "odd.gguf", metadata, {name: as_f32(values) for name, values in tensors.items()})
    with pytest.raises(FormatError, match=r"^GGUF metadata: 4 heads cannot share 3"):
        load_model(open_bundle(tmp_path / "odd.gguf", complete=False), ReferenceBackend())
