"""The tokenizer without a vocabulary."""

from hypothesis import given
from hypothesis import strategies as st

from fairway.text.byte_tokenizer import BOS, EOS, ByteTokenizer


@given(text=st.text())
def test_every_text_comes_back(text: str) -> None:
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text, parse_special=False)
    assert ids == [BOS, *text.encode()]
    assert tokenizer.decode(ids) == text


def test_its_two_control_tokens() -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.encode("<s>a</s>") == [BOS, 97, EOS]
    assert tokenizer.decode([BOS, 97, EOS], skip_special_tokens=False) == "<s>a</s>"
    assert (tokenizer.vocab_size, tokenizer.bos_token_id, tokenizer.eos_token_id) == (258, 256, 257)
    assert (tokenizer.adds_bos, tokenizer.adds_eos) == (True, False)
    assert ByteTokenizer(adds_bos=False).encode("a") == [97]


def test_pieces_by_name() -> None:
    tokenizer = ByteTokenizer()
    assert [tokenizer.token_id(text) for text in ("<0x41>", "</s>", "A", "<0xZZ>")] == [0x41, EOS, None, None]
