"""LoRA adapters in PEFT's and GGUF's files, both ways, without loss."""
# ruff: noqa: RUF043 (tables of sentences)

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.errors import FairwayError, FormatError, UnsupportedError
from fairway.formats.floats import floats
from fairway.formats.gguf import open_gguf
from fairway.formats.gguf_writer import Number, gguf_data, write_gguf
from fairway.formats.lora import Adapter, LoraLayer
from fairway.formats.lora_gguf import architecture_of, read_gguf_adapter, write_gguf_adapter
from fairway.formats.lora_peft import CONFIG, PICKLE, WEIGHTS, read_peft, write_peft
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.tensors import DenseTensor

DATA = Path(__file__).parent / "data" / "lora"
CONFIGS = {
    "llama": {"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 2},
    "qwen2": {"model_type": "qwen2", "num_attention_heads": 4, "num_key_value_heads": 2},
    "gpt2": {"model_type": "gpt2", "n_head": 2},
}
LAYERS = {
    "llama": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.down_proj"],
    "qwen2": ["self_attn.q_proj", "mlp.gate_proj"],
    "gpt2": ["attn.c_attn", "mlp.c_proj"],
}


@pytest.fixture
def plain(tmp_path):
    return shutil.copytree(DATA / "plain", tmp_path / "plain")


def edit(folder, **changes):
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | changes))
    return folder


def same(one, two):
    return one.shape == two.shape and np.array_equal(floats(one), floats(two))


def test_what_peft_saved_is_read():
    adapter = read_peft(DATA / "plain")
    assert len(adapter.layers) == 14
    layer = adapter.layers["model.layers.1.self_attn.k_proj"]
    assert (layer.a.shape, layer.b.shape, layer.rank, layer.scale) == ((4, 32), (16, 4), 4, 2.0)
    assert [source.name for source in adapter.sources] == [WEIGHTS, CONFIG]
    assert adapter.num_parameters == sum(4 * sum(shapes) for shapes in (
        (32, 32), (32, 16), (32, 16), (32, 32), (32, 40), (32, 40), (40, 32))) * 2  # fmt: skip


def test_ranks_and_alphas_by_pattern_and_rslora():
    layers = read_peft(DATA / "patterns").layers
    found = {name.removeprefix("model.layers."): (each.rank, each.alpha) for name, each in layers.items()}
    assert found == {
        "0.self_attn.q_proj": (4, 6.0),
        "1.self_attn.q_proj": (8, 6.0),
        "0.self_attn.v_proj": (4, 12.0),
        "1.self_attn.v_proj": (4, 12.0),
    }
    assert layers["model.layers.1.self_attn.q_proj"].scale == 6 / math.sqrt(8)


def test_whole_tensors_that_training_changed_are_kept_apart():
    adapter = read_peft(DATA / "head")
    assert {name: tensor.shape for name, tensor in adapter.replaced.items()} == {"lm_head.weight": (48, 32)}
    assert len(adapter.layers) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"peft_type": "IA3"}, "type 'IA3', not LoRA"),
        ({"layer_replication": [[0, 2]]}, "several times"),
        ({"target_parameters": ["x"]}, "no linear layers"),
        ({"trainable_token_indices": [1]}, "single trained tokens"),
        ({"alora_invocation_tokens": [1]}, "activated LoRA"),
        ({"init_lora_weights": "pissa_niter_4"}, "changes the base model"),
        ({"a_later_kind": {"x": 1}}, "'a_later_kind', which is not known"),
        ({"alpha_pattern": {"(a+)+$": 1}}, "no plain name"),
    ],
)
def test_other_kinds_are_refused_by_name(plain, changes, reason):
    with pytest.raises(UnsupportedError, match=reason):
        read_peft(edit(plain, **changes))


def test_lora_on_embeddings_is_refused():
    with pytest.raises(UnsupportedError, match="LoRA on embeddings"):
        read_peft(DATA / "embedding")


def test_a_dora_adapter_is_read_with_its_magnitudes():
    layers = read_peft(DATA / "dora").layers
    assert [layer.magnitude.shape for layer in layers.values()] == [(32,), (32,)]


def test_a_dora_adapter_that_is_not_whole_is_an_error(plain):
    with pytest.raises(FormatError, match="has lora_A, lora_B, not lora_A, lora_B, lora_magnitude_vector"):
        read_peft(edit(plain, use_dora=True))
    dora = shutil.copytree(DATA / "dora", plain.parent / "dora")
    with pytest.raises(FormatError, match="lora_magnitude_vector, not lora_A, lora_B"):
        read_peft(edit(dora, use_dora=False))
    name = "base_model.model.x.lora_{}"
    shapes = {"A.weight": (2, 3), "B.weight": (4, 2), "magnitude_vector": (3,)}
    tensors = {name.format(key): tensor_data(np.ones(each, np.float32)) for key, each in shapes.items()}
    write_safetensors(dora / WEIGHTS, tensors)
    with pytest.raises(FormatError, match=r"magnitude of x .* is \[3\], not \[4\]"):
        read_peft(edit(dora, use_dora=True))


