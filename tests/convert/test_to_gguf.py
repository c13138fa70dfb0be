"""From a Hugging Face folder to a GGUF file in one pass: the same model, or a refusal that says why."""

import json
from dataclasses import replace

import numpy as np
import pytest
from gguf_twins import LIMITED, OWN, REFUSED, as_llama_cpp_has_it, logits
from hypothesis import given, settings
from hypothesis import strategies as st
from killed_conversions import files_of, killed
from model_cases import CASES, CONTEXTS
from model_folders import LLAMA, TEMPLATE, converted, make_folder

from fairway.convert.gguf_keys import check_same, gguf_keys
from fairway.convert.hops import prepare
from fairway.convert.settings import ConvertSettings
from fairway.errors import FairwayError, FormatError, SettingsError, UnsupportedError
from fairway.formats.bundle import TensorInfo
from fairway.formats.digest import bundle_digest
from fairway.formats.gguf import open_gguf
from fairway.formats.gguf_config import config_from_gguf
from fairway.formats.gguf_keys import Keys
from fairway.formats.open import open_bundle
from fairway.models.families import read_config
from fairway.proof.thresholds import KINDS
from fairway.text.loader import load_tokenizer


@pytest.mark.parametrize("name", [name for name in CASES if name not in REFUSED] + ["gemma2-soft-caps"])
def test_every_family_is_the_same_model_afterwards(name, tmp_path):
    source = make_folder(tmp_path / "model", as_llama_cpp_has_it(CASES[name]))
    report = converted(source, "gguf", tmp_path / "model.gguf")
    assert all(row["equal"] or row["max_error"] < 1e-6 for row in report.tensors.values())
    context = LIMITED.get(name, CONTEXTS.get(name))
    np.testing.assert_allclose(
        logits(tmp_path / "model.gguf", context), logits(source, context), rtol=2e-5, atol=2e-6
    )


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("gemma3-text-p")])
def test_gemma_3_lists_its_layers(name, tmp_path):
    source = make_folder(tmp_path / "model", as_llama_cpp_has_it(CASES[name]))
    converted(source, "gguf", tmp_path / "model.gguf")
    metadata = open_gguf(tmp_path / "model.gguf").metadata
    assert metadata["gemma3.attention.sliding_window_pattern"] == [True, True, False, True]
    np.testing.assert_allclose(logits(tmp_path / "model.gguf"), logits(source), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_what_gguf_cannot_say_is_refused_by_name(name, tmp_path):
    source = make_folder(tmp_path / "model", CASES[name] | OWN)
    with pytest.raises(UnsupportedError, match=REFUSED[name]) as caught:
        converted(source, "gguf", tmp_path / "model.gguf")
    assert "safetensors" in caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


@pytest.mark.parametrize("name", LIMITED)
def test_a_window_that_gguf_does_not_know_ends_the_context(name, tmp_path):
    source = make_folder(tmp_path / "model", CASES[name] | OWN)
    conversion = prepare(open_bundle(source), ConvertSettings(to="gguf"))
    assert f"the context ends at {LIMITED[name]} tokens" in conversion.notes[0]
    converted(source, "gguf", tmp_path / "model.gguf")
    assert open_bundle(tmp_path / "model.gguf").config["max_position_embeddings"] == LIMITED[name]


def test_everything_that_makes_it_speak_is_inside(model, tmp_path):
    (model / "modules.json").write_text('[{"path": "1_Pooling", "type": "a.Pooling"}]')
    converted(model, "gguf", tmp_path / "model.gguf")
    before, after = open_bundle(model), open_bundle(tmp_path / "model.gguf")
    for part in ("end_of_text_ids", "licence"):
        assert getattr(after, part) == getattr(before, part)
    assert after.chat_template == TEMPLATE
    assert after.generation.temperature == pytest.approx(0.7)
    assert after.generation.top_k == 20
    assert after.pooling.kind == "mean"
    assert after.name == "model"
    ours, theirs = load_tokenizer(before.tokenizer), load_tokenizer(after.tokenizer)
    for text in ("the wind", "<|im_end|>", "naïve 日本 😀"):
        assert ours.encode(text) == theirs.encode(text)
    assert theirs.adds_bos
    assert not theirs.adds_eos


def test_lineage_and_digest_are_inside(model, tmp_path):
    converted(model, "safetensors", tmp_path / "one", type="BF16")
    report = converted(tmp_path / "one", "gguf", tmp_path / "model.gguf")
    bundle = open_bundle(tmp_path / "model.gguf")
    assert bundle.lineage.digest == report.digest == bundle_digest(bundle).value
    assert [step.hop for step in bundle.lineage.steps] == [
        "huggingface -> safetensors",
        "huggingface -> gguf",
    ]
    assert bundle.lineage.steps[1].sources[0].digest == bundle_digest(open_bundle(tmp_path / "one")).value
    assert bundle.warnings == ()


def test_matrices_keep_their_type_and_vectors_become_f32(tmp_path):
    source = make_folder(tmp_path / "model", kind="bf16")
    report = converted(source, "gguf", tmp_path / "model.gguf")
    types = {info.name: info.type for info in open_bundle(tmp_path / "model.gguf").tensors.infos.values()}
    assert types["model.norm.weight"] == "F32"
    assert types["model.layers.0.self_attn.q_proj.weight"] == "BF16"
    assert all(row["equal"] for row in report.tensors.values())
    weights = [bundle_digest(open_bundle(path)) for path in (source, tmp_path / "model.gguf")]
    assert weights[0].value != weights[1].value


WIDE = LLAMA | {"hidden_size": 256, "intermediate_size": 512}


@pytest.mark.parametrize(("mix", "kind"), [("Q8_0", "8-bit"), ("Q4_K_M", "4-bit"), ("Q4_0", "4-bit")])
def test_low_bits_cost_what_they_should(tmp_path, mix, kind):
    source = make_folder(tmp_path / "model", WIDE)
    report = converted(source, "gguf", tmp_path / "model.gguf", type=mix)
    for types, row in report.tensors.items():
        target = types.split(" -> ")[1]
        if not row["equal"]:
            assert 0 < row["relative_error"] < KINDS[kind].tensor_limit("F32", target)
    assert open_gguf(tmp_path / "model.gguf").metadata["general.quantization_version"] == 2


def test_rows_that_are_no_blocks_fall_back_as_llama_cpp_does(model, tmp_path):
    """FFN 96 is no multiple of 256, nor 172 of 32."""
    converted(model, "gguf", tmp_path / "model.gguf", type="Q4_K_M")
    types = {info.type for info in open_bundle(tmp_path / "model.gguf").tensors.infos.values()}
    assert "Q5_0" in types


@pytest.mark.parametrize(("moment", "count"), [("note", 4), ("record", 1)])
def test_killed_then_continued_to_the_same_bytes(model, tmp_path, moment, count):
    target = tmp_path / "model.gguf"
    killed(moment, count, model, "--to", "gguf", "--type", "q8_0", "--out", target)
    assert not target.exists()
    converted(model, "gguf", target, type="Q8_0")
    (tmp_path / "other").mkdir()
    converted(model, "gguf", tmp_path / "other" / "model.gguf", type="Q8_0")
    begin, end = lineage_place(target)
    first, second = files_of(target)[""], files_of(tmp_path / "other" / "model.gguf")[""]
    assert first[:begin] == second[:begin]
    assert first[end:] == second[end:]


def lineage_place(path):
    raw = path.read_bytes()
    begin = raw.index(b"fairway.lineage") + len("fairway.lineage") + 12
    return begin, begin + int.from_bytes(raw[begin - 8 : begin], "little")


def edited(model, name, change):
    value = json.loads((model / name).read_text())
    change(value)
    (model / name).write_text(json.dumps(value))
    return model


def refusal(source, tmp_path, expected=FairwayError):
    with pytest.raises(expected) as caught:
        converted(source, "gguf", tmp_path / "model.gguf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    return str(caught.value)


def test_a_tensor_too_many_or_too_few(model, tmp_path):
    config = edited(model, "config.json", lambda c: c.update(num_hidden_layers=1))
    assert "belongs to no part" in refusal(config, tmp_path, FormatError)
    config = edited(model, "config.json", lambda c: c.update(num_hidden_layers=3))
    assert "is missing" in refusal(config, tmp_path, FormatError)


def test_an_unknown_architecture(model, tmp_path):
    edited(model, "config.json", lambda c: c.update(model_type="mamba"))
    assert "'mamba' is not supported" in refusal(model, tmp_path, UnsupportedError)


def test_tokens_beyond_the_embedding(model, tmp_path):
    def add(tokenizer):
        last = tokenizer["added_tokens"][-1]
        tokenizer["added_tokens"].append(last | {"id": 402, "content": "<|extra|>"})

    edited(model, "tokenizer.json", add)
    assert "ids up to 402, the embedding has 402 rows" in refusal(model, tmp_path, FormatError)


def test_rows_beyond_the_tokens_are_unused(tmp_path):
    source = make_folder(tmp_path / "model", LLAMA | {"vocab_size": 410})
    converted(source, "gguf", tmp_path / "model.gguf")
    metadata = open_gguf(tmp_path / "model.gguf").metadata
    assert metadata["tokenizer.ggml.tokens"][402:] == [f"[PAD{i}]" for i in range(402, 410)]
    assert metadata["tokenizer.ggml.token_type"][402:] == [5] * 8


def test_an_unknown_pre_tokenizer(model, tmp_path):
    split = {"type": "Split", "pattern": {"Regex": "[aeiou]+"}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    words = {"type": "Sequence", "pretokenizers": [split, byte_level]}
    edited(model, "tokenizer.json", lambda t: t.update(pre_tokenizer=words))
    assert "no GGUF pre-tokenizer does" in refusal(model, tmp_path, UnsupportedError)


@pytest.mark.parametrize("name", ["Q9_K", "int4", "I64"])
def test_a_type_that_does_not_exist(model, tmp_path, name):
    with pytest.raises(SettingsError, match="There is no type"):
        converted(model, "gguf", tmp_path / "model.gguf", type=name)


CONFIGS = st.fixed_dictionaries(
    {
        "model_type": st.sampled_from(["llama", "mistral", "qwen2", "qwen3", "granite", "olmo2"]),
        "num_hidden_layers": st.integers(1, 90),
        "num_key_value_heads": st.sampled_from([1, 2, 4]),
        "head_dim": st.sampled_from([8, 16, 64, 128]),
        "intermediate_size": st.integers(1, 40_000),
        "rms_norm_eps": st.sampled_from([1e-6, 1e-5, 3e-6]),
        "rope_theta": st.floats(2, 1e8),
        "max_position_embeddings": st.integers(16, 1 << 20),
        "tie_word_embeddings": st.booleans(),
        "embedding_multiplier": st.floats(0.01, 100),
        "attention_multiplier": st.floats(0.01, 1),
        "logits_scaling": st.floats(0.1, 20),
        "rope_scaling": st.none()
        | st.fixed_dictionaries({"rope_type": st.just("linear"), "factor": st.floats(1.1, 64)})
        | st.fixed_dictionaries(
            {
                "rope_type": st.just("yarn"),
                "factor": st.floats(1.1, 64),
                "original_max_position_embeddings": st.integers(16, 8192),
            }
        )
        | st.fixed_dictionaries(
            {
                "rope_type": st.just("llama3"),
                "factor": st.floats(1.1, 64),
                "low_freq_factor": st.floats(0.5, 1.5),
                "high_freq_factor": st.floats(2, 8),
                "original_max_position_embeddings": st.integers(16, 16384),
            }
        ),
    }
)


@settings(max_examples=60, deadline=None)
@given(CONFIGS)
def test_any_config_comes_back_from_its_keys(values):
    sizes = {"vocab_size": 99, "hidden_size": 64, "num_attention_heads": 4}
    config = replace(read_config(values | sizes), windows=(None,) * values["num_hidden_layers"])
    keys = gguf_keys(config)
    metadata = {k: float(np.float32(v)) if isinstance(v, float) else v for k, v in keys.metadata.items()}
    factors = {name: tensor.tolist() for name, tensor in keys.rope_tensors.items()}
    infos = {"token_embd.weight": TensorInfo("token_embd.weight", "F32", (99, 64), 99 * 64 * 4)}
    read = read_config(config_from_gguf(Keys("m", metadata, keys.architecture), infos, factors))
    check_same(config, read)


def test_gemma_2_without_caps(tmp_path):
    source = make_folder(tmp_path / "model", as_llama_cpp_has_it(CASES["gemma2-no-caps"]))
    assert "always caps" in refusal(source, tmp_path, UnsupportedError)


def test_text_that_the_source_composes_is_no_obstacle(model, tmp_path):
    """Qwen's tokenizers apply NFC, which GGUF leaves to the caller."""
    edited(model, "tokenizer.json", lambda t: t.update(normalizer={"type": "NFC"}))
    converted(model, "gguf", tmp_path / "model.gguf")
