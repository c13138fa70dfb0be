"""The battery's strings, and the differences it must find."""

import pytest
from proof_models import SHARED, builtin, needs_shared, swap_ids, with_tokenizer

from fairway.formats.open import open_bundle
from fairway.proof.strings import battery_strings
from fairway.proof.tokenizer_battery import compare_tokenizers
from fairway.text.byte_tokenizer import ByteTokenizer
from fairway.text.loader import load_tokenizer


def test_strings_are_many_varied_valid_and_always_the_same():
    strings = list(battery_strings(["<|im_end|>"]))
    assert strings == list(battery_strings(["<|im_end|>"]))
    assert len(strings) > 3500
    assert all(text.encode("utf-8").decode("utf-8") == text for _, text in strings)
    kinds = {kind for kind, _ in strings}
    marked = {"unicode", "white space", "marks and emoji", "special token"}
    assert kinds == marked | {"edge", "code", "digits", "long", "mixture"}
    joined = "".join(text for _, text in strings)
    assert {chr(code) for code in (0, 0xA0, 0x301, 0x200D, 0x3042, 0x1F600, 0x20021)} <= set(joined)
    assert len(list(battery_strings(quick=True))) < len(strings) / 2


def test_a_tokenizer_equals_itself():
    found = compare_tokenizers(ByteTokenizer(), ByteTokenizer(), quick=True)
    assert found.is_same and found.num_strings > 1000


def test_two_ids_swapped_are_found_with_the_string(tmp_path):
    bundle = builtin()
    broken = with_tokenizer(bundle, tmp_path, swap_ids("e", "t"))
    found = compare_tokenizers(load_tokenizer(bundle.tokenizer), load_tokenizer(broken.tokenizer), quick=True)
    assert not found.is_same
    assert found.num_pieces_differing == 2
    assert {row.source_text for row in found.first_pieces} == {"e", "t"}
    assert len(found.first) == 8
    assert any(row.text.count("e") or row.text.count("t") for row in found.first)


def test_a_control_token_that_became_text_is_found(tmp_path):
    def forget(content):
        content["added_tokens"] = [row for row in content["added_tokens"] if row["content"] != "<|end|>"]

    bundle = builtin()
    broken = with_tokenizer(bundle, tmp_path, forget)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    found = compare_tokenizers(load_tokenizer(bundle.tokenizer), load_tokenizer(broken.tokenizer), quick=True)
    assert any(row.kind == "special token" and "<|end|>" in row.text for row in found.first)


def test_a_lost_normaliser_is_told_apart_from_other_differences(tmp_path):
    def compose(content):
        content["normalizer"]["normalizers"].insert(0, {"type": "NFC"})

    bundle = builtin()
    composing = load_tokenizer(with_tokenizer(bundle, tmp_path, compose).tokenizer)
    plain = load_tokenizer(bundle.tokenizer)
    found = compare_tokenizers(composing, plain, quick=True)
    assert found.is_same and found.num_unnormalised > 10
    assert not compare_tokenizers(plain, composing, quick=True).is_same


@needs_shared
@pytest.mark.parametrize("name", ["babyllama", "stories260k"])
def test_real_tokenizers_agree_between_folder_and_gguf(name):
    folder = SHARED / "models" / name
    sides = [open_bundle(path).tokenizer for path in (folder, folder / f"{name}-f32.gguf")]
    found = compare_tokenizers(*map(load_tokenizer, sides))
    assert found.is_same and found.num_strings > 4000


@needs_shared
def test_berts_two_spellings_of_one_vocabulary_agree():
    folder = SHARED / "tokenizers"
    from fairway.formats.sidecars import Sidecars

    ours = load_tokenizer(Sidecars(folder / "bert-uncased").tokenizer)
    bundle = open_bundle(folder / "ggml-vocab-bert-bge.gguf", complete=False)
    found = compare_tokenizers(ours, load_tokenizer(bundle.tokenizer), quick=True)
    assert found.is_same