def test_broken_adapters_are_errors_in_one_sentence(plain):
    a, b = np.zeros((4, 8), np.float32), np.zeros((8, 3), np.float32)
    name = "base_model.model.x.lora_{}.weight"
    broken = {
        "do not fit": {name.format("A"): a, name.format("B"): b},
        "has lora_A, not lora_A, lora_B": {name.format("A"): a},
        "holds 0 LoRA layers": {"base_model.model.x.weight": a},
        r"A \[8\]": {name.format("A"): a[0], name.format("B"): b},
    }
    for reason, tensors in broken.items():
        write_safetensors(plain / WEIGHTS, {key: tensor_data(value) for key, value in tensors.items()})
        with pytest.raises(FormatError, match=reason):
            read_peft(plain)
    (plain / WEIGHTS).unlink()
    with pytest.raises(FormatError, match=f"neither {WEIGHTS} nor {PICKLE}"):
        read_peft(plain)
    with pytest.raises(FormatError, match="lora_alpha .* not a number"):
        read_peft(edit(shutil.copytree(DATA / "plain", plain.parent / "other"), lora_alpha="8"))
    with pytest.raises(FairwayError):
        read_peft(plain.parent)


def test_names_with_the_adapters_own_are_read(plain):
    tensors = {
        f"base_model.model.x.lora_{part}.default.weight": tensor_data(np.ones((2, 2), np.float32))
        for part in "AB"
    }
    write_safetensors(plain / WEIGHTS, tensors)
    assert list(read_peft(plain).layers) == ["x"]


@pytest.mark.parametrize("name", ["plain", "patterns", "head", "gpt2", "dora", "dora-gpt2"])
def test_peft_folders_read_back_the_same(name, tmp_path):
    adapter = read_peft(DATA / name)
    write_peft(adapter, tmp_path / name)
    again = read_peft(tmp_path / name)
    assert again.layers.keys() == adapter.layers.keys()
    for key, layer in adapter.layers.items():
        assert same(layer.a, again.layers[key].a)
        assert same(layer.b, again.layers[key].b)
        assert again.layers[key].scale == layer.scale
        if layer.magnitude is not None:
            assert same(layer.magnitude, again.layers[key].magnitude)
    assert again.digest == adapter.digest
    assert all(same(tensor, again.replaced[key]) for key, tensor in adapter.replaced.items())
    config = json.loads((tmp_path / name / CONFIG).read_text())
    assert config["fan_in_fan_out"] is name.endswith("gpt2")
    assert config["use_dora"] is name.startswith("dora")
    if name == "plain":
        assert config["target_modules"] == sorted(config["target_modules"])
        assert "q_proj" in config["target_modules"]


def test_what_gguf_cannot_hold_is_refused(tmp_path):
    with pytest.raises(UnsupportedError, match=r"replaces whole tensors \(lm_head\.weight\)"):
        write_gguf_adapter(read_peft(DATA / "head"), tmp_path / "x.gguf", CONFIGS["llama"])
    with pytest.raises(UnsupportedError, match="is a DoRA, and a GGUF adapter cannot hold"):
        write_gguf_adapter(read_peft(DATA / "dora"), tmp_path / "x.gguf", CONFIGS["llama"])
    with pytest.raises(UnsupportedError, match="'mamba' have no GGUF names"):
        write_gguf_adapter(read_peft(DATA / "plain"), tmp_path / "x.gguf", {"model_type": "mamba"})
    with pytest.raises(UnsupportedError, match="no name for the layer"):
        write_gguf_adapter(read_peft(DATA / "plain"), tmp_path / "x.gguf", CONFIGS["gpt2"])


def test_rows_of_q_and_k_stand_in_llamas_order(tmp_path):
    adapter = read_peft(DATA / "plain")
    write_gguf_adapter(adapter, tmp_path / "x.gguf", CONFIGS["llama"])
    file = open_gguf(tmp_path / "x.gguf")
    tensor = file.tensors["blk.0.attn_q.weight.lora_b"]
    rows = file.raw(tensor).view(np.float32).reshape(tensor.info.shape)
    ours = floats(adapter.layers["model.layers.0.self_attn.q_proj"].b)
    assert np.array_equal(rows[:4], ours[[0, 4, 1, 5]])
    assert file.metadata["general.type"] == "adapter"


