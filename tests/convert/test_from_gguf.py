"""From GGUF back to a folder, and from GGUF to GGUF: the same numbers, ids and answers."""

import json
from dataclasses import replace

import numpy as np
import pytest
from gguf_twins import LIMITED, OWN, REFUSED, as_llama_cpp_has_it, logits
from hypothesis import given, settings
from hypothesis import strategies as st
from model_cases import CASES
from model_folders import LLAMA, TEMPLATE, converted, make_folder, same_weights

from fairway.convert.from_gguf import gguf_to_folder
from fairway.convert.gguf_keys import check_same
from fairway.convert.settings import ConvertSettings
from fairway.errors import UnsupportedError
from fairway.formats.digest import bundle_digest
from fairway.formats.floats import floats
from fairway.formats.gguf import open_gguf
from fairway.formats.gguf_types import decode_float32
from fairway.formats.gguf_writer import RawValue, gguf_data, write_gguf
from fairway.formats.open import open_bundle
from fairway.models.families import read_config
from fairway.text.loader import load_tokenizer

SHAPES = st.fixed_dictionaries(
    {
        "model_type": st.sampled_from(["llama", "qwen2", "qwen3", "granite", "olmo2"]),
        "num_hidden_layers": st.integers(1, 2),
        "num_attention_heads": st.sampled_from([2, 4]),
        "num_key_value_heads": st.sampled_from([1, 2]),
        "head_dim": st.sampled_from([4, 6, 32]),
        "hidden_size": st.sampled_from([8, 24, 64]),
        "intermediate_size": st.integers(1, 80),
        "tie_word_embeddings": st.booleans(),
        "rms_norm_eps": st.sampled_from([1e-6, 1e-5]),
        "rope_theta": st.sampled_from([1e4, 5e5]),
        "max_position_embeddings": st.integers(16, 4096),
    }
)


@settings(max_examples=12, deadline=None)
@given(SHAPES, st.sampled_from(["f32", "f16", "bf16"]), st.sampled_from(["bpe", "spm"]))
def test_any_shape_goes_there_and_back(tmp_path_factory, config, kind, vocabulary):
    folder = tmp_path_factory.mktemp("shape")
    source = make_folder(folder / "model", config | OWN, kind, vocabulary)
    converted(source, "gguf", folder / "model.gguf")
    converted(folder / "model.gguf", "safetensors", folder / "back", max_shard_bytes=20_000)
    same_weights(source, folder / "back")
    before, after = open_bundle(source), open_bundle(folder / "back")
    check_same(read_config(before.config), read_config(after.config))


BOTH_WAYS = [name for name in CASES if name not in REFUSED and name not in LIMITED]
TEXTS = ["The fair wind", " two  spaces", "naïve 日本 😀", "<|im_end|>", "</s> and <s>", "\n\t12345"]


@pytest.mark.parametrize("kind", ["f32", "bf16", "f16"])
@pytest.mark.parametrize("name", ["llama-grouped-heads", "qwen2-tied", "granite-multipliers", "gpt2-tied"])
def test_there_and_back_is_bit_exact(name, kind, tmp_path):
    source = make_folder(tmp_path / "model", as_llama_cpp_has_it(CASES[name]), kind)
    converted(source, "gguf", tmp_path / "model.gguf")
    converted(tmp_path / "model.gguf", "safetensors", tmp_path / "back")
    same_weights(source, tmp_path / "back")
    digests = [bundle_digest(open_bundle(path)).parts["weights"] for path in (source, tmp_path / "back")]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("name", [*BOTH_WAYS, "gemma2-soft-caps", "gemma3-text-pattern"])
def test_every_family_comes_back_as_the_same_model(name, tmp_path):
    source = make_folder(tmp_path / "model", as_llama_cpp_has_it(CASES[name]))
    converted(source, "gguf", tmp_path / "model.gguf")
    converted(tmp_path / "model.gguf", "safetensors", tmp_path / "back")
    np.testing.assert_allclose(logits(tmp_path / "back"), logits(source), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("vocabulary", ["bpe", "spm"])
def test_everything_comes_back_as_files(tmp_path, vocabulary):
    source = make_folder(tmp_path / "model", vocabulary=vocabulary)
    (source / "modules.json").write_text('[{"path": "1_Pooling", "type": "a.Pooling"}]')
    converted(source, "gguf", tmp_path / "model.gguf")
    report = converted(tmp_path / "model.gguf", "safetensors", tmp_path / "back")
    before, after = open_bundle(source), open_bundle(tmp_path / "back")
    assert report.verdict.passed
    for part in ("end_of_text_ids", "licence", "chat_template", "pooling"):
        if part != "pooling":
            assert getattr(after, part) == getattr(before, part), part
    assert after.chat_template == TEMPLATE
    assert after.pooling.kind == "mean"
    assert after.generation.temperature == pytest.approx(0.7)
    assert after.generation.top_k == 20
    assert after.config["dtype"] == "float32"
    ours, theirs = load_tokenizer(before.tokenizer), load_tokenizer(after.tokenizer)
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text), text
    assert [step.hop for step in after.lineage.steps] == ["huggingface -> gguf", "gguf -> safetensors"]


