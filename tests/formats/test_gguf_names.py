"""The name table, both ways, against llama.cpp's own table (recorded by make_goldens.py)."""

import json
from pathlib import Path

import pytest

from fairway.formats.gguf_names import LAYER_NAMES, to_gguf, to_huggingface

GOLDENS = json.loads((Path(__file__).parent / "data" / "names.json").read_text())["architectures"]


@pytest.mark.parametrize("architecture", LAYER_NAMES)
def test_names_are_those_of_llama_cpp_in_both_directions(architecture):
    assert len(GOLDENS[architecture]) > 14
    for huggingface, gguf in GOLDENS[architecture].items():
        assert to_gguf(architecture, huggingface) == gguf
        assert to_huggingface(architecture, gguf) == huggingface


@pytest.mark.parametrize("architecture", LAYER_NAMES)
def test_every_row_of_the_table_comes_back(architecture):
    for stem in LAYER_NAMES[architecture]:
        for kind in ("weight", "bias"):
            name = f"blk.12.{stem}.{kind}"
            assert to_gguf(architecture, to_huggingface(architecture, name)) == name


@pytest.mark.parametrize(
    "name",
    ["rope_freqs.weight", "blk.0.ffn_gate_exps.weight", "blk.x.attn_q.weight", "blk.0.attn_q", "", "."],
)
def test_a_name_outside_the_table_keeps_its_spelling(name):
    assert to_huggingface("llama", name) == name


@pytest.mark.parametrize("name", ["model.layers.0.self_attn.rotary_emb.inv_freq", "vision.patch.weight", ""])
def test_gguf_has_no_place_for_an_unknown_name(name):
    assert to_gguf("llama", name) is None


def test_an_unknown_architecture_is_left_alone():
    assert to_huggingface("mamba", "blk.0.attn_norm.weight") == "blk.0.attn_norm.weight"
    assert to_gguf("mamba", "model.norm.weight") is None
