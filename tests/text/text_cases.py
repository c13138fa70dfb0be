"""Small vocabularies of every kind, made here, and the way to the shared real ones.

The same pieces are written in each container that can hold them, so that tests can ask whether two
roads to one vocabulary give the same ids.
"""

import json
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from fairway.text.loader import load_tokenizer
from fairway.text.tokenizer import Tokenizer

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is absent")

CORPUS = [
    "The fair wind carried the little boat along the shore, and the sailors sang.",
    "the other day there were then 12 boats; these boats weathered the weather.",
    "Wind, wave and weather: they gather together, whether or not they are gathered.",
    "def fairway(x):\n    return x + 1\n\n\tif x == 2024:\n        print('ok')\n",
    "Äpfel und Öl, ein Café, naïve façade, señor — “quoted” text…",
    "日本語の文章と中文字符，还有한국어 문장.",
    "😀 🦙 emoji, and   many    spaces     here",
]

TEXTS = st.text(
    st.sampled_from(list("the wir,.'\n\t  ▁<>s|0123=é中한😀\u200d\x00ÄA")), max_size=40
) | st.text(max_size=40)


def source(kind: str, files: dict | None = None, metadata: dict | None = None) -> SimpleNamespace:
    """What `load_tokenizer` reads of a formats.bundle.TokenizerSource."""
    return SimpleNamespace(kind=kind, files=files or {}, metadata=metadata or {})


def load_files(folder: Path, **contents: object) -> Tokenizer:
    """Writes files ("tokenizer_json" is tokenizer.json) into a folder and loads what is there."""
    for name, content in contents.items():
        stem, _, ending = name.rpartition("_")
        path = folder / f"{stem}.{ending}"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return load_folder(folder)


def load_folder(folder: Path) -> Tokenizer:
    names = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"]
    names += ["vocab.json", "merges.txt", "vocab.txt", "tokenizer.model"]
    return load_tokenizer(source("huggingface", {n: folder / n for n in names if (folder / n).exists()}))


def load_metadata(**fields: object) -> Tokenizer:
    return load_tokenizer(source("gguf", metadata={f"tokenizer.ggml.{key}": v for key, v in fields.items()}))


def load_shared(name: str) -> Tokenizer:
    """A folder or .gguf file below ../shared/data."""
    path = SHARED / name
    if path.suffix != ".gguf":
        return load_folder(path)
    from fairway.formats.gguf import open_gguf

    return load_tokenizer(source("gguf", metadata=open_gguf(path).metadata))


def byte_pair_json(size: int = 400) -> dict:
    """A byte-level BPE tokenizer.json with GPT-2's words and two control tokens at the end."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    backend.add_special_tokens(["<|begin|>", "<|im_end|>"])
    return json.loads(backend.to_str())


def byte_pair_tables() -> tuple[list[str], list[str]]:
    """Pieces in order of their ids, and merges, of `byte_pair_json`."""
    model = byte_pair_json()["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return [*sorted(model["vocab"], key=model["vocab"].get), "<|begin|>", "<|im_end|>"], merges


def byte_pair_metadata() -> dict:
    pieces, merges = byte_pair_tables()
    return {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": pieces,
        "token_type": [1] * (len(pieces) - 2) + [3, 3],
        "merges": merges,
        "bos_token_id": len(pieces) - 2,
        "eos_token_id": len(pieces) - 1,
    }


def spm_tables(*, with_bytes: bool = True) -> tuple[list[str], list[float], list[int]]:
    """Pieces, scores and types of a SentencePiece BPE vocabulary: scores fall in order of merging."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False)
    backend.train_from_iterator(CORPUS, trainer)
    model = json.loads(backend.to_str())["model"]
    merged = ["".join(merge) for merge in model["merges"]]
    letters = [piece for piece in model["vocab"] if len(piece) == 1]
    fixed = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256) if with_bytes)]
    learned = [*dict.fromkeys(merged), *letters]
    types = [2, 3, 3, *([6] * (len(fixed) - 3)), *([1] * len(learned))]
    return [*fixed, *learned], [0.0] * len(fixed) + [-float(rank) for rank in range(len(learned))], types


def spm_metadata(*, with_bytes: bool = True) -> dict:
    pieces, scores, types = spm_tables(with_bytes=with_bytes)
    return {"model": "llama", "tokens": pieces, "scores": scores, "token_type": types}


def spm_json() -> dict:
    """The same vocabulary as transformers converts it: all ways to make a piece, best score first."""
    pieces, scores, _ = spm_tables()
    ids = {piece: token_id for token_id, piece in enumerate(pieces)}
    merges = []
    for piece in sorted((p for p in pieces[259:] if len(p) > 1), key=lambda p: -scores[ids[p]]):
        cuts = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        merges += [list(cut) for cut in cuts if cut[0] in ids and cut[1] in ids]
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    prefix = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": pieces[i], **special} for i in range(3)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [prefix, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [
                prefix,
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 0}},
            ],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}
        | {"vocab": ids, "merges": merges},
    }


def spm_model_file(*, model_type: int = 2) -> bytes:
    """The same vocabulary as a tokenizer.model, written by hand."""
    rows = zip(*spm_tables(), strict=True)
    pieces = b"".join(
        _field(1, _field(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + _number(3, kind))
        for piece, score, kind in rows
    )
    trainer = _number(3, model_type) + _number(40, 0) + _number(41, 1) + _number(42, 2)
    return pieces + _field(2, trainer) + _field(3, _number(3, 1) + _number(4, 0))


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


WORD_PIECES = [
    *["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "wind", "##s", "##ing", "sail", "boat"],
    *["un", "##able", ",", ".", "!", "?", "a", "##n", "apfel", "日", "本", "1", "##2"],
]


def word_piece_metadata() -> dict:
    pieces = [p if p.startswith("[") else p[2:] if p.startswith("##") else f"▁{p}" for p in WORD_PIECES]
    roles = {"unknown_token_id": 1, "cls_token_id": 2, "seperator_token_id": 3, "padding_token_id": 0}
    return {"model": "bert", "tokens": pieces, "token_type": [3] * 5 + [1] * (len(pieces) - 5), **roles}


KINDS = {
    "byte-level BPE": lambda: load_metadata(**byte_pair_metadata()),
    "SentencePiece": lambda: load_metadata(**spm_metadata()),
    "SentencePiece without bytes": lambda: load_metadata(**spm_metadata(with_bytes=False)),
    "WordPiece": lambda: load_metadata(**word_piece_metadata()),
}
