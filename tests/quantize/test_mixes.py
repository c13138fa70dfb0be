"""The types of every tensor in every mix, as llama-quantize gave them."""

import json
from pathlib import Path

import pytest
from make_mixes import in_short
from mix_models import MODELS

from fairway.formats.gguf_types import BY_NAME
from fairway.quantize.mixes import FALLBACKS, MIXES, Facts, is_quantized, type_of

GOLDENS = json.loads((Path(__file__).parent / "data" / "mixes.json").read_text("utf-8"))


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_gets_the_type_that_llama_quantize_gives_it(name, mix) -> None:
    model = MODELS[name]
    found = {tensor: type_of(mix, tensor, shape, model.facts) for tensor, shape in model.tensors.items()}
    assert in_short(found) == GOLDENS[name][mix]


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("columns", [1, 31, 32, 96, 172, 256, 4864])
def test_rows_are_whole_blocks(mix, columns) -> None:
    for name in ("token_embd.weight", "blk.0.ffn_down.weight", "blk.0.attn_v.weight", "blk.3.attn_q.weight"):
        kind = type_of(mix, name, (4, columns), Facts("llama", 4, 4, 1, True))
        assert columns % BY_NAME[kind].block_size == 0


@pytest.mark.parametrize(
    "name", ["blk.0.attn_norm.weight", "blk.0.attn_q.bias", "output_norm.weight", "rope_freqs.weight"]
)
def test_vectors_stay_exact(name) -> None:
    assert not is_quantized(name, (64,))
    assert type_of("Q2_K", name, (64,), Facts("llama", 1, 1, 1, False)) == "F32"


def test_importance_guards_the_first_layers_of_the_plain_types() -> None:
    plain, weighted = Facts("llama", 16, 8, 8, True), Facts("llama", 16, 8, 8, True, has_importance=True)
    names = ["blk.1.ffn_down.weight", "blk.2.ffn_down.weight"]
    for mix, guard in {"Q4_0": "Q4_1", "Q5_0": "Q5_1"}.items():
        assert [type_of(mix, name, (256, 512), plain) for name in names] == [mix, mix]
        assert [type_of(mix, name, (256, 512), weighted) for name in names] == [guard, mix]
    assert [type_of("IQ4_NL", name, (256, 512), weighted) for name in names] == ["IQ4_NL", "IQ4_NL"]


def test_every_fallback_has_smaller_blocks() -> None:
    assert all(BY_NAME[to].block_size < BY_NAME[kind].block_size for kind, to in FALLBACKS.items())