WIDE = LLAMA | {"hidden_size": 256, "intermediate_size": 512}


@pytest.mark.parametrize("wanted", ["F32", "F16", "BF16", "stored"])
def test_quantised_weights_become_floats(tmp_path, wanted):
    source = make_folder(tmp_path / "model", WIDE)
    converted(source, "gguf", tmp_path / "model.gguf", type="Q4_K_M")
    report = converted(tmp_path / "model.gguf", "safetensors", tmp_path / "back", type=wanted)
    gguf, folder = open_gguf(tmp_path / "model.gguf"), open_bundle(tmp_path / "back")
    tensor = gguf.tensors["blk.0.ffn_down.weight"]
    exact = decode_float32(tensor.type, gguf.raw(tensor)).reshape(tensor.info.shape)
    found = folder.tensors.read("model.layers.0.mlp.down_proj.weight")
    kind = "f16" if wanted == "stored" else wanted.lower()
    assert found.type == kind
    rtol = {"f32": 0, "f16": 5e-4, "bf16": 4e-3}[kind]
    np.testing.assert_allclose(floats(found), exact, rtol=rtol, atol=1e-7)
    assert report.tensors[f"Q4_K -> {kind.upper()}"]["equal"] is (kind == "f32")


def test_gpt2_matrices_are_turned_back(tmp_path):
    config = CASES["gpt2-tied"] | OWN | {"n_embd": 256, "n_inner": 512}
    source = make_folder(tmp_path / "model", config)
    converted(source, "gguf", tmp_path / "model.gguf", type="Q8_0")
    report = converted(tmp_path / "model.gguf", "safetensors", tmp_path / "back", type="F32")
    assert report.tensors["Q8_0 -> F32"]["equal"]
    shape = open_bundle(tmp_path / "back").tensors.infos["transformer.h.0.mlp.c_fc.weight"].shape
    assert shape == (256, 512)


def test_quantising_a_gguf_file_gives_what_quantising_the_folder_gives(tmp_path):
    source = make_folder(tmp_path / "model", WIDE)
    converted(source, "gguf", tmp_path / "f32.gguf")
    converted(tmp_path / "f32.gguf", "gguf", tmp_path / "two.gguf", type="Q4_K_M")
    converted(source, "gguf", tmp_path / "one.gguf", type="Q4_K_M")
    one, two = open_gguf(tmp_path / "one.gguf"), open_gguf(tmp_path / "two.gguf")
    assert set(one.tensors) == set(two.tensors)
    for name in one.tensors:
        assert one.raw(one.tensors[name]).tobytes() == two.raw(two.tensors[name]).tobytes(), name
    for key in one.metadata:
        if key not in ("fairway.lineage", "general.name"):
            assert one.metadata[key] == two.metadata[key], key
    assert len(open_bundle(tmp_path / "two.gguf").lineage.steps) == 2


def test_keys_that_nobody_knows_and_their_types_are_kept(tmp_path, model):
    converted(model, "gguf", tmp_path / "one.gguf")
    file = open_gguf(tmp_path / "one.gguf")
    metadata = {key: RawValue(file.raw_value(key)) for key in file.metadata}
    extra = {
        "general.url": "somewhere",
        "custom.flag": True,
        "custom.list": [1, 2, 3],
        "custom.text": ["a", "é"],
    }
    tensors = {
        name: gguf_data(tensor.type.name, tensor.info.shape, file.raw(tensor))
        for name, tensor in file.tensors.items()
    }
    write_gguf(tmp_path / "two.gguf", metadata | extra, tensors)
    converted(tmp_path / "two.gguf", "gguf", tmp_path / "three.gguf", type="Q8_0")
    two, three = open_gguf(tmp_path / "two.gguf"), open_gguf(tmp_path / "three.gguf")
    for key in two.metadata:
        if key not in ("fairway.lineage", "general.file_type"):
            assert two.raw_value(key) == three.raw_value(key), key


def test_rounding_twice_is_asked_for(model, tmp_path):
    converted(model, "gguf", tmp_path / "one.gguf", type="Q8_0")
    with pytest.raises(UnsupportedError, match="rounding twice") as caught:
        converted(tmp_path / "one.gguf", "gguf", tmp_path / "two.gguf", type="Q4_0")
    assert "--requantize" in caught.value.hint
    converted(tmp_path / "one.gguf", "gguf", tmp_path / "two.gguf", type="Q4_0", requantize=True)