GOOD = {
    "general.type": "adapter",
    "adapter.type": "lora",
    "general.architecture": "llama",
    "adapter.lora.alpha": 8.0,
}


@pytest.mark.parametrize(
    ("changes", "tensors", "reason"),
    [
        ({"general.type": "model"}, {}, "no LoRA adapter"),
        ({"adapter.type": "other"}, {}, "no LoRA adapter"),
        ({"general.architecture": "qwen2"}, {}, "for models of the architecture 'qwen2', not 'llama'"),
        ({"adapter.lora.alpha": 0.0}, {}, "no adapter.lora.alpha"),
        ({"adapter.lora.alpha": 8}, {}, "no adapter.lora.alpha"),
        ({"adapter.alora.invocation_tokens": [1]}, {}, "activated LoRA"),
        ({}, {}, "holds 0 LoRA layers"),
        ({}, {"blk.0.attn_v.weight": (4, 4)}, "no part of a LoRA"),
        ({}, {"blk.0.attn_v.weight.lora_a": (4, 4)}, "has only lora_a"),
        ({}, {"blk.0.attn_v.weight.lora_a": (4, 4), "blk.0.attn_v.weight.lora_b": (4, 3)}, "do not fit"),
        (
            {},
            {"blk.0.what.weight.lora_a": (4, 4), "blk.0.what.weight.lora_b": (4, 4)},
            "no linear layer of a llama",
        ),
        ({}, {"blk.0.attn_q.weight.lora_a": (4, 4), "blk.0.attn_q.weight.lora_b": (6, 4)}, "are not 4 heads"),
    ],
)
def test_broken_gguf_adapters_are_refused(changes, tensors, reason, tmp_path):
    data = {name: gguf_data("F32", shape, np.zeros(shape, np.float32)) for name, shape in tensors.items()}
    metadata = {
        key: Number("FLOAT32", value) if isinstance(value, float) else value
        for key, value in (GOOD | changes).items()
    }
    write_gguf(tmp_path / "x.gguf", metadata, data)
    with pytest.raises(FairwayError, match=reason):
        read_gguf_adapter(tmp_path / "x.gguf", CONFIGS["llama"])


def test_architectures_have_ggufs_names():
    assert architecture_of({"model_type": "mistral"}) == "llama"
    assert architecture_of({"model_type": "gemma3_text"}) == "gemma3"


@st.composite
def adapters(draw):
    """Equal scales, or ratios that are powers of two: what one alpha in GGUF holds exactly."""
    family = draw(st.sampled_from(sorted(LAYERS)))
    prefix = "transformer.h" if family == "gpt2" else "model.layers"
    numbers = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    alpha = draw(st.sampled_from([1.0, 6.0, 16.0, 0.5]))
    layers = {}
    for name in draw(st.lists(st.sampled_from(LAYERS[family]), min_size=1, unique=True)):
        for block in range(draw(st.integers(1, 3))):
            rank = draw(st.sampled_from([1, 2, 5]))
            out = draw(st.sampled_from([8, 24]))
            kind, dtype = draw(st.sampled_from([("f32", np.float32), ("f16", np.float16)]))
            a, b = (numbers.standard_normal(shape).astype(dtype) for shape in ((rank, 8), (out, rank)))
            factor = draw(st.sampled_from([1.0, 2.0, 0.25]))
            layers[f"{prefix}.{block}.{name}"] = LoraLayer(
                DenseTensor(kind, a), DenseTensor(kind, b), alpha * factor
            )
    return family, Adapter("made", draw(st.sampled_from([None, "org/base"])), layers)


@settings(max_examples=60, deadline=None)
@given(adapters())
def test_adapters_go_to_gguf_and_back_without_loss(tmp_path_factory, made):
    family, adapter = made
    folder = tmp_path_factory.mktemp("round")
    write_gguf_adapter(adapter, folder / "made.gguf", CONFIGS[family])
    from_gguf = read_gguf_adapter(folder / "made.gguf", CONFIGS[family])
    write_peft(from_gguf, folder / "peft")
    again = read_peft(folder / "peft")
    assert again.base == from_gguf.base == adapter.base
    assert again.layers.keys() == adapter.layers.keys()
    for name, layer in adapter.layers.items():
        found = again.layers[name]
        assert same(found.a, layer.a)
        scaled = floats(found.b) * np.float32(found.scale)
        assert np.array_equal(scaled, floats(layer.b) * np.float32(layer.scale)) or np.allclose(
            scaled, floats(layer.b) * layer.scale, rtol=1.2e-7, atol=0
        )
