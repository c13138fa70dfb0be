"""Weights to begin from nothing with."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from peft_cases import tiny  # noqa: E402

from fairway.errors import SettingsError  # noqa: E402
from fairway.tune.encode import Example  # noqa: E402
from fairway.tune.forward_names import recorded  # noqa: E402
from fairway.tune.initial_weights import Initial, begin_anew  # noqa: E402
from fairway.tune.packing import join  # noqa: E402
from fairway.tune.recipe import read_recipe  # noqa: E402
from fairway.tune.torch_decoder import TorchDecoder, tokens_of  # noqa: E402
from fairway.tune.torch_weights import load_weights  # noqa: E402

CPU = torch.device("cpu")


def anew(name: str, seed: int, by_fan_in: bool = False):
    loaded = load_weights(tiny(name).bundle, torch.float32, CPU)
    begin_anew(loaded.weights, recorded(loaded.config), Initial(0.02, seed, by_fan_in))
    return loaded


@pytest.mark.parametrize("name", ["llama-grouped-heads", "gemma2-soft-caps", "gpt2-tied", "qwen3-tied-bias"])
def test_every_token_is_as_likely_as_any_other(name):
    loaded = anew(name, 1)
    ids = np.random.RandomState(0).randint(3, 70, 64)
    tokens = tokens_of(join([Example("", ids.astype(np.int32), np.ones(64, np.bool_))]), CPU)
    with torch.no_grad():
        loss = TorchDecoder(loaded.config, loaded.weights).loss(tokens).item() / len(tokens.labels)
    assert loss == pytest.approx(math.log(loaded.config.vocab_size), abs=0.15)


def test_norms_multiply_by_one_and_matrices_have_the_deviation():
    plain, shifted = anew("llama-grouped-heads", 1).weights, anew("gemma2-soft-caps", 1).weights
    assert set(plain["model.norm.weight"].tolist()) == {1.0}
    assert set(shifted["model.norm.weight"].tolist()) == {0.0}
    assert plain["model.embed_tokens.weight"].std().item() == pytest.approx(0.02, rel=0.1)


def test_by_fan_in_every_layer_begins_by_changing_nothing():
    weights = anew("llama-grouped-heads", 1, by_fan_in=True).weights
    layer = "model.layers.0."
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        assert not weights[f"{layer}{name}.weight"].any()
    for name in ("self_attn.q_proj", "mlp.up_proj"):
        weight = weights[f"{layer}{name}.weight"]
        assert weight.std().item() == pytest.approx(weight.shape[1] ** -0.5, rel=0.15)
    assert weights["model.embed_tokens.weight"].std().item() == pytest.approx(0.02, rel=0.1)


def test_a_seed_decides_everything():
    first, same, other = (anew("llama-grouped-heads", seed).weights for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_an_adapter_on_nothing_is_refused():
    with pytest.raises(SettingsError, match="--method full"):
        read_recipe(None, {"init": "random"})
