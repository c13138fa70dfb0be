"""A Hugging Face tokenizer written as GGUF metadata gives the same ids, or is refused by name."""

import json

import pytest
from hypothesis import given
from text_cases import (
    SHARED,
    TEXTS,
    byte_pair_json,
    load_folder,
    needs_shared,
    source,
    spm_json,
    spm_model_file,
)

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.gguf import open_gguf
from fairway.text.gguf_vocabulary import gguf_vocabulary, patterns_of
from fairway.text.loader import load_tokenizer
from fairway.text.pretokenizers import PRE_TOKENIZERS, name_of


def files(folder, **contents):
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        stem, _, ending = name.rpartition("_")
        path = folder / f"{stem}.{ending}"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return source("huggingface", {path.name: path for path in folder.iterdir()})


def both(found, num_rows=None):
    ours = load_tokenizer(found)
    vocabulary = gguf_vocabulary(found, num_rows or ours.vocab_size)
    return ours, load_tokenizer(source("gguf", metadata=vocabulary.metadata)), vocabulary


def changed(tokenizer, **fields):
    return {**tokenizer, **fields}


def with_metaspace(scheme):
    words = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}
    decoder = (without_space() if scheme == "never" else spm_json())["decoder"]
    return changed(spm_json(), normalizer=None, pre_tokenizer=words, decoder=decoder)


def without_space():
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    decoder = {"type": "Sequence", "decoders": [{**replace, "pattern": {"String": "▁"}, "content": " "}]}
    decoder["decoders"] += [{"type": "ByteFallback"}, {"type": "Fuse"}]
    return changed(spm_json(), normalizer=replace, decoder=decoder)


EOS = {"eos_token": "</s>"}
KINDS = {
    "byte-level": ({"tokenizer_json": byte_pair_json()}, "gpt2"),
    "spm": ({"tokenizer_json": spm_json(), "tokenizer_config_json": EOS}, "llama"),
    "spm without space": ({"tokenizer_json": without_space(), "tokenizer_config_json": EOS}, "llama"),
    "metaspace": ({"tokenizer_json": with_metaspace("never"), "tokenizer_config_json": EOS}, "llama"),
    "tokenizer.model": ({"tokenizer_model": spm_model_file()}, "llama"),
}


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    contents, kind = KINDS[request.param]
    ours, theirs, vocabulary = both(files(tmp_path_factory.mktemp("kind"), **contents))
    assert vocabulary.metadata["tokenizer.ggml.model"] == kind
    assert vocabulary.notes == ()
    return ours, theirs


@given(text=TEXTS)
def test_any_text_has_the_same_ids(pair, text):
    ours, theirs = pair
    assert ours.encode(text) == theirs.encode(text)
    assert ours.encode(text, add_special_tokens=False) == theirs.encode(text, add_special_tokens=False)


def test_every_id_writes_the_same_bytes(pair):
    ours, theirs = pair
    assert ours.vocab_size == theirs.vocab_size
    for token_id in range(ours.vocab_size):
        assert ours.token_bytes(token_id) == theirs.token_bytes(token_id)
    assert (ours.bos_token_id, ours.eos_token_id) == (theirs.bos_token_id, theirs.eos_token_id)


def test_roles_of_the_config_are_written(tmp_path):
    config = {"bos_token": "<|begin|>", "eos_token": {"content": "<|im_end|>"}, "pad_token": "<|im_end|>"}
    found = files(
        tmp_path, tokenizer_json=byte_pair_json(), tokenizer_config_json=config | {"add_eos_token": True}
    )
    ours, theirs, vocabulary = both(found)
    ids = {key: vocabulary.metadata[f"tokenizer.ggml.{key}_token_id"] for key in ("bos", "eos", "padding")}
    assert ids == {"bos": 400, "eos": 401, "padding": 401}
    assert ours.encode("the") == theirs.encode("the")
    assert theirs.adds_eos


def test_holes_and_rows_behind_the_vocabulary_are_unused(tmp_path):
    _, _, vocabulary = both(files(tmp_path, tokenizer_json=spm_json()), 700)
    types = vocabulary.metadata["tokenizer.ggml.token_type"]
    assert len(types) == len(vocabulary.metadata["tokenizer.ggml.scores"]) == 700
    assert types[-1] == 5
    assert types[:3] == [2, 3, 3]
    assert types[3] == 6


def test_fewer_rows_than_ids(tmp_path):
    with pytest.raises(FormatError, match="ids up to 401, the embedding has 300 rows"):
        gguf_vocabulary(files(tmp_path, tokenizer_json=byte_pair_json()), 300)


def test_nfc_is_said(tmp_path):
    found = files(tmp_path, tokenizer_json=changed(byte_pair_json(), normalizer={"type": "NFC"}))
    assert "NFC" in both(found)[2].notes[0]