def test_parts_of_a_split_file_become_one(model, tmp_path):
    converted(model, "gguf", tmp_path / "whole.gguf", type="Q8_0")
    file = open_gguf(tmp_path / "whole.gguf")
    metadata = {key: RawValue(file.raw_value(key)) for key in file.metadata}
    names = list(file.tensors)
    for number, part in enumerate((names[:7], names[7:])):
        rows = {name: file.tensors[name] for name in part}
        data = {name: gguf_data(row.type.name, row.info.shape, file.raw(row)) for name, row in rows.items()}
        split = {"split.no": number, "split.count": 2, "split.tensors.count": len(names)}
        own = metadata if number == 0 else {"general.architecture": "llama"}
        write_gguf(tmp_path / f"part-{number + 1:05d}-of-00002.gguf", own | split, data)
    report = converted(tmp_path / "part-00001-of-00002.gguf", "gguf", tmp_path / "joined.gguf")
    same_weights(tmp_path / "whole.gguf", tmp_path / "joined.gguf")
    assert report.digest == report.source_digest
    assert not any(key.startswith("split.") for key in open_gguf(tmp_path / "joined.gguf").metadata)


def test_an_architecture_without_a_folder_is_named(model, tmp_path):
    converted(model, "gguf", tmp_path / "model.gguf")
    bundle = open_bundle(tmp_path / "model.gguf")
    from fairway.formats.gguf_tensors import GgufTensors

    other = replace(bundle, tensors=GgufTensors(bundle.tensors.files, "mamba", 0, 0))
    with pytest.raises(UnsupportedError, match="'mamba' has no Hugging Face folder"):
        gguf_to_folder(other, ConvertSettings(to="safetensors"), tmp_path / "out")


def test_a_file_cut_short_is_one_sentence(model, tmp_path):
    converted(model, "gguf", tmp_path / "model.gguf")
    raw = (tmp_path / "model.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(raw[:-1000])
    from fairway.errors import FormatError

    with pytest.raises(FormatError, match="it is cut short"):
        converted(tmp_path / "cut.gguf", "safetensors", tmp_path / "out")


READ = [
    ("llama-grouped-heads", "bpe"),
    ("llama-grouped-heads", "spm"),
    ("qwen2-tied", "bpe"),
    ("gemma3-text-pattern", "spm"),
    ("phi3-longrope-long", "spm"),
    ("gpt2-tied", "bpe"),
]


@pytest.mark.parametrize(("name", "vocabulary"), READ)
def test_transformers_reads_what_comes_back(name, vocabulary, tmp_path):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    source = make_folder(tmp_path / "model", as_llama_cpp_has_it(CASES[name]), vocabulary=vocabulary)
    converted(source, "gguf", tmp_path / "model.gguf")
    converted(tmp_path / "model.gguf", "safetensors", tmp_path / "back")
    prompt, found = [3, 17, 42, 5, 105, 61], []
    for path in (source, tmp_path / "back"):
        model = transformers.AutoModelForCausalLM.from_pretrained(path)
        with torch.no_grad():
            found.append(model(torch.tensor([prompt])).logits.numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-5)
    ours = load_tokenizer(open_bundle(source).tokenizer)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    for text in TEXTS:
        assert theirs.encode(text) == ours.encode(text), text
    messages = [{"role": "user", "content": "hello"}]
    assert theirs.apply_chat_template(messages, tokenize=False) == "<|user|>hello"
    config = json.loads((tmp_path / "back" / "generation_config.json").read_text())
    assert config["eos_token_id"] == list(open_bundle(source).end_of_text_ids)


GGUFS = {"stories260k": "stories260k-f32.gguf", "babyllama": "babyllama-f32.gguf"}


@pytest.mark.parametrize("name", GGUFS)
def test_real_models_keep_their_greedy_text_through_every_pair(shared, tmp_path, name):
    """Folder, shards, GGUF and back: transformers' own greedy tokens each time."""
    golden = json.loads((shared / "models" / name / "golden.json").read_text())
    folder = shared / "models" / name
    ways = {
        "shards": (folder, "safetensors", {"max_shard_bytes": 200_000}),
        "model.gguf": (folder, "gguf", {}),
        "again.gguf": (tmp_path / "model.gguf", "gguf", {}),
        "back": (tmp_path / "again.gguf", "safetensors", {}),
        "theirs": (folder / GGUFS[name], "safetensors", {}),
        "from-shards.gguf": (tmp_path / "shards", "gguf", {}),
    }
    prompt, wanted = golden["prompt_ids"], golden["greedy_ids"][:48]
    for target, (source, to, options) in ways.items():
        report = converted(source, to, tmp_path / target, **options)
        assert all(row["equal"] for row in report.tensors.values())
        assert greedy(tmp_path / target, prompt, len(wanted) - len(prompt)) == wanted, target
        tokenizer = load_tokenizer(open_bundle(tmp_path / target).tokenizer)
        assert tokenizer.encode(golden["prompt"]) == prompt
    assert (
        bundle_digest(open_bundle(tmp_path / "back")).parts["weights"]
        == bundle_digest(open_bundle(folder)).parts["weights"]
    )


def greedy(path, prompt, count):
    from tiny_models import Session

    from fairway.kernels.reference import ReferenceBackend
    from fairway.models.loader import load_model

    session = Session(load_model(open_bundle(path), ReferenceBackend()))
    tokens = list(prompt)
    row = session.feed(prompt)[-1]
    for _ in range(count):
        tokens.append(int(np.argmax(row)))
        row = session.feed(tokens[-1:])[-1]
    return tokens
