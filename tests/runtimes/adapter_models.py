"""A saved tiny llama with a tokenizer, for whoever serves its adapters (tests/formats/data/lora)."""

import json
import shutil
from pathlib import Path

from fairway.formats.open import open_bundle
from fairway.runtimes.loading import NativeOptions, load_runtime

LORA = Path(__file__).parents[1] / "formats" / "data" / "lora"


def saved_model(folder: Path) -> Path:
    """base-llama with a vocabulary of 48 words."""
    made = shutil.copytree(LORA / "base-llama", folder / "base")
    words = ["<unk>", "<s>", "</s>", *(f"w{number}" for number in range(45))]
    model = {"type": "WordLevel", "vocab": {word: i for i, word in enumerate(words)}, "unk_token": "<unk>"}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": model,
    }
    (made / "tokenizer.json").write_text(json.dumps(tokenizer))
    (made / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "bos_token": "<s>"}))
    return made


def saved_runtime(folder: Path, **options):
    bundle = open_bundle(saved_model(folder))
    chosen = {"weight_type": "stored", "context": 64, "kv_type": "f32", "num_blocks": 64, **options}
    return load_runtime(bundle, NativeOptions(name="base", **chosen))