def test_merges_that_came_from_no_scores_are_said(tmp_path):
    tokenizer = spm_json()
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]
    merged = "".join(tokenizer["model"]["merges"][-1])
    assert merged
    notes = gguf_vocabulary(files(tmp_path, tokenizer_json=tokenizer), 600).notes
    assert "came from no SentencePiece scores" in notes[0] or not notes


BERT = SHARED / "tokenizers" / "bert-uncased"
LLAMA_CPPS = SHARED / "tokenizers" / "ggml-vocab-bert-bge.gguf"


@pytest.fixture(scope="module")
def word_pieces():
    return both(source("huggingface", {path.name: path for path in BERT.glob("*.json")}))


@needs_shared
def test_word_pieces_are_spelled_as_in_llama_cpps_own_file(word_pieces):
    metadata, golden = word_pieces[2].metadata, open_gguf(LLAMA_CPPS).metadata
    roles = ("unknown", "seperator", "padding", "mask")
    for key in ("model", "tokens", "token_type", *(f"{role}_token_id" for role in roles)):
        assert metadata[f"tokenizer.ggml.{key}"] == golden[f"tokenizer.ggml.{key}"], key


@needs_shared
@given(text=TEXTS)
def test_word_pieces_of_any_text_have_the_same_ids(word_pieces, text):
    ours, theirs, _ = word_pieces
    assert ours.encode(text) == theirs.encode(text)
    assert ours.encode(text, add_special_tokens=False) == theirs.encode(text, add_special_tokens=False)


@needs_shared
@pytest.mark.parametrize("change", [{"lowercase": False}, {"strip_accents": False}, {"clean_text": False}])
def test_word_pieces_of_another_preparation_are_refused(tmp_path, change):
    tokenizer = json.loads((BERT / "tokenizer.json").read_text())
    tokenizer["normalizer"] |= change
    with pytest.raises(UnsupportedError, match="otherwise than uncased BERT"):
        both(files(tmp_path, tokenizer_json=tokenizer))


UNIGRAM = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["▁a", -1.0]], "byte_fallback": False}
REFUSED = {
    "Unigram": changed(spm_json(), model=UNIGRAM, added_tokens=[], post_processor=None),
    "normalises": changed(byte_pair_json(), normalizer={"type": "NFKC"}),
    "no GGUF pre-tokenizer": changed(
        byte_pair_json(),
        pre_tokenizer={
            "type": "ByteLevel",
            "add_prefix_space": True,
            "use_regex": True,
            "trim_offsets": True,
        },
    ),
    "cuts text into words": changed(
        byte_pair_json(), pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}]}
    ),
    "puts": changed(
        byte_pair_json(),
        post_processor={
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<|begin|>", "type_id": 0}},
                {"SpecialToken": {"id": "<|im_end|>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {
                name: {"id": name, "ids": [token_id], "tokens": [name]}
                for name, token_id in (("<|begin|>", 400), ("<|im_end|>", 401))
            },
        },
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_gguf_cannot_say_is_refused(tmp_path, words):
    with pytest.raises(UnsupportedError, match=words) as caught:
        gguf_vocabulary(files(tmp_path, tokenizer_json=REFUSED[words]), 1000)
    assert caught.value.hint


@pytest.mark.parametrize("scheme", ["first", "always"])
def test_a_space_where_there_is_none_cannot_be_said(tmp_path, scheme):
    found = files(tmp_path, tokenizer_json=with_metaspace(scheme))
    with pytest.raises(UnsupportedError, match="cuts text"):
        gguf_vocabulary(found, 1000)


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_every_known_pre_tokenizer_is_found_by_its_structure(name):
    row = PRE_TOKENIZERS[name]
    steps = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in row.patterns
    ]
    steps.append({"type": "ByteLevel", "add_prefix_space": False, "use_regex": False})
    found = patterns_of({"type": "Sequence", "pretokenizers": steps})
    same = PRE_TOKENIZERS[name_of(found, whole_words=row.whole_words)]
    assert (same.patterns, same.whole_words) == (row.patterns, row.whole_words)


SPELLINGS = [
    ({"type": "ByteLevel", "add_prefix_space": False}, "gpt-2"),
    (
        {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
            ],
        },
        "smollm",
    ),
]


@pytest.mark.parametrize(("words", "name"), SPELLINGS)
def test_other_spellings_of_the_same_words(words, name):
    assert name_of(patterns_of(words), whole_words=False) == name


@needs_shared
@pytest.mark.parametrize("name", ["phi-3", "qwen3"])
def test_real_vocabularies_give_the_vectors_ids(name):
    path = SHARED / "tokenizers" / name
    names = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json")
    found = source("huggingface", {each: path / each for each in names if (path / each).exists()})
    ours, theirs, _ = both(found)
    plain = load_folder(path)
    vectors = (
        SHARED / "tokenizers" / f"ggml-vocab-{'phi-3' if name == 'phi-3' else 'qwen2'}.gguf.inp"
    ).read_text()
    for text in vectors.split("\n__ggml_vocab_test__\n"):
        assert theirs.encode(text) == ours.encode(text) == plain.encode(text)
