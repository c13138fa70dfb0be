"""Live comparison with transformers: random tiny configs of every family, other than the goldens.

Runs where the dependency group `parity` is installed and is skipped elsewhere.
"""

import json
import random

import numpy as np
import pytest
from model_cases import CASES, CONTEXTS, PROMPT, WITHOUT_GREEDY
from published_shapes import SHAPES
from tiny_models import Session, memory_bundle, tiny_weights

from fairway.kernels.program import Backend
from fairway.kernels.reference import ReferenceBackend
from fairway.kernels.select import select_backend
from fairway.models.families import read_config
from fairway.models.loader import load_model
from fairway.models.rope import frequencies
from fairway.models.sizes import expected_tensors

pytestmark = pytest.mark.filterwarnings("ignore")
pytest.importorskip("torch", exc_type=ImportError)
pytest.importorskip("transformers", exc_type=ImportError)

BASES = [name for name in CASES if name not in WITHOUT_GREEDY and name != "gemma3-multimodal"]


def vary(config: dict, seed: int) -> dict:
    """Other sizes, grouping, ties and windows, within what the family's config can say."""
    draw = random.Random(seed)
    if config["model_type"] == "gpt2":
        heads = draw.choice([1, 2, 4])
        return {
            **config,
            "n_head": heads,
            "n_embd": heads * draw.choice([6, 10]),
            "n_layer": draw.randint(1, 3),
        }
    heads = draw.choice([2, 4, 6])
    changes: dict = {
        "num_attention_heads": heads,
        "num_key_value_heads": draw.choice([n for n in (1, 2, 3, 6) if heads % n == 0]),
        "intermediate_size": draw.choice([20, 33, 64]),
        "vocab_size": draw.choice([67, 80, 97]),
        "rms_norm_eps": draw.choice([1e-5, 1e-6]),
        "tie_word_embeddings": draw.random() < 0.5,
        "hidden_size": heads * 16,
    }
    if config["model_type"] == "phi3":
        changes["hidden_size"] = heads * 16
    else:
        changes["head_dim"] = draw.choice([8, 16])
    if config.get("sliding_window"):
        changes["sliding_window"] = draw.choice([1, 5, 13, 100])
    if config["model_type"] in ("granite", "olmo2"):
        changes["head_dim"] = changes["hidden_size"] // heads
    return {**config, **changes}


def compare(name: str, seed: int, backend: Backend) -> None:
    import reference_models

    config = vary(CASES[name], seed)
    reference = reference_models.build(config)
    shapes = reference_models.shapes_of(reference)
    weights = tiny_weights(shapes, seed, config["model_type"])
    reference_models.fill(reference, weights)
    model = load_model(memory_bundle(config, weights), backend, context=CONTEXTS.get(name))
    assert {name: tensor.shape for name, tensor in expected_tensors(model.config).items()} == shapes
    tokens = Session(model).greedy(PROMPT, 45)
    session = Session(model, block_size=8)
    found = np.concatenate([session.feed(tokens[start : start + 9]) for start in range(0, 45, 9)])
    wanted = reference_models.logits_of(reference, tokens)
    scale = np.abs(wanted).max()
    assert np.abs(found - wanted).max() < 2e-5 * scale
    # A near tie may fall either way; anything further apart must be the token transformers chooses.
    chosen = np.take_along_axis(wanted[23:44], np.array(tokens[24:])[:, None], axis=1)[:, 0]
    assert (wanted[23:44].max(axis=1) - chosen < 4e-5 * scale).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", BASES)
def test_random_configs(name: str, seed: int) -> None:
    compare(name, seed, ReferenceBackend())


@pytest.mark.parametrize("name", BASES)
def test_random_configs_on_the_backend_of_this_machine(name: str) -> None:
    compare(name, 7, select_backend())


@pytest.mark.parametrize("name", SHAPES)
def test_published_shapes_and_counts(name: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config, count = SHAPES[name]
    settings = CONFIG_MAPPING[config["model_type"]].from_dict(json.loads(json.dumps(config)))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if settings.tie_word_embeddings:
        shapes.pop("lm_head.weight")
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert {key: tensor.shape for key, tensor in expected_tensors(read_config(config)).items()} == shapes
    assert read_config(settings.to_dict()) == read_config(config)


@pytest.mark.parametrize("name", CASES)
def test_a_key_left_out_means_transformers_default(name: str) -> None:
    """Old and hand-written configs leave out what equals the default of that day."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = CASES[name]
    for key in config.keys() - STRUCTURE:
        shorter = {other: value for other, value in config.items() if other != key}
        settings = CONFIG_MAPPING[config["model_type"]].from_dict(json.loads(json.dumps(shorter)))
        assert read_config(settings.to_dict()) == read_config(shorter), key


STRUCTURE = {
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "text_config",
    "vision_config",
    "partial_rotary_factor",
    "rope_parameters",
    "n_embd",
    "n_head",
}

ROPES = {
    "llama3": SHAPES["Llama-3.2-1B"][0],
    "linear": {**SHAPES["Llama-2-7b"][0], "rope_scaling": {"type": "linear", "factor": 8.0}},
    "dynamic": {**SHAPES["Llama-2-7b"][0], "rope_scaling": {"type": "dynamic", "factor": 2.0}},
    "yarn": {
        **SHAPES["Qwen3-0.6B"][0],
        "max_position_embeddings": 131072,
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
    },
    "longrope": {
        **SHAPES["Phi-3-mini-4k"][0],
        "max_position_embeddings": 131072,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1 + 0.01 * i for i in range(48)],
            "long_factor": [1 + 1.3 * i for i in range(48)],
        },
    },
}


@pytest.mark.parametrize("context", [2048, 4096, 8192, 131072])
@pytest.mark.parametrize("kind", ROPES)
def test_frequencies_of_full_size_models(kind: str, context: int) -> None:
    """Within two roundings of float32, which turn position 100,000 by a fiftieth of a radian."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    settings = CONFIG_MAPPING[ROPES[kind]["model_type"]].from_dict(json.loads(json.dumps(ROPES[kind])))
    wanted, wanted_factor = ROPE_INIT_FUNCTIONS[kind](settings, "cpu", seq_len=context)
    rope = read_config(ROPES[kind]).rope
    found, factor = frequencies(rope, context)
    np.testing.assert_array_max_ulp(found, wanted.numpy(), maxulp=2)
    assert factor == pytest.approx(wanted_factor, rel=1e-7)
